"""The interval of an AUC ends where Hanley and McNeil's variance says."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from kerascxr.evaluation.auc_intervals import auc_interval


def hanley_mcneil(auc, positives, others):
    """The variance of an AUC; both numbers of the last terms are their mean, as Newcombe has it."""
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    number = (positives + others) / 2
    spread = auc * (1 - auc) + (number - 1) * (q1 - auc**2 + q2 - auc**2)
    return spread / (positives * others)


@pytest.mark.parametrize(
    ("scores", "auc", "free"),
    [
        ([7, 8, 9, 10, 1, 2, 3, 4, 5, 6], 1.0, [0]),
        ([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 0.0, [1]),
        ([5, 7, 9, 10, 1, 2, 3, 4, 6, 8], 21 / 24, [0, 1]),  # DeLong's variance is the smaller
    ],
)
def test_an_end_is_as_far_as_the_variance_expected_there(scores, auc, free):
    positive = np.arange(10) < 4
    assert roc_auc_score(positive, scores) == pytest.approx(auc)
    ends = auc_interval(positive, np.array(scores, float), np.arange(10))
    for index, end in enumerate(ends):
        if index in free:
            distance = stats.norm.ppf(0.975) * hanley_mcneil(end, 4, 6) ** 0.5
            assert abs(auc - end) == pytest.approx(distance)
        else:
            assert end == auc
