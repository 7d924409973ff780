"""What all figures share: colours, text sizes, and how they are saved.

Figures are made to be read at 6 inches of width. They go through matplotlib's ``Figure`` objects
and its Agg canvas, never pyplot, so they neither need a display nor leave state behind. The same
data gives the same bytes.
"""

import math
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

WIDTH_INCHES = 6.0
DPI = 150

# Okabe and Ito's palette, distinct in all common kinds of colour blindness.
BLACK = "#000000"
ORANGE = "#E69F00"
SKY_BLUE = "#56B4E9"
GREEN = "#009E73"
YELLOW = "#F0E442"
BLUE = "#0072B2"
VERMILLION = "#D55E00"
PURPLE = "#CC79A7"
GREY = "#666666"
# For lines on white, the most different first; yellow is too pale for it.
LINE_COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY_BLUE, BLACK)
LINE_STYLES = ("-", (0, (5, 1.5)), (0, (1.5, 1.5)))

_STYLE: Any = {
    "font.family": ["DejaVu Sans"],  # comes with matplotlib: the same on every machine
    "figure.dpi": DPI,
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E5E5E5",
    "grid.linewidth": 0.6,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": "#333333",
    "ytick.labelcolor": "#333333",
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "lines.linewidth": 1.6,
    "text.parse_math": False,  # a "$" in a class name is a "$"
}


@contextmanager
def house_style() -> Iterator[None]:
    """Sets matplotlib's defaults plus ours for a while, whatever the user's own settings are."""
    settings: Any = {
        key: value
        for key, value in matplotlib.rcParamsDefault.items()
        if key not in ("backend", "interactive", "toolbar", "timezone")
    }
    with matplotlib.rc_context(settings | _STYLE):
        yield


def save(figure: Figure, path: str | Path | BinaryIO) -> Figure:
    """Writes a figure as PNG, without date or software version in it, and returns it.

    Args:
        figure: What to draw; call it inside ``house_style``, since text is laid out here.
        path: The file, whose folder must exist, or one that is open for writing.
    """
    FigureCanvasAgg(figure)
    figure.savefig(path, format="png", facecolor="white", metadata={"Software": None})
    return figure


def wrapped(text: str, letters: int, break_words: bool = True) -> str:
    """Breaks a text into lines of at most ``letters``: at spaces and after underscores."""
    parts = text.replace("_", "_\0").replace(" ", " \0").split("\0")
    lines = [""]
    for part in parts:
        if lines[-1] and len((lines[-1] + part).rstrip()) > letters:
            lines.append("")
        lines[-1] += part
    if not break_words:
        return "\n".join(line.strip() for line in lines)
    # A single word that is too long is broken anywhere: better than running into its neighbour.
    return "\n".join(
        piece for line in lines for piece in textwrap.wrap(line, letters, break_on_hyphens=False)
    )


def finite(value: Any) -> float:
    """Returns a float, NaN for whatever is missing or not finite."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return math.nan
    return number if math.isfinite(number) else math.nan
