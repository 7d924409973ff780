"""Intervals of 95 % for means and differences of metrics that have intervals themselves."""

from collections.abc import Sequence

import numpy as np

from kerascxr.evaluation.shares import Interval


def macro_interval(
    values: Sequence[float | None],
    intervals: Sequence[Interval],
    resamples: np.ndarray,
    resampled: Interval,
) -> Interval:
    """Computes the interval of a mean over classes.

    Args:
        values: Each class's value.
        intervals: Each class's interval.
        resamples: The classes' values on the same resamples, float ``(classes, resamples)``: how
            the classes' errors are correlated.
        resampled: The mean's interval from resamples alone, if known. It is too narrow where
            classes have no errors, and the other is where classes are small and errors frequent.

    Returns:
        The wider, at each end, of the combination of the classes' intervals and ``resampled``; None
        where a class has no interval.

    Source:
        Zou, Statistics in Medicine 27, 2008, on combining intervals of correlated estimates.
    """
    below, above, known = [], [], []
    for value, limits in zip(values, intervals, strict=True):
        if value is None or limits is None:
            return None
        known.append(value)
        below.append(value - limits[0])
        above.append(limits[1] - value)
    if not known:
        return None
    matrix = _correlations(resamples)
    down, up = ((np.array(side) @ matrix @ np.array(side)) ** 0.5 for side in (below, above))
    k, mean = len(known), float(np.mean(known))
    low, high = mean - float(down) / k, mean + float(up) / k
    if resampled is not None:
        low, high = min(low, resampled[0]), max(high, resampled[1])
    return max(0.0, low), min(1.0, high)


def difference_interval(
    values: tuple[float, float],
    intervals: tuple[tuple[float, float], tuple[float, float]],
    correlation: float,
) -> tuple[float, float]:
    """Computes the interval of the second metric minus the first.

    Args:
        values: The two metrics.
        intervals: Their intervals.
        correlation: Of their errors, -1..1; 0 where they were measured on different images.

    Source:
        Newcombe, Statistics in Medicine 17, 1998, paper 3, method 10, for shares; Zou, 2008, as
        above, for any metric.
    """
    first, second = values
    (low, high), (other_low, other_high) = intervals
    reach = []
    for one, other in ((high - first, second - other_low), (first - low, other_high - second)):
        reach.append(max(0.0, one**2 + other**2 - 2 * correlation * one * other) ** 0.5)
    return second - first - reach[0], second - first + reach[1]


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Computes the correlation of two metrics over resamples, 0 where one does not vary."""
    return float(_correlations(np.stack([first, second]))[0, 1])


def _correlations(resamples: np.ndarray) -> np.ndarray:
    """Computes correlations, (k, k), over the columns in which all k are defined."""
    defined = resamples[:, ~np.isnan(resamples).any(axis=0)]
    matrix = np.eye(len(resamples))
    if defined.shape[1] < 2:
        return matrix
    varies = np.flatnonzero(defined.std(axis=1) > 1e-9)
    if len(varies) > 1:
        matrix[np.ix_(varies, varies)] = np.corrcoef(defined[varies])
    return matrix
