"""Run folders: writing them, reading them back, replacing files whole."""
