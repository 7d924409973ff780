"""Figures of a test on corrupted images."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from kerascxr.plots.style import (
    GREY,
    LINE_COLOURS,
    LINE_STYLES,
    WIDTH_INCHES,
    house_style,
    save,
)

_MARKERS = "osD^vPX"


def severity_curves(
    clean: float, scores: Mapping[str, Sequence[float]], path: str | Path, *, what: str, title: str
) -> Figure:
    """Draws a measure over severity, one line per corruption, with its own marker and colour.

    Args:
        clean: The measure on the images as they are; a dashed line, and where all lines begin.
        scores: Corruption -> the measure at severity 1, 2, ...
        path: The PNG to write.
        what: What is measured.
        title: Heading.

    Returns:
        The figure, already saved.

    Raises:
        ValueError: If there is no corruption.
    """
    if not scores:
        raise ValueError("scores must hold at least one corruption. Got scores={}.")
    with house_style():
        figure = Figure(figsize=(WIDTH_INCHES, 3.6), layout="constrained")
        axes = figure.add_subplot()
        axes.set_title(title)
        axes.axhline(clean, color=GREY, linestyle=LINE_STYLES[1], linewidth=1.0)
        axes.annotate(
            f"clean {clean:.3f}",
            (1, clean),
            xycoords=("axes fraction", "data"),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            color=GREY,
        )
        places = {name: index for index, name in enumerate(scores)}
        # The legend in the order of the lines' ends, so that the eye finds the one in the other.
        for name, values in sorted(scores.items(), key=lambda item: -item[1][-1]):
            place = places[name]
            axes.plot(
                range(len(values) + 1),
                [clean, *values],
                color=LINE_COLOURS[place % len(LINE_COLOURS)],
                marker=_MARKERS[place % len(_MARKERS)],
                markersize=4,
                label=name,
            )
        axes.set_xticks(range(1 + max(map(len, scores.values()))))
        axes.set_xlabel("severity")
        axes.set_ylabel(what)
        axes.margins(y=0.08)
        figure.legend(loc="outside right center", title="best at the end first")
        return save(figure, path)


def corruption_grid(
    clean: np.ndarray, corrupted: Mapping[str, Mapping[int, np.ndarray]], path: str | Path
) -> Figure:
    """Draws one image as it is, and beside it a column a corruption, a row a severity.

    Args:
        clean: uint8 ``(h, w)``, 0..255.
        corrupted: Corruption -> severity -> uint8 ``(h, w)``; the same severities for each.
        path: The PNG to write.

    Returns:
        The figure, already saved.

    Raises:
        ValueError: If there is no corruption.
    """
    if not corrupted:
        raise ValueError("corrupted must hold at least one corruption. Got corrupted={}.")
    severities = list(next(iter(corrupted.values())))
    width, left, top, gap = WIDTH_INCHES * 1.5, 0.65, 0.22, 0.04  # inches
    side = (width - left) / (1 + len(corrupted))
    tall = side * min(2.0, clean.shape[0] / clean.shape[1])
    height = top + tall * len(severities)
    with house_style():
        figure = Figure(figsize=(width, height))

        def draw(image: np.ndarray, row: int, column: int, name: str) -> None:
            x, y = left + column * side, top + row * tall
            axes = figure.add_axes(
                (
                    (x + gap / 2) / width,
                    1 - (y + tall - gap / 2) / height,
                    (side - gap) / width,
                    (tall - gap) / height,
                )
            )
            axes.set_axis_off()
            axes.imshow(image, cmap="gray", vmin=0, vmax=255)
            if name:
                middle = (x + side / 2) / width
                figure.text(middle, 1 - (y - 0.04) / height, name, ha="center", weight="bold")

        draw(clean, 0, 0, "clean")
        for row, severity in enumerate(severities):
            middle = 1 - (top + (row + 0.5) * tall) / height
            figure.text(0.05 / width, middle, f"severity {severity}", va="center")
            for column, (name, images) in enumerate(corrupted.items(), 1):
                draw(images[severity], row, column, "" if row else name)
        return save(figure, path)
