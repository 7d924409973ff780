"""The gate tells what is odd, and leaves X-rays alone."""

import numpy as np
import pytest
import tensorflow as tf

from kerascxr.serving import gate
from kerascxr.serving.gate import Neighbourhood, warn

RANDOM = np.random.default_rng(0)
MIXING = RANDOM.normal(0, 1, (5, 30))


def features(n, shift=0.0):
    """Features of 30 channels that vary in 5 directions, with a little noise."""
    return (RANDOM.normal(0, 3, (n, 5)) @ MIXING + RANDOM.normal(shift, 0.1, (n, 30))).astype("f4")


@pytest.fixture(scope="module")
def neighbourhood():
    return Neighbourhood.fit(features(400), features(300))


def test_its_limit_is_the_quantile_of_the_validation_images():
    training, validation = features(400), features(300)
    found = Neighbourhood.fit(training, validation)
    far = found.distance(tf.constant(validation)).numpy() > found.limit
    assert 1 - far.mean() == pytest.approx(gate.QUANTILE, abs=0.01)
    fresh = found.distance(tf.constant(features(2000))).numpy()
    assert (fresh > found.limit).mean() < 0.04
    assert 0.5 < np.median(fresh) < 1.5


def test_it_is_mahalanobis_distance_of_the_model():
    found = Neighbourhood.fit(features(400), features(300))
    one = features(1, shift=0.2)
    covariance = found.components.T @ np.diag(found.variances - found.noise) @ found.components
    covariance += found.noise * np.eye(30)
    away = (one - found.mean)[0].astype(np.float64)
    expected = np.sqrt(away @ np.linalg.inv(covariance) @ away / 30)
    assert found.distance(tf.constant(one)).numpy()[0] == pytest.approx(expected, rel=1e-3)


def test_it_sees_a_direction_in_which_nothing_varied(neighbourhood):
    shifted = neighbourhood.distance(tf.constant(features(100, shift=1.0))).numpy()
    assert (shifted > neighbourhood.limit).all()


def warnings_of(images, pool, neighbourhood, sizes=None):
    images = tf.constant(images, tf.float32)
    told = warn(images, pool(images), pool, neighbourhood, sizes)
    return [text.decode() for text in told.numpy()]


def test_each_kind_is_told():
    """Features here are the image's mean grey, thirty times: training images have about 80."""

    def pool(images):
        return tf.tile(tf.reduce_mean(images, axis=(1, 2)) / 255, [1, 30])

    def image(grey):
        return np.clip(RANDOM.normal(grey, 20, (40, 40, 1)), 0, 255)

    train, held = (
        pool(tf.constant(np.stack([image(RANDOM.normal(80, 5)) for _ in range(n)]), tf.float32))
        for n in (200, 100)
    )
    found = Neighbourhood.fit(train.numpy(), held.numpy())
    images = np.stack([image(80), np.full((40, 40, 1), 80.0), image(175), image(125), image(80)])
    sizes = tf.constant([[400, 400], [400, 400], [400, 400], [400, 400], [100, 400]])
    assert warnings_of(images, pool, found, sizes) == [
        "",
        gate.CONSTANT,
        f"{gate.FAR}; {gate.INVERTED}",
        gate.FAR,
        gate.ASPECT,
    ]
    assert warnings_of(images[4:], pool, found) == [""]


def test_too_few_images_are_refused():
    with pytest.raises(ValueError, match="at least 16 training images"):
        Neighbourhood.fit(features(5), features(5))
