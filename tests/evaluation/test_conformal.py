"""Prediction sets hold the true class as often as they say, for each class."""

import numpy as np
import pytest

from kerascxr.evaluation.conformal import (
    class_thresholds,
    common_threshold,
    least_images,
    prediction_sets,
)


def draw(random, counts, k=3):
    """Labels and probabilities of a model that is right for most images, its classes unlike."""
    truth = np.repeat(np.arange(k), counts)
    logits = random.normal(0, 1, (len(truth), k)) * np.array([0.5, 1.5, 1.0])
    logits[np.arange(len(truth)), truth] += np.array([3.0, 1.5, 1.0])[truth]
    exponentials = np.exp(logits)
    return truth, exponentials / exponentials.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("counts", [(400, 200, 40), (25, 19, 60)])
def test_the_coverage_of_each_class_is_what_is_stated(counts):
    random = np.random.default_rng(0)
    covered = []
    for _ in range(400):
        thresholds = class_thresholds(*draw(random, counts))
        truth, probabilities = draw(random, (60, 60, 60))
        inside = prediction_sets(probabilities, thresholds)[np.arange(180), truth]
        covered.append([inside[truth == index].mean() for index in range(3)])
    mean = np.mean(covered, axis=0)
    assert (mean > 0.95 - 0.004).all()
    # At most 1 / (n + 1) above: the sets are not larger than they must be. The most probable class
    # adds to that where the model is right more often than the coverage.
    assert mean[2] < 0.95 + 1 / (counts[2] + 1) + 0.01


def test_marginal_thresholds_would_not_cover_the_hard_class():
    """Shows that the first test can fail: one threshold for all classes misses the third."""
    random = np.random.default_rng(0)
    truth, probabilities = draw(random, (2000, 2000, 200))
    of_truth = probabilities[np.arange(len(truth)), truth]
    sets = prediction_sets(probabilities, np.full(3, np.quantile(of_truth, 0.05)))
    assert sets[np.arange(len(truth)), truth][truth == 2].mean() < 0.93


def test_a_class_with_fewer_than_19_images_is_in_every_set():
    random = np.random.default_rng(1)
    truth, probabilities = draw(random, (100, 18, 19))
    thresholds = class_thresholds(truth, probabilities)
    assert thresholds[1] == 0 and thresholds[2] == probabilities[truth == 2, 2].min() > 0
    assert prediction_sets(probabilities, thresholds)[:, 1].all()


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9, 0.95, 0.99])
def test_the_stated_number_of_images_is_the_least_that_excludes(coverage):
    n = least_images(coverage)
    truth = np.zeros(n, int)
    assert class_thresholds(truth, np.full((n, 1), 0.7), coverage)[0] == 0.7
    assert class_thresholds(truth[1:], np.full((n - 1, 1), 0.7), coverage)[0] == 0


def test_no_set_is_empty():
    probabilities = np.array([[0.4, 0.35, 0.25], [0.1, 0.1, 0.8]])
    sets = prediction_sets(probabilities, np.array([0.9, 0.9, 0.2]))
    assert sets.tolist() == [[True, False, True], [False, False, True]]


@pytest.mark.parametrize("counts", [(400, 200, 40), (10, 5, 15)])
def test_few_images_are_decided_wrongly_by_the_common_threshold(counts):
    random = np.random.default_rng(2)
    wrong, below = [], []
    for _ in range(1500):
        truth, probabilities = draw(random, counts)
        order = random.permutation(len(truth))  # validation and test images are exchangeable
        fit, one = order[:-1], order[-1]
        least = common_threshold(truth[fit], probabilities[fit])
        likely = np.flatnonzero(probabilities[one] >= least)
        wrong.append(len(likely) == 1 and likely[0] != truth[one])
        below.append(probabilities[one, truth[one]] < least)
    assert np.mean(wrong) <= np.mean(below) < 0.05 + 0.012
    assert np.mean(below) > 0.05 - 1 / sum(counts) - 0.012
    assert common_threshold(truth[:18], probabilities[:18]) == 0
