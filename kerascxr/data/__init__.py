"""From files to batches: where images come from, how they are read, checked, split and stored."""
