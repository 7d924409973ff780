"""Figures: arrays in, a PNG out."""
