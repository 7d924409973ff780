"""Figures of a test on corrupted images."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from kerascxr.plots.style import (
    BLUE,
    GREY,
    LINE_STYLES,
    WIDTH_INCHES,
    house_style,
    save,
)

_COLUMNS = 4


class Point(NamedTuple):
    """A measure of one test.

    Attributes:
        value: The measure.
        interval: Its ends; None where the images are too few for one.
    """

    value: float
    interval: Sequence[float] | None = None


def severity_curves(
    clean: Point, scores: Mapping[str, Sequence[Point]], path: str | Path, *, what: str, title: str
) -> Figure:
    """Draws a measure over severity with its intervals, a panel a corruption, all on one scale.

    Args:
        clean: The measure on the images as they are: a dashed line with its interval.
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
    columns = min(_COLUMNS, len(scores))
    rows = -(-len(scores) // columns)
    with house_style():
        figure = Figure(figsize=(WIDTH_INCHES * 1.5, 0.5 + 1.7 * rows), layout="constrained")
        figure.suptitle(title, x=0.01, ha="left", size=9, weight="bold")
        panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for axes in panels.flat[len(scores) :]:
            axes.set_axis_off()
        for place, (axes, (name, points)) in enumerate(
            zip(panels.flat, scores.items(), strict=False)
        ):
            axes.set_title(name)
            axes.axhline(clean.value, color=GREY, linestyle=LINE_STYLES[1], linewidth=1.0)
            if clean.interval:
                axes.axhspan(*clean.interval, color=GREY, alpha=0.15, linewidth=0)
            severities = range(1, len(points) + 1)
            axes.plot(severities, [point.value for point in points], "o-", color=BLUE, markersize=4)
            for severity, point in zip(severities, points, strict=True):
                if point.interval:
                    axes.plot([severity] * 2, list(point.interval), color=BLUE, linewidth=1.0)
            axes.set_xticks(severities)
            axes.tick_params(labelbottom=True)
            if place + columns >= len(scores):
                axes.set_xlabel("severity")
            if place % columns == 0:
                axes.set_ylabel(what)
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
