"""Tests of a finished run or of a source of images."""
