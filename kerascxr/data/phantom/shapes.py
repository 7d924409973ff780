"""Outlines, letters and drawing operations of the phantom."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter
from scipy import ndimage

# Outlines in the chest's own frame: across -1..1 between the lungs' outer walls (the patient's
# right lung at negative values, as on film), down 0..1 from the apex to the outer lung base.
RIGHT_LUNG = np.array(
    [
        (-0.38, 0.00), (-0.25, 0.05), (-0.19, 0.16), (-0.20, 0.30), (-0.22, 0.45), (-0.23, 0.58),
        (-0.26, 0.70), (-0.25, 0.79), (-0.28, 0.825), (-0.42, 0.79), (-0.60, 0.79), (-0.78, 0.85),
        (-0.90, 0.93), (-0.955, 0.985), (-0.985, 0.985), (-0.99, 0.90), (-0.97, 0.72),
        (-0.91, 0.48), (-0.80, 0.26), (-0.66, 0.10), (-0.52, 0.02),
    ]
)  # fmt: skip
LEFT_LUNG = np.array(
    [
        (0.39, 0.00), (0.27, 0.05), (0.21, 0.15), (0.23, 0.24), (0.27, 0.31), (0.25, 0.38),
        (0.32, 0.47), (0.42, 0.57), (0.50, 0.68), (0.55, 0.78), (0.54, 0.85), (0.60, 0.845),
        (0.72, 0.865), (0.84, 0.92), (0.93, 0.995), (0.96, 1.00), (0.975, 0.92), (0.95, 0.72),
        (0.89, 0.48), (0.79, 0.26), (0.66, 0.10), (0.53, 0.02),
    ]
)  # fmt: skip
HEART = np.array(
    [
        (-0.18, 0.36), (-0.10, 0.30), (0.06, 0.28), (0.20, 0.30), (0.30, 0.40), (0.42, 0.54),
        (0.53, 0.68), (0.58, 0.80), (0.52, 0.90), (0.20, 0.96), (-0.12, 0.92), (-0.27, 0.82),
        (-0.30, 0.68), (-0.25, 0.50),
    ]
)  # fmt: skip
TORSO = np.array(
    [
        (-0.30, -0.60), (0.30, -0.60), (0.31, -0.24), (0.55, -0.16), (1.00, -0.10), (1.32, 0.00),
        (1.42, 0.14), (1.28, 0.30), (1.19, 0.45), (1.17, 0.70), (1.20, 1.00), (1.24, 1.70),
        (-1.24, 1.70), (-1.20, 1.00), (-1.17, 0.70), (-1.19, 0.45), (-1.28, 0.30), (-1.42, 0.14),
        (-1.32, 0.00), (-1.00, -0.10), (-0.55, -0.16), (-0.31, -0.24),
    ]
)  # fmt: skip

BLADE = np.array(
    [
        (0.82, 0.02), (0.80, 0.2), (0.88, 0.40), (0.99, 0.5), (1.06, 0.4), (1.2, 0.12), (1.28, 0.0),
        (1.02, 0.0),
    ]
)  # fmt: skip

# Corner letters as strokes in a 0.6 x 1 box. Without a font file they are the same everywhere.
LETTERS: dict[str, list[list[tuple[float, float]]]] = {
    "L": [[(0, 0), (0, 1), (0.55, 1)]],
    "R": [[(0, 1), (0, 0), (0.45, 0), (0.58, 0.14), (0.58, 0.36), (0.45, 0.5), (0, 0.5)],
          [(0.25, 0.5), (0.6, 1)]],
    "A": [[(0, 1), (0.3, 0), (0.6, 1)], [(0.12, 0.62), (0.48, 0.62)]],
    "P": [[(0, 1), (0, 0), (0.45, 0), (0.58, 0.14), (0.58, 0.36), (0.45, 0.5), (0, 0.5)]],
}  # fmt: skip


def portable(function: Callable[..., np.ndarray], *values: np.ndarray | float) -> np.ndarray:
    """Computes a function such as ``np.exp`` in float64, and rounds the result to float32.

    In float32, the last digit of such a function differs between processors of different vector
    instructions. Sums and products do not.
    """
    return function(*(np.asarray(value, np.float64) for value in values)).astype(np.float32)


def blur(image: np.ndarray, pixels: float) -> np.ndarray:
    """Blurs float32 ``(height, width)`` in 0..1 by a Gaussian; a wide one on a reduced copy."""
    grey = Image.fromarray(np.rint(image * 255).astype(np.uint8))
    factor = max(1, int(pixels / 2))
    small = grey.reduce(factor).filter(ImageFilter.GaussianBlur(pixels / factor))
    if factor > 1:
        small = small.resize(grey.size, Image.Resampling.BILINEAR)
    return np.asarray(small, np.float32) / 255


def resize(
    image: np.ndarray, size: tuple[int, ...], how: Image.Resampling = Image.Resampling.BILINEAR
) -> np.ndarray:
    """Resizes float32 ``(height, width)`` to ``size`` (height, width)."""
    return np.asarray(Image.fromarray(image).resize((size[1], size[0]), how))


def step(values: np.ndarray, edge: float, softness: float) -> np.ndarray:
    """Smooth step: 0 where ``values`` is below ``edge``, 1 above it."""
    t = (values - (edge - 1.5 * softness)) * np.float32(1 / (3 * softness))
    np.clip(t, 0, 1, out=t)
    return t * t * (3 - 2 * t)


def vary(outline: np.ndarray, rng: np.random.Generator, base: float, apex: float) -> np.ndarray:
    """Varies a lung's outline ``(n, 2)`` at random; ``base`` lowers it, ``apex`` widens its top."""
    outline = outline + rng.normal(0, 0.009, outline.shape)
    outline[:, 0] *= 1 + apex * np.clip(1 - outline[:, 1] / 0.6, 0, 1)
    outline[:, 1] += base * np.clip((outline[:, 1] - 0.4) / 0.5, 0, 1)
    return outline


