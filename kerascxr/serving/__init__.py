"""Finished runs as models that answer requests: export, and prediction of whole folders."""
