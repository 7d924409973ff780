"""The figure of an audit by input ablations."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from kerascxr.plots.style import (
    BLUE,
    GREY,
    LINE_STYLES,
    VERMILLION,
    WIDTH_INCHES,
    house_style,
    save,
)


def scores(result: Mapping[str, Any], path: str | Path) -> Figure:
    """Draws each ablation's macro AUC and interval; those without the lungs have another colour.

    Args:
        result: What ``audit.json`` holds.
        path: The PNG to write.

    Returns:
        The figure, already saved.
    """
    names = list(result["ablations"])
    with house_style():
        figure = Figure(figsize=(WIDTH_INCHES, 0.7 + 0.3 * len(names)), layout="constrained")
        axes = figure.add_subplot()
        axes.set_title(f"{result['title']}: input ablations")
        for place, name in enumerate(names):
            of = result["ablations"][name]
            auc = of["auc"]
            colour, marker = (BLUE, "o") if of["lungs_visible"] else (VERMILLION, "D")
            low, high = auc["interval"] or (auc["value"], auc["value"])
            axes.plot([low, high], [place, place], color=colour, linewidth=1.5)
            axes.plot(auc["value"], place, marker, color=colour, markersize=5)
            axes.annotate(
                f"{auc['value']:.3f}",
                (auc["value"], place),
                xytext=(0, 4),
                textcoords="offset points",
                ha="center",
                fontsize=7,
            )
        axes.axvline(0.5, color=GREY, linestyle=LINE_STYLES[1], linewidth=1.0)
        axes.annotate(
            "chance", (0.5, 1), xycoords=("data", "axes fraction"), xytext=(3, -8),
            textcoords="offset points", color=GREY, fontsize=7,
        )  # fmt: skip
        axes.set_yticks(range(len(names)), [result["ablations"][name]["title"] for name in names])
        axes.set_ylim(len(names) - 0.5, -0.7)
        axes.set_xlim(right=1.01)
        axes.set_xlabel("macro AUC with its 95% interval (diamonds: lungs or their detail hidden)")
        return save(figure, path)
