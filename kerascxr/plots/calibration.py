"""The reliability figure: whether confidence is what it says."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kerascxr.plots.style import BLUE, GREY, WIDTH_INCHES, house_style, save

_SKY = "#CFE3F1"  # pale enough for the counts' bars to stay behind


def reliability(calibration: Mapping[str, Any], path: str | Path) -> Figure:
    """Draws accuracy over confidence before and after the temperature, and each bin's images.

    Args:
        calibration: What ``evaluation.calibration.calibrate`` returns.
        path: The PNG to write.

    Returns:
        The figure, already saved.

    Raises:
        ValueError: If no bin holds an image.
    """
    sides = {
        "Before": calibration["before"],
        f"After, temperature {calibration['temperature']:.2f}": calibration["after"],
    }
    if not any(part["images"] for side in sides.values() for part in side["bins"]):
        raise ValueError("calibration must have a bin with images. Got none.")
    with house_style():
        figure = Figure(figsize=(WIDTH_INCHES, 4.3), layout="constrained")
        panels = figure.subplots(2, 2, sharex=True, sharey="row", height_ratios=(3, 1.1))
        for (upper, lower), (title, side) in zip(panels.T, sides.items(), strict=True):
            filled = [part for part in side["bins"] if part["images"]]
            upper.set_title(title)
            upper.set_title(f"ECE {side['ece']:.3f}", loc="right", weight="normal", size=8)
            _draw_accuracy(upper, filled)
            _draw_counts(lower, filled)
        panels[0, 0].set_ylabel("accuracy")
        panels[1, 0].set_ylabel("images")
        return save(figure, path)


def _draw_accuracy(axes: Axes, filled: Sequence[Mapping[str, Any]]) -> None:
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1)
    axes.text(
        *(0.16, 0.18, "as sure as right"),
        color=GREY,
        ha="center",
        va="bottom",
        rotation=45,
        rotation_mode="anchor",
        transform_rotates_text=True,
    )
    confidence = np.array([part["confidence"] for part in filled])
    accuracy = np.array([part["accuracy"] for part in filled])
    # Without an interval (one group alone) nothing is known.
    intervals = np.array([part["interval"] or (0.0, 1.0) for part in filled])
    reach = np.abs(intervals.T - accuracy)  # (2, bins): down and up
    axes.errorbar(
        *(confidence, accuracy, reach),
        fmt="o",
        color=BLUE,
        markersize=4,
        elinewidth=0.9,
        capsize=2,
        clip_on=False,
    )
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")


def _draw_counts(axes: Axes, filled: Sequence[Mapping[str, Any]]) -> None:
    for part in filled:
        width = part["to"] - part["over"]
        axes.bar(part["over"], part["images"], width, align="edge", color=_SKY, edgecolor="white")
        middle = part["over"] + width / 2
        axes.text(middle, part["images"], f"{part['images']:,}", ha="center", va="bottom", size=5.5)
    axes.margins(y=0.25)
    axes.grid(False)
    axes.set_xlabel("confidence: probability of the predicted class")
