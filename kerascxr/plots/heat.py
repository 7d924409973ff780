"""Maps of evidence, laid over their images."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from kerascxr.plots.style import WIDTH_INCHES, house_style, save, wrapped

_STRONGEST = 0.55  # of the map in the picture, where it is 1


def heat_overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Colours an image by a map; where the map is 0 the image stays as it was.

    Args:
        image: uint8 ``(h, w)``, 0..255.
        heat: float ``(h, w)``, 0..1.

    Returns:
        uint8 ``(h, w, 3)``, 0..255.

    Raises:
        ValueError: If the two are not of one shape.
    """
    if image.shape != heat.shape or image.ndim != 2:
        raise ValueError(
            f"image and heat must be of one shape (height, width). Got {image.shape}, {heat.shape}."
        )
    colours = matplotlib.colormaps["inferno"](np.clip(heat, 0, 1))[..., :3] * 255
    weights = _STRONGEST * np.clip(heat, 0, 1)[..., None]
    return np.rint((1 - weights) * image[..., None] + weights * colours).astype(np.uint8)


def evidence_grid(
    images: Sequence[np.ndarray],
    heats: Sequence[np.ndarray],
    titles: Sequence[str],
    path: str | Path,
) -> Figure:
    """Draws images, and below each the same with its map of evidence.

    Args:
        images: uint8 ``(h, w)`` each, 0..255.
        heats: float ``(h, w)`` each, 0..1.
        titles: A line above each column.
        path: The PNG to write.

    Returns:
        The figure, already saved.

    Raises:
        ValueError: If there is no image, or the sequences are not equally long.
    """
    n = len(images)
    if n == 0 or {len(heats), len(titles)} != {n}:
        raise ValueError(
            "images, heats and titles must be equally many, at least one. "
            f"Got {n}, {len(heats)}, {len(titles)}."
        )
    side = min(2.2, WIDTH_INCHES * 1.5 / n)
    with house_style():
        figure = Figure(figsize=(side * n, 2 * side + 0.35), layout="constrained")
        for column, (image, heat, title) in enumerate(zip(images, heats, titles, strict=True)):
            for row, picture in enumerate((image, heat_overlay(image, heat))):
                axes = figure.add_subplot(2, n, row * n + column + 1)
                axes.imshow(picture, cmap="gray", vmin=0, vmax=255)
                axes.set_axis_off()
                if row == 0:
                    axes.set_title(wrapped(title, int(side / 0.075)), weight="normal")
        return save(figure, path)
