"""Small regressions take one thread, and large ones what there is."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_info

from kerascxr.evaluation import logistic_regression
from kerascxr.evaluation.logistic_regression import fit_logistic_regression

RANDOM = np.random.default_rng(0)
FEATURES = RANDOM.normal(size=(60, 4))
LABELS = (FEATURES[:, 0] > 0).astype(int)


def blas_threads():
    return {item["num_threads"] for item in threadpool_info() if item["user_api"] == "blas"}


@pytest.mark.parametrize("large", [False, True])
def test_few_numbers_take_one_thread(large, monkeypatch):
    outside, inside = blas_threads(), []
    fit = LogisticRegression.fit
    monkeypatch.setattr(logistic_regression, "_LARGE", FEATURES.size - large)
    monkeypatch.setattr(
        LogisticRegression,
        "fit",
        lambda *given: (inside.append(blas_threads()), fit(*given))[1],
    )
    fit_logistic_regression(FEATURES, LABELS)
    assert inside == [outside if large else {1}]
    assert blas_threads() == outside


def test_options_and_weights_are_scikit_learns():
    weights = RANDOM.uniform(0.5, 2, 60)
    found = fit_logistic_regression(FEATURES, LABELS, weights, C=0.1, class_weight="balanced")
    expected = LogisticRegression(C=0.1, class_weight="balanced").fit(FEATURES, LABELS, weights)
    np.testing.assert_allclose(found.coef_, expected.coef_, rtol=1e-6)
    assert found.coef_.shape == (1, 4)
