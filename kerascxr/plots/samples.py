"""Figures of the images themselves."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from kerascxr.plots.style import WIDTH_INCHES, house_style, save, wrapped


def class_samples(samples: Mapping[str, Sequence[np.ndarray]], path: str | Path) -> Figure:
    """Draws some images of each class, a row a class.

    Args:
        samples: Class name to uint8 ``(h, w)`` images, 0..255, at least one in all.
        path: The PNG to write.

    Returns:
        The figure, already saved.

    Raises:
        ValueError: If there is no image.
    """
    columns = max((len(images) for images in samples.values()), default=0)
    if columns == 0:
        raise ValueError(f"samples must hold at least one image. Got samples={dict(samples)}.")
    label = 0.95  # inches, left of each row
    side = (WIDTH_INCHES * 1.5 - label) / columns
    with house_style():
        width, height = label + side * columns, side * len(samples)
        figure = Figure(figsize=(width, height))
        for row, (name, images) in enumerate(samples.items()):
            middle = 1 - (row + 0.5) * side / height
            figure.text(0.06 / width, middle, wrapped(name, 12), va="center", weight="bold")
            for column, image in enumerate(images):
                left = label + column * side + 0.03
                axes = figure.add_axes(
                    (
                        left / width,
                        1 - ((row + 1) * side - 0.03) / height,
                        (side - 0.06) / width,
                        (side - 0.06) / height,
                    )
                )
                axes.set_axis_off()
                axes.imshow(np.asarray(image), cmap="gray", vmin=0, vmax=255)
        return save(figure, path)
