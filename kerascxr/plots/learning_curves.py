"""Learning curves of several models: a panel each, repeated runs of one model together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from kerascxr.plots.style import (
    BLACK,
    BLUE,
    LINE_STYLES,
    VERMILLION,
    WIDTH_INCHES,
    finite,
    house_style,
    save,
    wrapped,
)

MOST_MODELS = 6
"""Models of one figure, which then fits a printed page."""

_COLUMNS = 3
_LOOKS = (("", "training", BLUE, LINE_STYLES[1]), ("val_", "validation", VERMILLION, "-"))
_PALE = 0.35  # opacity of the single runs where there is a mean


@dataclass(frozen=True)
class Model:
    """A model and its trainings.

    Attributes:
        name: The panel's heading.
        histories: A training each (folds or seeds are several): one dict an epoch, with ``epoch``
            and the quantities.
        best_epochs: The epoch whose weights each training kept.
    """

    name: str
    histories: Sequence[Sequence[Mapping[str, Any]]]
    best_epochs: Sequence[int]


def learning_curves(
    models: Sequence[Model], path: str | Path, measures: Sequence[str] = ("accuracy", "loss")
) -> Figure:
    """Draws each quantity over epochs in training and validation; all panels of one share a scale.

    Args:
        models: From one to ``MOST_MODELS``.
        path: The PNG to write.
        measures: The quantities, a row each; ``val_<measure>`` is that of validation.

    Returns:
        The figure, already saved.

    Raises:
        ValueError: If there are no models or too many.
    """
    if not 0 < len(models) <= MOST_MODELS:
        raise ValueError(f"models must be 1 to {MOST_MODELS}. Got {len(models)}.")
    columns = min(_COLUMNS, len(models))
    bands = -(-len(models) // columns)
    several = any(len(model.histories) > 1 for model in models)
    width = WIDTH_INCHES * (1.5 if columns > 1 else 1)
    with house_style():
        figure = Figure(figsize=(width, 0.35 + 1.75 * bands * len(measures)), layout="constrained")
        panels = figure.subplots(
            bands * len(measures), columns, squeeze=False, sharex=False, sharey=False
        )
        limits = {measure: _limits(models, measure) for measure in measures}
        for number in range(bands * columns):
            band, column = divmod(number, columns)
            for row, measure in enumerate(measures):
                axes = panels[band * len(measures) + row, column]
                if number >= len(models):
                    axes.set_axis_off()
                    continue
                highest = _draw(axes, models[number], measure)
                axes.set_ylim(*limits[measure])
                if row == 0:
                    axes.set_title(_heading(models[number]))
                if highest > limits[measure][1]:
                    note = f"up to {highest:.3g}, cut off"
                    axes.set_title(note, loc="right", weight="normal", size=7)
                if row == len(measures) - 1:
                    axes.set_xlabel("epoch")
                if column == 0:
                    axes.set_ylabel(measure)
        figure.legend(
            handles=_legend(several),
            loc="outside lower center",
            ncols=2 if several and columns == 1 else 4,  # four entries are wider than one panel
            handlelength=3,
        )
        return save(figure, path)


def _heading(model: Model) -> str:
    runs = len(model.histories)
    return wrapped(model.name + (f" ({runs} runs)" if runs > 1 else ""), 40)


def _draw(axes: Axes, model: Model, measure: str) -> float:
    """Draws one panel; returns its highest value."""
    several = len(model.histories) > 1
    longest, highest = 1, -np.inf
    for prefix, _, colour, style in _LOOKS:
        curves = []
        for history, best in zip(model.histories, model.best_epochs, strict=True):
            epochs = np.array([int(row["epoch"]) for row in history])
            values = np.array([finite(row.get(prefix + measure)) for row in history])
            highest = max(
                highest, float(np.max(values, initial=-np.inf, where=np.isfinite(values)))
            )
            longest = max(longest, int(epochs.max(initial=1)))
            marker = "o" if np.isfinite(values).sum() == 1 else ""  # a line needs two points
            alone: Any = {"linewidth": 0.8, "alpha": _PALE} if several else {"linewidth": 1.5}
            axes.plot(
                epochs, values, color=colour, linestyle="-" if several else style,
                marker=marker, **alone,
            )  # fmt: skip
            curves.append(dict(zip(epochs.tolist(), values.tolist(), strict=True)))
            at = curves[-1].get(best)
            if prefix and at is not None:
                axes.plot(
                    best, at, "o", markersize=4 if several else 6, markerfacecolor="none",
                    color=BLACK, markeredgewidth=0.8, clip_on=False,
                )  # fmt: skip
        if several:
            shared = [epoch for epoch in range(1, longest + 1) if all(epoch in of for of in curves)]
            means = [float(np.mean([of[epoch] for of in curves])) for epoch in shared]
            axes.plot(shared, means, color=colour, linestyle=style, linewidth=2)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    return highest


def _limits(models: Sequence[Model], measure: str) -> tuple[float, float]:
    """Returns the common ends of a quantity's axis; a single bad epoch would flatten the rest."""
    values = np.array(
        [
            finite(row.get(prefix + measure))
            for model in models
            for history in model.histories
            for row in history
            for prefix, *_ in _LOOKS
        ]
    )
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    if measure == "loss":
        bulk = 1.3 * float(np.quantile(values, 0.95))
        return 0.0, 1.05 * min(high, bulk) or 1.0
    margin = max(0.05 * (high - low), 0.005)
    return low - margin, min(high + margin, 1.02) if high <= 1 else high + margin


def _legend(several: bool) -> list[Line2D]:
    looks: Any = _LOOKS
    handles = [
        Line2D([], [], color=colour, linestyle=style, label=name)
        for _, name, colour, style in looks
    ]
    handles.append(
        Line2D(
            [],
            [],
            color=BLACK,
            marker="o",
            markerfacecolor="none",
            linestyle="none",
            label="epoch whose weights were kept",
        )
    )
    if several:
        handles.append(
            Line2D([], [], color="#888888", linewidth=0.8, label="pale: single runs; bold: mean")
        )
    return handles
