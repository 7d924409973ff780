"""Drawn chest X-rays."""
