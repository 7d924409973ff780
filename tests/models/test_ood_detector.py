"""The out-of-distribution score: what it finds, and how often it is wrong."""

import math

import numpy as np
import pytest
import tensorflow as tf

from kerascxr.models.ood_detector import FALSE_ALARMS, OODDetector, limit_for

RANDOM = np.random.default_rng(0)
SIZES = (6, 8, 4)
MIXING = RANDOM.normal(0, 1, (5, 18))


def images(n, layer=None, shift=0.0):
    """Statistics of three layers that vary in five directions; one layer may be shifted."""
    found = RANDOM.normal(0, 1, (n, 5)) @ MIXING + RANDOM.normal(0, 0.3, (n, 18)) + 5
    if layer is not None:
        begin = sum(SIZES[:layer])
        found[:, begin : begin + SIZES[layer]] += shift
    return found.astype(np.float32)


@pytest.fixture(scope="module")
def detector():
    return OODDetector.fit(images(400), images(400, 0, 2.0), images(400), SIZES)


def share_over(detector, statistics):
    return float(np.mean(detector.score(tf.constant(statistics)).numpy() > detector.limit))


def test_few_images_like_the_training_images_are_over_the_limit(detector):
    assert share_over(detector, images(4000)) == pytest.approx(FALSE_ALARMS, abs=0.03)


def test_each_part_finds_what_the_other_does_not(detector):
    """The classifier was taught shifts of the first layer; the distance is of the second."""
    assert detector.begin == SIZES[0] and len(detector.mean) == SIZES[1]
    assert share_over(detector, images(200, 1, 6.0)) > 0.95
    assert share_over(detector, images(200, 0, 2.0)) > 0.95
    parts = detector._parts(tf.constant(images(200, 0, 2.0))).numpy()
    assert np.abs((parts - detector.centres) / detector.scales).mean(axis=0)[0] < 2


def test_the_score_is_the_larger_part_by_hand(detector):
    one = images(1, 1, 3.0)
    away = (one[0, 6:14] - detector.mean) / detector.deviation - detector.known
    nearest = np.sort(np.sqrt((away**2).sum(axis=1)))[:5]
    parts = np.array([math.log(nearest.mean()), one[0] @ detector.weights + detector.bias])
    expected = ((parts - detector.centres) / detector.scales).max()
    assert detector.score(tf.constant(one)).numpy()[0] == pytest.approx(expected, rel=1e-3)


def test_one_layer_is_enough():
    found = OODDetector.fit(images(50), images(50, 0, 4.0), images(50), (18,))
    assert found.begin == 0 and len(found.mean) == 18
    assert share_over(found, images(100, 2, 30.0)) == 1


def test_a_channel_that_never_varied_does_not_enlarge_rounding_errors():
    still = images(100)
    still[:, 7] = 3.0
    found = OODDetector.fit(still[:50], images(50, 0, 4.0), still[50:], SIZES)
    assert share_over(found, still[50:] * np.float32(1 + 1e-5)) < 0.1


def test_the_limit_is_exceeded_with_the_stated_probability_at_most():
    over = [RANDOM.normal() > limit_for(RANDOM.normal(size=40)) for _ in range(4000)]
    assert np.mean(over) < FALSE_ALARMS + 0.01
    assert np.mean(over) > FALSE_ALARMS - 1 / 41 - 0.01
    assert limit_for(np.array([3.0, 1.0])) == 3.0  # too few images for a guarantee
