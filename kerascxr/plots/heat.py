"""Maps of evidence, laid over their images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from kerascxr.plots.style import GREY, WIDTH_INCHES, house_style, save, wrapped

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


@dataclass(frozen=True)
class Evidence:
    """An image and its map.

    Attributes:
        image: uint8 ``(h, w)``, 0..255.
        heat: float ``(h, w)``, 0..1.
        title: What it is and what it was taken for.
    """

    image: np.ndarray
    heat: np.ndarray
    title: str


def evidence_grid(rows: Mapping[str, Sequence[Evidence | None]], path: str | Path) -> Figure:
    """Draws images, and below each the same with its map of evidence; a bar gives the colours.

    Args:
        rows: Name -> one example a column; None leaves a place empty. Rows are equally long.
        path: The PNG to write.

    Returns:
        The figure, already saved.

    Raises:
        ValueError: If there is no image, or the rows are not equally long.
    """
    lengths = {len(row) for row in rows.values()}
    if len(lengths) != 1 or not any(example for row in rows.values() for example in row):
        raise ValueError(
            "rows must be equally long and hold at least one image. "
            f"Got rows of {sorted(lengths)} places."
        )
    [n] = lengths
    side = min(2.2, WIDTH_INCHES * 1.5 / n)
    letters = int(side / 0.07)
    with house_style():
        figure = Figure(
            figsize=(side * n + 0.7, len(rows) * (2 * side + 0.55)), layout="constrained"
        )
        panels = figure.subplots(2 * len(rows), n, squeeze=False)
        for axes in panels.flat:
            axes.set_axis_off()
        for number, (name, row) in enumerate(rows.items()):
            for column, example in enumerate(row):
                upper, lower = panels[2 * number : 2 * number + 2, column]
                if example is None:
                    upper.text(
                        *(0.5, 0.5, wrapped(f"{name}: none", letters)),
                        transform=upper.transAxes,
                        ha="center",
                        color=GREY,
                    )
                    continue
                upper.imshow(example.image, cmap="gray", vmin=0, vmax=255)
                lower.imshow(heat_overlay(example.image, example.heat))
                lines = [wrapped(line, letters) for line in example.title.split("\n")]
                upper.set_title("\n".join(lines), weight="normal", size=8)
                if not example.heat.any():
                    lower.set_title("no evidence for this class", weight="normal", size=7)
        colours = ScalarMappable(Normalize(0, 1), "inferno")
        bar = figure.colorbar(colours, ax=panels, fraction=0.03, aspect=40, pad=0.01)
        bar.set_label("evidence, as a share of the map's maximum")
        return save(figure, path)
