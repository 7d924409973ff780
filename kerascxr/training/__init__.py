"""Fitting, evaluating and writing runs."""
