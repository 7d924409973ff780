"""Tests of kerascxr, in folders that mirror the package."""
