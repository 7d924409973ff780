"""The 95 % interval of a mean over images, such as the mean Dice: a studentised bootstrap."""

import numpy as np
from scipy.special import expit, logit, stdtrit

from kerascxr.evaluation.shares import LEVEL, Interval, wilson

LEAST_GROUPS = 30
"""Effective number of groups under which a mean has no interval: its tail is not yet visible."""


def mean_interval(
    parts: np.ndarray, wholes: np.ndarray, counts: np.ndarray, distance: bool = False
) -> Interval:
    """Computes the interval of a ratio of two sums over groups of images.

    Args:
        parts: Each group's part of the upper sum, float ``(g,)``; for a mean, its images' sum.
        wholes: Its part of the lower sum, float ``(g,)``; for a mean, its number of images.
        counts: How often each resample holds each group, float ``(g, resamples)``.
        distance: Whether the mean runs from 0 without an upper end, rather than from 0 to 1.

    Returns:
        On the logit scale (distances: log), at each end the wider of the studentised bootstrap and
        Student's t, with the jackknife's standard error of whole groups. None where the effective
        number of groups is under ``LEAST_GROUPS``, or all distances are 0.

    Source:
        Hall, The Bootstrap and Edgeworth Expansion, 1992, section 3.10, on the studentised
        bootstrap of transformed means. The effective number: Kish, Survey Sampling, 1965.
    """
    used = wholes > 0
    parts, wholes, counts = parts[used], wholes[used], counts[used]
    total = wholes.sum()
    effective = float(total**2 / (wholes**2).sum()) if total else 0.0
    if effective < LEAST_GROUPS:
        return None
    value, g = float(parts.sum() / total), len(parts)
    without = (parts.sum() - parts) / (total - wholes)
    variance = (g - 1) / g * float(((without - value) ** 2).sum())
    t = float(stdtrit(effective - 1, (1 + LEVEL) / 2))
    if distance and value <= 0:
        return None
    if variance < 1e-15 or (not distance and not 0 < value < 1):
        return (value, value) if distance else wilson(value, effective, t)
    scale, back = (np.log, np.exp) if distance else (logit, expit)

    def slope(at: np.ndarray | float) -> np.ndarray | float:
        return 1 / at if distance else 1 / (at * (1 - at))

    below = wholes @ counts
    means = (parts @ counts) / below
    products = np.stack([parts**2, parts * wholes, wholes**2]) @ counts
    squares = products[0] - 2 * means * products[1] + means**2 * products[2]
    with np.errstate(divide="ignore", invalid="ignore"):
        errors = slope(means) * np.sqrt(np.maximum(squares, 0)) / below * (g / (g - 1)) ** 0.5
        studentised = (scale(means) - scale(value)) / errors
    studentised = studentised[np.isfinite(studentised)]
    tails = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
    low, high = np.quantile(studentised, tails) if len(studentised) else (-t, t)
    error = slope(value) * variance**0.5
    return (
        float(back(scale(value) - max(high, t) * error)),
        float(back(scale(value) + max(-low, t) * error)),
    )
