"""The curves of one training: a quantity over epochs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, MaxNLocator, NullFormatter

from kerascxr.plots.style import (
    BLACK,
    BLUE,
    GREY,
    LINE_STYLES,
    VERMILLION,
    WIDTH_INCHES,
    finite,
    house_style,
    save,
)

_LOWER_IS_BETTER = ("loss", "error", "hd95", "assd")


def training_curves(
    history: Sequence[Mapping[str, Any]],
    path: str | Path,
    what: str = "accuracy",
    *,
    best_epoch: int | None = None,
    title: str | None = None,
) -> Figure:
    """Draws a quantity over epochs, in training and in validation, with the best epoch marked.

    Args:
        history: One dict an epoch: ``epoch``, ``<what>``, ``val_<what>`` and anything else. A
            missing, None or non-finite value leaves a gap.
        path: The PNG to write.
        what: "accuracy", "loss", "dice", ...; of "loss", "error", "hd95", "assd" less is better.
        best_epoch: The epoch to mark, e.g. the one whose weights were kept; by default the best by
            this quantity in validation (in training, if there is no validation).
        title: Heading; by default the quantity's name.

    Returns:
        The figure, already saved.

    Raises:
        ValueError: If there is no row, a row has no epoch, or no row has the quantity.
    """
    if not history:
        raise ValueError("history must hold at least one epoch. Got history=[].")
    if any("epoch" not in row for row in history):
        raise ValueError("history must give each row's epoch. Got a row without 'epoch'.")
    if not any(what in row or f"val_{what}" in row for row in history):
        known = ", ".join(dict.fromkeys(key for row in history for key in row))
        raise ValueError(f"what must be one of the history's columns: {known}. Got what={what!r}.")
    epochs = np.array([int(row["epoch"]) for row in history])
    training = np.array([finite(row.get(what)) for row in history])
    validation = np.array([finite(row.get(f"val_{what}")) for row in history])

    with house_style():
        figure = Figure(figsize=(WIDTH_INCHES, 3.4), layout="constrained")
        axes = figure.add_subplot()
        name = what.replace("_", " ")
        axes.set_title(title or name.capitalize())
        axes.set_xlabel("epoch")
        drawn = [
            _curve(axes, epochs, values, label, colour, style)
            for label, values, colour, style in (
                # The dashed line last: where both coincide, the other shows through.
                ("validation", validation, VERMILLION, "-"),
                ("training", training, BLUE, LINE_STYLES[1]),
            )
            if np.isfinite(values).any()
        ]
        axes.set_ylabel(name + _scale_y(axes, np.concatenate([training, validation])))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        margin = max(0.5, 0.02 * float(np.ptp(epochs)))
        axes.set_xlim(epochs.min() - margin, epochs.max() + margin)
        if not drawn:
            axes.text(
                0.5, 0.5, "no finite value", transform=axes.transAxes, ha="center", color=GREY
            )
            axes.set_yticks([])
        else:
            _label_ends(axes, drawn)
            judged = validation if np.isfinite(validation).any() else training
            _mark_best(axes, epochs, judged, what, best_epoch)
        return save(figure, path)


def _curve(
    axes: Axes, epochs, values, label: str, colour: str, style
) -> tuple[str, str, float, float]:
    """Draws one curve; returns its label, colour and last point."""
    seen = np.isfinite(values)
    # A point between two gaps has no line: show it as a dot. In short curves, show every point.
    alone = seen & ~np.append(seen[1:], False) & ~np.append(False, seen[:-1])
    dots = seen if len(epochs) <= 40 else alone
    axes.plot(epochs, values, color=colour, linestyle=style)
    axes.plot(epochs[dots], values[dots], "o", color=colour, markersize=3)
    last = np.flatnonzero(seen)[-1]
    return label, colour, float(epochs[last]), float(values[last])


def _scale_y(axes: Axes, values: np.ndarray) -> str:
    """Chooses the y axis by the values; returns what to add to its label."""
    values = values[np.isfinite(values)]
    if not len(values):
        return ""
    if values.min() > 0 and values.max() > 50 * values.min():  # a first loss that dwarfs the rest
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        return " (log scale)"
    axes.margins(y=0.12)
    return ""


def _label_ends(axes: Axes, drawn: list[tuple[str, str, float, float]]) -> None:
    """Writes each curve's name to the right of its end, apart from each other."""
    to_fraction = axes.transData + axes.transAxes.inverted()
    heights = [to_fraction.transform((x, y))[1] for _, _, x, y in drawn]
    gap = 0.06
    if len(heights) == 2 and abs(heights[0] - heights[1]) < gap:
        middle = np.clip(np.mean(heights), gap / 2, 1 - gap / 2)
        sign = 1 if heights[0] >= heights[1] else -1
        heights = [middle + sign * gap / 2, middle - sign * gap / 2]
    for (label, colour, _, _), height in zip(drawn, heights, strict=True):
        axes.text(
            1.01, height, label, transform=axes.transAxes, color=colour, va="center", weight="bold"
        )


def _mark_best(axes: Axes, epochs, values, what: str, best_epoch: int | None) -> None:
    """Rings the best epoch's point and writes its value beside it."""
    if best_epoch is None:
        lower = what.endswith(_LOWER_IS_BETTER)
        best = int(np.nanargmin(values) if lower else np.nanargmax(values))
    else:
        places = np.flatnonzero(epochs == best_epoch)
        if not len(places):
            raise ValueError(
                f"best_epoch must be one of the history's epochs. Got best_epoch={best_epoch}."
            )
        best = int(places[0])
    axes.axvline(epochs[best], color=GREY, linewidth=0.8, linestyle=":", zorder=1)
    if not np.isfinite(values[best]):
        return
    axes.plot(epochs[best], values[best], "o", markersize=8, markerfacecolor="none", color=BLACK)
    # In the title's line, where no curve can run through it.
    axes.set_title(
        f"◯ best epoch {epochs[best]}: {values[best]:.4f}", loc="right", weight="normal", size=8
    )
