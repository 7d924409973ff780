"""Laws of growth: how a quantity depends on the number of images, fitted, limited and drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from scipy.optimize import nnls

from kerascxr.plots.style import LINE_COLOURS, WIDTH_INCHES, house_style, save

ROWS = ("ingest", "features", "epoch", "run", "report")
"""What is measured, in the order of the tables."""

FAR = 1_000_000
"""The number of images to which laws are drawn."""

GIB = 2**30

_POWERS = np.arange(0.0, 3.01, 0.05)


@dataclass(frozen=True)
class Law:
    """``constant + factor * images ** power``."""

    constant: float
    factor: float
    power: float

    def __call__(self, images: float) -> float:
        """Returns the quantity for so many images."""
        return float(self.constant + self.factor * images**self.power)

    def reaches(self, limit: float) -> float:
        """Returns from how many images on it is over a limit; infinity if it does not grow."""
        if limit <= self.constant:
            return 0.0
        if not (self.factor and self.power):
            return float("inf")
        return float(((limit - self.constant) / self.factor) ** (1 / self.power))


def fit_law(sizes: Sequence[int], values: Sequence[float]) -> Law:
    """Fits a law to two or more sizes and their positive values.

    Raises:
        ValueError: If there are fewer than two sizes.
    """
    if len(sizes) < 2:
        raise ValueError(f"sizes must be two or more for a law. Got {len(sizes)}.")
    n, value = np.array(sizes, float), np.array(values, float)
    if len(n) == 2:
        power = float(np.log(value[1] / value[0]) / np.log(n[1] / n[0]))
        return Law(0.0, float(value[0] / n[0] ** power), power)

    def fitted(power: float) -> tuple[float, Law]:
        scale = n.max() ** power  # both columns of one order
        columns = np.stack([1 / value, n**power / scale / value], axis=1)
        (constant, factor), error = nnls(columns, np.ones(len(n)))
        return error, Law(float(constant), float(factor / scale), power)

    return min(map(fitted, map(float, _POWERS)), key=lambda found: found[0])[1]


Measurements = Mapping[int, Mapping[str, Mapping[str, float]]]
"""By size and by stage: ``wall`` and ``cpu`` in seconds, ``peak`` and ``disk`` in bytes."""


def laws(found: Measurements, quantity: str) -> dict[str, Law]:
    """Fits the law of a quantity for each stage that was measured at two sizes or more."""
    fitted = {}
    for stage in ROWS:
        points = {
            size: rows[stage][quantity]
            for size, rows in sorted(found.items())
            if quantity in rows.get(stage, {})
        }
        if len(points) > 1:
            fitted[stage] = fit_law(list(points), list(points.values()))
    return fitted


def first_limits(
    found: Measurements, memory: float, disk: float, features_gb: float, copies: int
) -> list[tuple[float, str]]:
    """Returns from how many images on each limit is passed, the smallest number first.

    Args:
        found: What was measured.
        memory: Bytes of memory.
        disk: Bytes of disk that are free.
        features_gb: The limit of the folder of features, in GB.
        copies: Versions of each training image whose features are stored.
    """
    limits = [
        (law.reaches(memory), f"{stage}: memory of {memory / GIB:.0f} GiB")
        for stage, law in laws(found, "peak").items()
    ]
    for stage, law in laws(found, "disk").items():
        limits.append((law.reaches(disk), f"{stage}: free disk of {disk / GIB:.0f} GiB"))
        if stage == "features":
            most = features_gb * GIB / copies
            what = f"--data.features_gb {features_gb:g} with {copies} versions of each image"
            limits.append((law.reaches(most), f"{stage}: {what}"))
    return sorted(limits)


def draw(found: Measurements, to: Path) -> Figure:
    """Draws CPU seconds and peak memory of each stage, with their laws up to ``FAR`` images.

    Returns:
        The figure, already saved.
    """
    with house_style():
        figure = Figure(figsize=(WIDTH_INCHES, 2.9), layout="constrained")
        panels = figure.subplots(1, 2)
        titles = {"cpu": ("CPU seconds", 1.0), "peak": ("peak memory, GiB", GIB)}
        for axes, (quantity, (title, unit)) in zip(panels, titles.items(), strict=True):
            for stage, colour in zip(ROWS, LINE_COLOURS, strict=False):
                sizes = [size for size in sorted(found) if stage in found[size]]
                if not sizes or (quantity, stage) == ("peak", "epoch"):  # that of the run
                    continue
                values = [found[size][stage][quantity] / unit for size in sizes]
                axes.plot(sizes, values, "o", markersize=4, color=colour, label=stage)
                law = laws(found, quantity).get(stage)
                if law:
                    reach = np.geomspace(min(sizes), FAR)
                    axes.plot(reach, [law(n) / unit for n in reach], color=colour, linewidth=1)
            axes.axvline(max(found), color="#999999", linewidth=0.8, linestyle=":")
            axes.set(xscale="log", yscale="log", xlabel="images", title=title)
            # Matplotlib's own labels are formulas, which the house style shows as they are written.
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_minor_formatter(NullFormatter())
        panels[0].legend()
        return save(figure, to)
