"""Whether two runs differ by more than chance."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

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
        p: Two-sided, mid-p.
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
        The difference with a t interval, or None where one of the metrics, or its evidence, is
        undefined.
    """
    if first.value is None or second.value is None:
        return None
    if first.evidence is None or second.evidence is None:
        return None
    if paired:
        joint = Resampled(0.0, second.resamples - first.resamples, first.evidence)
        variance, degrees_of_freedom = joint.variance, first.evidence.degrees_of_freedom
    else:
        parts = (first.variance, second.variance)
        variance = sum(parts)
        spread = (
            parts[0] ** 2 / first.evidence.degrees_of_freedom
            + parts[1] ** 2 / second.evidence.degrees_of_freedom
        )
        degrees_of_freedom = variance**2 / spread if spread else first.evidence.degrees_of_freedom
    value, error = second.value - first.value, variance**0.5
    if error < 1e-12:
        return Difference(value, value, value, 1.0 if abs(value) < 1e-12 else 0.0)
    reach = float(stats.t.ppf((1 + LEVEL) / 2, degrees_of_freedom)) * error
    p = 2 * float(stats.t.sf(abs(value) / error, degrees_of_freedom))
    return Difference(value, value - reach, value + reach, p)


def mcnemar(first_right: np.ndarray, second_right: np.ndarray) -> McNemar:
    """Tests whether two classifiers are right equally often.

    Args:
        first_right: Whether the first is right, bool ``(n,)``.
        second_right: The same of the second, on the same images.

    Source:
        Fagerland, Lydersen and Laake, BMC Medical Research Methodology 2013: the mid-p version
        keeps its level and is less timid than the exact test.
    """
    only_first = int((first_right & ~second_right).sum())
    only_second = int((second_right & ~first_right).sum())
    fewer, n = min(only_first, only_second), only_first + only_second
    p = 2 * stats.binom.cdf(fewer, n, 0.5) - stats.binom.pmf(fewer, n, 0.5)
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
