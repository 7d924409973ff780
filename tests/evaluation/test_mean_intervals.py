"""The interval of a mean against the studentised bootstrap and Student's t as scipy has them."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit, logit

from kerascxr.evaluation.mean_intervals import mean_interval

IMAGES = 30


def skewed(distance):
    """Values of 30 images: a few are much larger (distances) or smaller (Dice) than the others."""
    values = stats.lognorm.ppf((np.arange(IMAGES) + 0.5) / IMAGES, 1.2)
    return values if distance else np.exp(-values / 12)


def student(values, distance):
    """The mean, its standard error and 95 % quantile; all but the quantile on the scale used."""
    mean, error = values.mean(), stats.sem(values)
    t = stats.t.ppf(0.975, len(values) - 1)
    if distance:
        return np.log(mean), error / mean, t
    return logit(mean), error / (mean * (1 - mean)), t


@pytest.mark.parametrize("distance", [False, True])
def test_where_resamples_do_not_differ_the_interval_is_students(distance):
    values, back = skewed(distance), np.exp if distance else expit
    counts = np.ones((IMAGES, 5))
    centre, error, t = student(values, distance)
    found = mean_interval(values, np.ones(IMAGES), counts, distance)
    assert found == pytest.approx((back(centre - t * error), back(centre + t * error)))


@pytest.mark.parametrize("distance", [False, True])
def test_each_end_is_the_wider_of_the_studentised_bootstrap_and_students(distance):
    values, back = skewed(distance), np.exp if distance else expit
    drawn = np.random.default_rng(0).integers(0, IMAGES, (400, IMAGES))
    counts = np.stack([np.bincount(images, minlength=IMAGES) for images in drawn], axis=1)
    centre, error, t = student(values, distance)
    resampled = [student(values[images], distance)[:2] for images in drawn]
    low, high = np.quantile(
        [(mean - centre) / spread for mean, spread in resampled], [0.025, 0.975]
    )
    # One end is the bootstrap's and the other Student's, so that both are tested.
    assert (high > t) != (-low > t)
    expected = back(centre - max(high, t) * error), back(centre + max(-low, t) * error)
    assert mean_interval(values, np.ones(IMAGES), counts, distance) == pytest.approx(expected)
