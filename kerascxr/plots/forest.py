"""The forest plot: scores of several tests with their intervals, a panel a measure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kerascxr.plots.style import (
    BLACK,
    BLUE,
    GREY,
    LINE_STYLES,
    VERMILLION,
    WIDTH_INCHES,
    house_style,
    save,
)
from kerascxr.tables import NOTHING

INTERNAL, EXTERNAL, REFERENCE = "internal", "external", "reference"
_LOOKS = {INTERNAL: (BLUE, "o"), EXTERNAL: (VERMILLION, "D"), REFERENCE: (GREY, "x")}
_ROW_INCHES, _HEADING_INCHES = 0.27, 0.3
_LABEL_INCHES = 2.85
_LETTERS = 38  # of a label

Score = tuple[float | None, Sequence[float] | None]


@dataclass(frozen=True)
class Row:
    """One test.

    Attributes:
        label: What was tested on what.
        scores: Measure -> its value and its interval's ends, if known.
        kind: ``INTERNAL``, ``EXTERNAL`` or ``REFERENCE``; each has its colour and marker.
        chance: Measure -> the score without any skill, if known.
    """

    label: str
    scores: Mapping[str, Score]
    kind: str = INTERNAL
    chance: Mapping[str, float] | None = None


def forest(
    groups: Mapping[str, Sequence[Row]], measures: Mapping[str, str], path: str | Path
) -> Figure:
    """Draws scores with their intervals, beside each its figures; a short grey line is chance.

    Args:
        groups: Heading, such as a model's name, to its tests; at least one in all. A test that is
            alone below its heading has the heading for its label.
        measures: Measure -> its name above the panel.
        path: The PNG to write.

    Returns:
        The figure, already saved.

    Raises:
        ValueError: If there is no test.
    """
    rows = [row for group in groups.values() for row in group]
    if not rows:
        raise ValueError("groups must hold at least one test. Got none.")
    places, headings, height = _places(groups)
    width = WIDTH_INCHES * 1.5 if len(measures) > 1 else WIDTH_INCHES
    top, bottom, gap = 0.3, 0.38, 0.12  # inches
    whole = top + height + bottom
    panel = (width - _LABEL_INCHES) / len(measures)
    with house_style():
        figure = Figure(figsize=(width, whole))
        for heading, place in headings:
            y = 1 - (top + place) / whole
            figure.text(0.05 / width, y, _short(heading), weight="bold", va="center", size=7.5)
        labels = [row.label if len(of) > 1 else "" for of in groups.values() for row in of]
        for label, place in zip(labels, places, strict=True):
            y = 1 - (top + place) / whole
            figure.text(0.15 / width, y, _short(label), va="center", size=7.5)
        for number, (measure, name) in enumerate(measures.items()):
            left = _LABEL_INCHES + number * panel
            axes = figure.add_axes(
                (
                    (left + gap) / width,
                    bottom / whole,
                    (0.58 * panel - gap) / width,
                    height / whole,
                )
            )
            axes.set(ylim=(height, 0), yticks=[], title=name)
            axes.spines["left"].set_visible(False)
            for row, place in zip(rows, places, strict=True):
                _draw(axes, row, measure, place)
            low, high = axes.get_xlim()
            axes.set_xlim(low, min(high, 1.02) if high > 1 else high)
        return save(figure, path)


def _short(label: str) -> str:
    return label if len(label) <= _LETTERS else f"{label[: _LETTERS - 1]}…"


def _places(
    groups: Mapping[str, Sequence[Row]],
) -> tuple[list[float], list[tuple[str, float]], float]:
    """Returns each row's and each heading's distance from the top, and the height, in inches."""
    places, headings, height = [], [], 0.0
    for heading, group in groups.items():
        inches = _HEADING_INCHES if len(group) > 1 else _ROW_INCHES
        headings.append((heading, height + inches / 2))
        height += inches if len(group) > 1 else 0
        for _ in group:
            places.append(height + _ROW_INCHES / 2)
            height += _ROW_INCHES
    return places, headings, height


def _draw(axes: Axes, row: Row, measure: str, place: float) -> None:
    value, ends = row.scores.get(measure, (None, None))
    colour, marker = _LOOKS[row.kind]
    chance = (row.chance or {}).get(measure)
    if chance is not None:
        reach = 0.45 * _ROW_INCHES
        axes.plot(
            [chance] * 2, [place - reach, place + reach], color=GREY, linestyle=LINE_STYLES[2]
        )
    text = NOTHING
    if value is not None:
        if ends:
            axes.plot(list(ends), [place] * 2, color=colour, linewidth=1.8)
        axes.plot(value, place, marker, color=colour, markersize=5)
        text = f"{value:.3f}" + (f" [{ends[0]:.3f}, {ends[1]:.3f}]" if ends else "")
    axes.annotate(
        text,
        (1, place),
        xycoords=("axes fraction", "data"),
        xytext=(6, 0),
        textcoords="offset points",
        va="center",
        size=7.5,
        color=BLACK if row.kind != REFERENCE else GREY,
    )
