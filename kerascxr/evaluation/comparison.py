"""Whether two runs differ by more than chance."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from kerascxr.evaluation.combined_intervals import correlation, difference_interval
from kerascxr.evaluation.uncertainty import LEVEL, Resampled


class Difference(NamedTuple):
    """The second run's metric minus the first's.

    Attributes:
        value: The difference.
        low: Lower end of its interval.
        high: Upper end.
        p: Two-sided, of no difference.
    """

    value: float
    low: float
    high: float
    p: float


class McNemar(NamedTuple):
    """McNemar's test of two classifiers on the same images.

    Attributes:
        only_first: Images that only the first has right.
        only_second: Images that only the second has right.
        p: Two-sided, mid-p, of whole groups.
    """

    only_first: int
    only_second: int
    p: float


def difference(first: Resampled, second: Resampled, paired: bool) -> Difference | None:
    """Compares one metric of two runs.

    Args:
        first: The one run's.
        second: The other's.
        paired: Whether resample i of both is of the same images, so that what makes both better or
            worse cancels out.

    Returns:
        The difference with its interval, and the p for which an interval of that level would end
        at 0; None where either has no interval.

    Source:
        Newcombe, Statistics in Medicine 17, 1998, paper 3, method 10, for shares of images, with
        its correction of the correlation as an upper limit; Zou, Statistics in Medicine 27, 2008,
        for other metrics.
    """
    if first.value is None or second.value is None:
        return None
    if first.interval is None or second.interval is None:
        return None
    shared = 0.0
    if paired:
        shared = correlation(first.resamples, second.resamples)
        if shared > 0 and first.groups is not None:
            # Images that all resamples have alike may still differ in the population.
            spread = first.value * (1 - first.value) * second.value * (1 - second.value)
            shared = max(0.0, min(shared, 1 - 1 / (2 * first.groups * spread**0.5)))
    low, high = difference_interval(
        (first.value, second.value), (first.interval, second.interval), shared
    )
    value = second.value - first.value
    reach = value - low if value > 0 else high - value
    z = float(stats.norm.ppf((1 + LEVEL) / 2))
    p = 2 * float(stats.norm.sf(abs(value) / reach * z)) if reach > 0 else float(value == 0)
    return Difference(value, low, high, p)


def mcnemar(first_right: np.ndarray, second_right: np.ndarray, groups: np.ndarray) -> McNemar:
    """Tests whether two classifiers are right equally often.

    If they are, they could change places in any group, with all its images. Over all such changes
    the images that only the first has right have an exact distribution; it is McNemar's binomial
    one where each image is a group.

    Args:
        first_right: Whether the first is right, bool ``(n,)``.
        second_right: The same of the second, on the same images.
        groups: The images' groups, ``(n,)``.

    Source:
        Fagerland, Lydersen and Laake, BMC Medical Research Methodology 2013: the mid-p version
        keeps its level and is less timid than the exact test. Whole groups that change places:
        Winkler et al., NeuroImage 123, 2015.
    """
    only_first = int((first_right & ~second_right).sum())
    only_second = int((second_right & ~first_right).sum())
    number = np.unique(groups, return_inverse=True)[1]
    gains = np.bincount(number, first_right.astype(float) - second_right).astype(int)
    sizes = np.abs(gains[gains != 0])
    single = int((sizes == 1).sum())
    shares = stats.binom.pmf(np.arange(single + 1), single, 0.5)
    for size in sizes[sizes > 1].tolist():
        shares = (np.pad(shares, (0, size)) + np.pad(shares, (size, 0))) / 2
    won = int(gains[gains > 0].sum())
    fewer = min(won, int(sizes.sum()) - won)
    p = 2 * shares[: fewer + 1].sum() - shares[fewer]
    return McNemar(only_first, only_second, float(min(1.0, p)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusts p values for being several, in the order given.

    Source:
        Holm, Scandinavian Journal of Statistics 1979.
    """
    order = np.argsort(p_values, kind="stable")
    sizes = np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.maximum.accumulate(np.minimum(1, np.asarray(p_values)[order] * sizes))
    return adjusted.tolist()
