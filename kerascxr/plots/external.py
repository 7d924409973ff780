"""The figure of internal and external tests."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from kerascxr.plots.style import BLUE, VERMILLION, WIDTH_INCHES, house_style, save, wrapped


class Score(NamedTuple):
    """One test's score.

    Attributes:
        name: The set's name.
        value: The score.
        interval: Its ends, if known.
        external: Whether the set is not the one of training.
    """

    name: str
    value: float
    interval: Sequence[float] | None
    external: bool


def internal_and_external(scores: Sequence[Score], measure: str, path: str | Path) -> Figure:
    """Draws a measure on each set with its interval; external sets have another colour and marker.

    Args:
        scores: At least one.
        measure: The measure's name, for the axis.
        path: The PNG to write.

    Returns:
        The figure, already saved.

    Raises:
        ValueError: If there is no score.
    """
    if not scores:
        raise ValueError("scores must hold at least one test. Got scores=[].")
    with house_style():
        figure = Figure(figsize=(WIDTH_INCHES, 0.8 + 0.4 * len(scores)), layout="constrained")
        axes = figure.add_subplot()
        for place, score in enumerate(scores):
            colour, marker = (VERMILLION, "D") if score.external else (BLUE, "o")
            low, high = score.interval or (score.value, score.value)
            axes.plot([low, high], [place, place], color=colour)
            axes.plot(score.value, place, marker, color=colour, markersize=5)
            axes.annotate(
                f"{score.value:.3f}",
                (score.value, place),
                xytext=(0, 5),
                textcoords="offset points",
                ha="center",
                fontsize=7,
            )
        axes.set_yticks(range(len(scores)), [wrapped(score.name, 30) for score in scores])
        axes.set_ylim(len(scores) - 0.5, -0.7)
        axes.set_xlabel(f"{measure}, with its 95% interval (diamonds: external)")
        return save(figure, path)
