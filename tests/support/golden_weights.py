"""Weights and images that a rule draws, so that golden files need not hold them."""

import math
import zlib

import numpy as np


def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Returns the float32 weight that the rule gives to a parameter's name and torch shape."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith("running_var"):
        values = rng.uniform(0.5, 1.5, shape)
    elif name.endswith(("running_mean", "bias")):
        values = rng.normal(0, 0.1, shape)
    elif len(shape) == 1:
        values = rng.uniform(0.5, 1.5, shape)
    else:
        values = rng.normal(0, math.sqrt(2 / math.prod(shape[1:])), shape)
    return values.astype(np.float32)


def images() -> np.ndarray:
    """Returns the scaled images, float32 (1, 64, 64, 3), mean 0 and deviation 1."""
    return np.random.default_rng(0).normal(size=(1, 64, 64, 3)).astype(np.float32)
