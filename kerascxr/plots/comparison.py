"""Figures of several runs together."""

from collections import Counter
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
    LINE_COLOURS,
    LINE_STYLES,
    WIDTH_INCHES,
    finite,
    house_style,
    save,
)

_PANELS = (
    ("accuracy", "training accuracy"),
    ("val_accuracy", "validation accuracy"),
    ("loss", "training loss"),
    ("val_loss", "validation loss"),
)

_LEGEND_LETTERS, _HANDLE_LETTERS = 150, 10  # the figure's width, and a line sample and its gaps


@dataclass(frozen=True)
class Trained:
    """One classifier's training, as the figure needs it.

    Attributes:
        name: The name in the legend.
        backbone: The backbone's name.
        depth: The fine-tuning depth.
        folder: The name of the run's folder; a label where backbone and depth are not unique.
        history: One dict an epoch, with ``epoch`` and the four quantities.
    """

    name: str
    backbone: str
    depth: Any
    folder: str
    history: Sequence[Mapping[str, Any]]


def all_curves(runs: Sequence[Trained], path: str | Path) -> Figure:
    """Draws accuracy and loss of all classifiers, in training and in validation.

    A backbone has a line style and a depth a colour, so that six curves differ without
    colour too; each is named at its end. Where several runs have one backbone and depth (folds,
    seeds), each run has its own colour and line style, and its folder in its label.

    Args:
        runs: At least one.
        path: The PNG to write.

    Returns:
        The figure, already saved.

    Raises:
        ValueError: If there is no run.
    """
    if not runs:
        raise ValueError("runs must hold at least one classifier. Got runs=[].")
    styles, labels = _styles(runs), short_names(runs)
    with house_style():
        figure = Figure(figsize=(WIDTH_INCHES * 1.5, 7.4), layout="constrained")
        for axes, (key, name) in zip(figure.subplots(2, 2).flat, _PANELS, strict=True):
            axes.set_title(name.capitalize())
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            ends = []
            for run, (colour, style), label in zip(runs, styles, labels, strict=True):
                epochs = [int(row["epoch"]) for row in run.history]
                values = [finite(row.get(key)) for row in run.history]
                seen = np.flatnonzero(np.isfinite(values))
                marker = "o" if len(seen) == 1 else ""  # a line needs two points
                axes.plot(epochs, values, color=colour, linestyle=style, marker=marker)
                if len(seen):
                    ends.append((values[seen[-1]], colour, label))
            if key.endswith("loss"):
                _leave_out_peaks(axes, runs, key)
            _name_ends(axes, ends)
        figure.legend(
            handles=[
                Line2D([], [], color=colour, linestyle=style, label=run.name)
                for run, (colour, style) in zip(runs, styles, strict=True)
            ],
            loc="outside lower center",
            ncols=_legend_columns(runs),
            handlelength=3,
        )
        return save(figure, path)


def same_model_repeats(runs: Sequence[Trained]) -> bool:
    """Returns whether several runs have the same backbone and depth."""
    return len({(run.backbone, run.depth) for run in runs}) < len(runs)


def short_names(runs: Sequence[Trained]) -> list[str]:
    """Returns each curve's label, such as "depth 1", of repeated models "depth 1 fold2".

    The backbone comes first where the runs have several: "efficientnetb0 depth 1".
    """
    several = len({run.backbone for run in runs}) > 1
    names = [
        f"{run.backbone} depth {run.depth}" if several else f"depth {run.depth}" for run in runs
    ]
    often = Counter(names)
    names = [
        f"{name} {run.folder}" if often[name] > 1 else name
        for name, run in zip(names, runs, strict=True)
    ]
    often = Counter(names)
    return [
        f"{name} ({number})" if often[name] > 1 else name for number, name in enumerate(names, 1)
    ]


def _legend_columns(runs: Sequence[Trained]) -> int:
    """Returns how many of the legend's columns fit side by side."""
    longest = max(len(run.name) for run in runs)
    return max(1, min(3, len(runs), _LEGEND_LETTERS // (longest + _HANDLE_LETTERS)))


def _styles(runs: Sequence[Trained]) -> list[tuple]:
    if same_model_repeats(runs):
        colours, styles = len(LINE_COLOURS), len(LINE_STYLES)
        return [
            (LINE_COLOURS[index % colours], LINE_STYLES[index // colours % styles])
            for index in range(len(runs))
        ]
    backbones = list(dict.fromkeys(run.backbone for run in runs))
    depths = list(dict.fromkeys(run.depth for run in runs))
    return [
        (
            LINE_COLOURS[depths.index(run.depth) % len(LINE_COLOURS)],
            LINE_STYLES[backbones.index(run.backbone) % len(LINE_STYLES)],
        )
        for run in runs
    ]


def _leave_out_peaks(axes: Axes, runs: Sequence[Trained], key: str) -> None:
    """Ends a loss axis above the bulk of the values: a single bad epoch would flatten the rest."""
    values = np.array([finite(row.get(key)) for run in runs for row in run.history])
    values = values[np.isfinite(values)]
    if not len(values):
        return
    top = float(np.quantile(values, 0.93)) * 1.15
    if values.max() > 1.5 * top > 0:
        axes.set_ylim(0, top)
        axes.set_title(f"values over {top:.1f} cut off", loc="right", weight="normal", size=7.5)


def _name_ends(axes: Axes, ends: list[tuple[float, str, str]]) -> None:
    """Writes the curves' names right of their ends, pushed apart where they would overlap."""
    gap = 0.055
    axes.autoscale_view()  # or the axes would still have their first limits
    to_fraction = axes.transData + axes.transAxes.inverted()
    heights = [float(np.clip(to_fraction.transform((0, end[0]))[1], 0, 1)) for end in ends]
    order = np.argsort(heights)
    placed: list[float] = []
    for index in order:
        placed.append(max(heights[index], placed[-1] + gap if placed else 0.0))
    excess = max(0.0, placed[-1] - 1.0) if placed else 0.0
    for index, height in zip(order, placed, strict=True):
        _, colour, name = ends[index]
        axes.text(
            1.01,
            height - excess,
            name,
            transform=axes.transAxes,
            color=colour,
            va="center",
            weight="bold",
        )
