"""Intervals of 95 % for shares of images, such as the accuracy or the recall of one class."""

import numpy as np
from scipy.special import gammaincinv, ndtri, stdtrit

LEVEL = 0.95
_RARE = 3.5
Interval = tuple[float, float] | None


def wilson(value: float, n: float, z: float | None = None) -> tuple[float, float]:
    """Computes the modified Wilson interval.

    Args:
        value: The share, 0..1.
        n: The number of independent images, over 0; it need not be a whole number.
        z: The quantile; that of the normal distribution where it is None.

    Returns:
        Wilson's interval. Where one to three images are the exception, the end towards 0 or 1 is
        the Poisson limit, because Wilson's covers a share near 0 or 1 too rarely there.

    Source:
        Wilson, Journal of the American Statistical Association 22, 1927. The modification: Brown,
        Cai and DasGupta, Statistical Science 16, 2001, section 4.1.1.
    """
    z = float(ndtri((1 + LEVEL) / 2)) if z is None else z
    centre = (value + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (value * (1 - value) / n + z * z / (4 * n * n)) ** 0.5
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    if value < 1:
        low = min(low, _poisson_limit(value * n, n))
    if value > 0:
        high = max(high, 1 - _poisson_limit((1 - value) * n, n))
    return low, high


def _poisson_limit(count: float, n: float) -> float:
    """Computes the lower limit of the share of rare images; 1 where they are not rare."""
    if count <= 0:
        return 0.0
    return float(gammaincinv(count, 1 - LEVEL)) / n if count <= _RARE else 1.0


def share_interval(hits: np.ndarray, groups: np.ndarray) -> Interval:
    """Computes the interval of a share of images, which may come in groups.

    Args:
        hits: Whether each image counts, bool ``(n,)``.
        groups: The images' groups, ``(n,)``; where all differ, each image counts.

    Returns:
        The interval of ``wilson`` on the effective number of images, which is smaller the more the
        images of a group agree; where all images agree, on the number of groups. None for fewer
        than two groups.

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
    t = stdtrit([n - 1, count - 1], (1 + LEVEL) / 2)
    effective = n * of_images / max(of_groups, of_images) * (t[0] / t[1]) ** 2
    return wilson(value, float(effective))
