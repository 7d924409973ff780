"""Intervals cover a known truth about as often as they say, also where the simple ones do not."""

import numpy as np
import pytest
from scipy import stats

from kerascxr.evaluation.comparison import difference
from kerascxr.evaluation.metrics import class_auc
from kerascxr.evaluation.shares import wilson
from kerascxr.evaluation.uncertainty import (
    classification_intervals,
    classification_metrics,
    segmentation_intervals,
)

TESTS = 300


@pytest.mark.parametrize("n", [8, 20, 60])
def test_a_share_near_0_or_1_is_covered(n):
    shares = np.linspace(0.001, 0.999, 999)
    ends = np.array([wilson(hits / n, n) for hits in range(n + 1)])
    chance = stats.binom.pmf(np.arange(n + 1)[:, None], n, shares)
    covers = (ends[:, :1] <= shares) & (shares <= ends[:, 1:])
    coverage = (chance * covers).sum(axis=0)
    assert coverage.min() > 0.92 and coverage.mean() < 0.98


def predictions(random, labels, advantage, common=None):
    """Probabilities of a classifier that adds an advantage to the true class's score."""
    noise = random.normal(size=(len(labels), 3))
    scores = noise if common is None else 0.97 * common + (1 - 0.97**2) ** 0.5 * noise
    odds = np.exp(2 * (scores + advantage * np.eye(3)[labels]))
    return odds / odds.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(("advantage", "least", "most"), [(2, 0.93, 0.98), (4, 0.96, 1.0)])
def test_macro_metrics_of_small_classes_are_covered_also_near_1(advantage, least, most):
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 200_000)
    # Classes are equally frequent and difficult, so macro recall and precision are the accuracy.
    truth = float((predictions(random, labels, advantage).argmax(axis=1) == labels).mean())
    held = {"recall": 0, "precision": 0}
    for seed in range(TESTS):
        few = np.arange(24) % 3
        found = classification_intervals(
            few, predictions(random, few, advantage), "abc", np.arange(24), resamples=30, seed=seed
        )
        for measure in held:
            low, high = found[measure]
            held[measure] += low <= truth <= high
    assert least <= held["recall"] / TESTS <= most
    assert least <= held["precision"] / TESTS


def test_the_auc_of_a_small_class_is_covered_and_not_much_too_often():
    random = np.random.default_rng(0)
    labels = np.arange(20_000) % 3
    large = predictions(random, labels, 1)
    truth = np.mean([class_auc(labels, large, index) for index in range(3)])
    few, held = np.arange(24) % 3, 0
    for seed in range(TESTS):
        found = classification_intervals(
            few, predictions(random, few, 1), "abc", np.arange(24), resamples=30, seed=seed
        )
        for name in "abc":
            low, high = found["per_class"][name]["auc"]
            held += low <= truth <= high
    assert 0.93 <= held / (3 * TESTS) <= 0.98


def test_a_difference_of_models_that_hardly_differ_is_covered():
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 200_000)
    common = random.normal(size=(200_000, 3))
    shares = [
        (predictions(random, labels, advantage, common).argmax(axis=1) == labels).mean()
        for advantage in (3.4, 3.2)
    ]
    few = np.arange(45) % 3
    held = 0
    names = [str(index) for index in range(45)]
    for seed in range(TESTS):
        common = random.normal(size=(45, 3))
        first, second = (
            classification_metrics(
                few, predictions(random, few, advantage, common), names, 30, seed
            )[0]["accuracy"]
            for advantage in (3.4, 3.2)
        )
        found = difference(first, second, paired=True)
        held += found.low <= shares[1] - shares[0] <= found.high
    assert held / TESTS >= 0.93


def test_means_of_skewed_values_are_covered_and_few_images_have_no_interval():
    random = np.random.default_rng(0)

    def rows(images):
        values = np.exp(1 + random.normal(size=images))
        return [
            {"group": str(index // 2), "dice": 0.5, "iou": 0.5, "hd95": value, "assd": value}
            | dict.fromkeys(("truth_pixels", "predicted_pixels", "overlap_pixels"), 1)
            for index, value in enumerate(values)
        ]

    held = 0
    for seed in range(TESTS):
        low, high = segmentation_intervals(rows(80), resamples=200, seed=seed)["hd95"]
        held += low <= np.exp(1.5) <= high
    assert held / TESTS >= 0.93
    few = segmentation_intervals(rows(58), resamples=20)
    assert few["hd95"] is None and few["dice"] is None
