"""Files of any layout, as examples."""