def largest_part(area: np.ndarray) -> np.ndarray:
    """Keeps the largest connected part above 0.5 of float32 ``(height, width)`` in 0..1."""
    parts, count = ndimage.label(area > 0.5)
    if count < 2:
        return area
    largest = 1 + np.bincount(parts.ravel())[1:].argmax()
    return np.where((parts == 0) | (parts == largest), area, 0)


def enlarge_heart(outline: np.ndarray, growth: float) -> np.ndarray:
    """Moves the points of an outline ``(n, 2)`` that lie at the heart's border away from it."""
    x, y = outline[:, 0], outline[:, 1]
    at_border = np.sin(np.pi * np.clip((y - 0.3) / 0.6, 0, 1)) * (x > -0.35) * (x < 0.6)
    moved = outline.copy()
    moved[:, 0] += growth * at_border * np.where(x > 0, 1, -0.5)
    return moved


def spline(points: np.ndarray, closed: bool = True, steps: int = 8) -> np.ndarray:
    """Catmull-Rom spline through ``points`` ``(n, 2)``, with ``steps`` points per segment."""
    if closed:
        before, after, two_on = (
            np.roll(points, 1, 0),
            np.roll(points, -1, 0),
            np.roll(points, -2, 0),
        )
        here = points
    else:
        ends = np.concatenate([points[:1], points, points[-1:]])
        before, here, after, two_on = (ends[i : len(ends) - 3 + i] for i in range(4))
    t = np.linspace(0, 1, steps, endpoint=False)[None, :, None]  # (1, steps, 1)
    p, q, r, s = (part[:, None] for part in (before, here, after, two_on))  # (n, 1, 2)
    line = 0.5 * (
        2 * q + (r - p) * t + (2 * p - 5 * q + 4 * r - s) * t**2 + (3 * q - p - 3 * r + s) * t**3
    )
    return line.reshape(-1, 2)


def ribbons(lines: np.ndarray, half: float) -> np.ndarray:
    """Bands of half-width ``half`` along ``lines`` ``(bands, n, 2)``: polygons ``(bands, 4 n)``."""
    ends = np.concatenate([lines[:, :1], lines, lines[:, -1:]], 1)
    along = ends[:, 2:] - ends[:, :-2]
    aside = along[..., ::-1] * (-half, half) / np.hypot(*np.moveaxis(along, -1, 0))[..., None]
    around = np.concatenate([lines + aside, (lines - aside)[:, ::-1]], 1)
    return around.reshape(len(lines), -1)
