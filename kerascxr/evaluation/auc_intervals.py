"""The 95 % interval of one class's area under the ROC curve."""

import numpy as np
from scipy import stats
from scipy.optimize import brentq
from scipy.special import ndtri, stdtrit

from kerascxr.evaluation.shares import LEVEL, Interval

_EDGE = 1e-9


def auc_interval(positive: np.ndarray, scores: np.ndarray, groups: np.ndarray) -> Interval:
    """Computes the interval of an AUC.

    Args:
        positive: Whether each image is of the class, bool ``(n,)``.
        scores: The class's probability, float ``(n,)``.
        groups: The images' groups, ``(n,)``.

    Returns:
        Newcombe's score interval on the effective numbers of images: their numbers, divided by how
        much larger DeLong's variance, of whole groups, is than the one expected of this AUC; for an
        AUC of 0 or 1 the numbers of groups. None where the class or the others have fewer than two
        groups.

    Source:
        Newcombe, Statistics in Medicine 25, 2006, part 2, method 5. The variance of groups:
        Obuchowski, Biometrics 53, 1997.
    """
    value, parts = _placements(positive, scores)
    number = np.unique(groups, return_inverse=True)[1]
    sizes = np.array([positive.sum(), (~positive).sum()])
    counts = np.array([len(np.unique(number[side])) for side in (positive, ~positive)])
    if counts.min() < 2:
        return None
    t = float(ndtri((1 + LEVEL) / 2))
    if value in (0, 1):
        sizes = np.minimum(sizes, counts)
    else:
        # Each group's part of the variance, of both sides and of each alone.
        sums = np.stack(
            [np.bincount(number, parts * side, counts.sum()) for side in (positive, ~positive)]
        )
        each = (sums**2).sum(axis=1) * counts / (counts - 1)
        together = each.sum() + 2 * float((sums[0] * sums[1]).sum())
        expected = _expected_variance(value, *sizes)
        if together > expected:
            sizes = sizes * expected / together
            degrees = float(each.sum() ** 2 / (each**2 / (counts - 1)).sum())
            t = float(stdtrit(degrees, (1 + LEVEL) / 2))

    def outside(other: float) -> float:
        return abs(value - other) - t * _expected_variance(other, *sizes) ** 0.5

    low, high = 0.0, 1.0
    if value > _EDGE and outside(value - _EDGE) < 0:
        low = float(brentq(outside, 0, value - _EDGE))
    if value < 1 - _EDGE and outside(value + _EDGE) < 0:
        high = float(brentq(outside, value + _EDGE, 1))
    return low, high


def _placements(positive: np.ndarray, scores: np.ndarray) -> tuple[float, np.ndarray]:
    """Computes the AUC and each image's part of its error, float64 ``(n,)``.

    Source:
        Sun and Xu, IEEE Signal Processing Letters 21, 2014: DeLong's variance from ranks.
    """
    sizes = positive.sum(), (~positive).sum()
    ranks = stats.rankdata(scores)
    within = np.empty(len(scores))
    for side in (positive, ~positive):
        within[side] = stats.rankdata(scores[side])
    # Of a positive image, the share of the others below it; of another, of the class above it.
    share = np.where(positive, (ranks - within) / sizes[1], 1 - (ranks - within) / sizes[0])
    value = float(share[positive].mean())
    return value, (share - value) / np.where(positive, *sizes)


def _expected_variance(value: float, positives: float, others: float) -> float:
    """Computes the variance that an AUC is expected to have.

    Source:
        Hanley and McNeil, Radiology 143, 1982, with both numbers of their last terms replaced by
        their mean, as Newcombe does.
    """
    mean = max(0.0, (positives + others) / 2 - 1)
    spread = (1 - value) / (2 - value) + value / (1 + value)
    return value * (1 - value) * (1 + mean * spread) / (positives * others)
