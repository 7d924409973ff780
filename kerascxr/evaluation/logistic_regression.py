"""Logistic regressions by scikit-learn."""

from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

_LARGE = 10_000_000  # numbers: 10,000 images with 1,000 statistics


def fit_logistic_regression(
    features: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None, **options: Any
) -> LogisticRegression:
    """Fits a logistic regression, of few numbers in one thread.

    An iteration on few numbers takes less than to wake a second thread, which waits for work at a
    core's full cost: with other work on two cores, a regression took ten times the CPU time.

    Args:
        features: float (n, m).
        labels: int (n,).
        weights: float (n,), the images' weights; None for equal ones.
        options: Those of ``LogisticRegression``.
    """
    with threadpool_limits(1 if features.size <= _LARGE else None, user_api="blas"):
        return LogisticRegression(**options).fit(features, labels, weights)
