"""Intervals of 95 % for shares of images, such as the accuracy or the recall of one class."""

from collections.abc import Sequence

import numpy as np
from scipy import stats

LEVEL = 0.95
Interval = tuple[float, float] | None


def wilson(value: float, n: float, z: float | None = None) -> tuple[float, float]:
    """Computes Wilson's interval.

    Args:
        value: The share, 0..1.
        n: The number of independent images, over 0; it need not be a whole number.
        z: The quantile; that of the normal distribution where it is None.

    Source:
        Wilson, Journal of the American Statistical Association 22, 1927.
    """
    z = float(stats.norm.ppf((1 + LEVEL) / 2)) if z is None else z
    centre = (value + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (value * (1 - value) / n + z * z / (4 * n * n)) ** 0.5
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    return (0.0 if value == 0 else low), (1.0 if value == 1 else high)


def share_interval(hits: np.ndarray, groups: np.ndarray) -> Interval:
    """Computes the interval of a share of images, which may come in groups.

    Args:
        hits: Whether each image counts, bool ``(n,)``.
        groups: The images' groups, ``(n,)``; n different ones give Wilson's plain interval.

    Returns:
        Wilson's interval on the effective number of images, which is smaller the more the images of
        a group agree; where all images agree, on the number of groups. None for fewer than two
        groups.

    Source:
        Korn and Graubard, Survey Methodology 24, 1998, on the effective number.
    """
    number = np.unique(groups, return_inverse=True)[1]
    n, count = len(hits), len(np.unique(number))
    if count < 2:
        return None
    value = float(np.mean(hits))
    if value in (0, 1):
        return wilson(value, count)
    residuals = np.bincount(number, hits - value)
    of_groups = float((residuals**2).sum()) / n**2 * count / (count - 1)
    of_images = value * (1 - value) / (n - 1)
    t = stats.t.ppf((1 + LEVEL) / 2, [n - 1, count - 1])
    effective = n * of_images / max(of_groups, of_images) * (t[0] / t[1]) ** 2
    return wilson(value, float(effective))


def macro_interval(
    classes: Sequence[tuple[float | None, Interval]], resampled: Interval
) -> Interval:
    """Computes the interval of a mean over classes.

    Args:
        classes: Each class's value and interval.
        resampled: The mean's interval from resamples. It misses the uncertainty of classes in which
            all resamples agree.

    Returns:
        The wider, at each end, of ``resampled`` and the combination of the classes' intervals as of
        independent ones; None where either is unknown or a class has no interval.

    Source:
        Zou and Donner, Statistics in Medicine 27, 2008, on combining intervals.
    """
    if resampled is None or not classes:
        return None
    mean, below, above = 0.0, 0.0, 0.0
    for value, limits in classes:
        if value is None or limits is None:
            return None
        mean += value / len(classes)
        below += (value - limits[0]) ** 2
        above += (limits[1] - value) ** 2
    low, high = mean - below**0.5 / len(classes), mean + above**0.5 / len(classes)
    return max(0.0, min(resampled[0], low)), min(1.0, max(resampled[1], high))
