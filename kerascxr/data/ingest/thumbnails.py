"""Thumbnails, which the search for near-duplicates compares in place of the images."""

import numpy as np
from PIL import Image

SIDE = 64


def thumbnail(pixels: np.ndarray) -> np.ndarray:
    """Returns the box-averaged 64x64 version of a uint8 (height, width) image, as uint8."""
    return np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BOX))


def reduced(thumbnails: np.ndarray, side: int) -> np.ndarray:
    """Averages uint8 (n, 64, 64) to float32 (n, side, side)."""
    step = SIDE // side
    return thumbnails.reshape(-1, side, step, side, step).mean(axis=(2, 4), dtype=np.float32)


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """Returns rows (n, d) at mean 0 and norm 1; constant ones become 0."""
    rows = rows - rows.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 1e-5)
