"""Input checks warn of unusual images and not of X-rays."""

import numpy as np
import pytest
import tensorflow as tf

from kerascxr.data.pipeline import Images
from kerascxr.serving import input_checks
from kerascxr.serving.input_checks import OODDetector

RANDOM = np.random.default_rng(0)
MIXING = RANDOM.normal(0, 1, (5, 30))


def features(n, shift=0.0):
    """Features of 30 channels that vary in 5 directions, with a little noise."""
    return (RANDOM.normal(0, 3, (n, 5)) @ MIXING + RANDOM.normal(shift, 0.1, (n, 30))).astype("f4")


@pytest.fixture(scope="module")
def ood_detector():
    return OODDetector.fit(features(400), features(300))


def test_its_limit_is_the_quantile_of_the_validation_images():
    training, validation = features(400), features(300)
    found = OODDetector.fit(training, validation)
    far = found.distance(tf.constant(validation)).numpy() > found.limit
    assert 1 - far.mean() == pytest.approx(input_checks.QUANTILE, abs=0.01)
    fresh = found.distance(tf.constant(features(2000))).numpy()
    assert (fresh > found.limit).mean() < 0.04
    assert 0.5 < np.median(fresh) < 1.5


def test_it_is_mahalanobis_distance_of_the_model():
    found = OODDetector.fit(features(400), features(300))
    one = features(1, shift=0.2)
    covariance = found.components.T @ np.diag(found.variances - found.noise) @ found.components
    covariance += found.noise * np.eye(30)
    away = (one - found.mean)[0].astype(np.float64)
    expected = np.sqrt(away @ np.linalg.inv(covariance) @ away / 30)
    assert found.distance(tf.constant(one)).numpy()[0] == pytest.approx(expected, rel=1e-3)


def test_it_sees_a_direction_in_which_nothing_varied(ood_detector):
    shifted = ood_detector.distance(tf.constant(features(100, shift=1.0))).numpy()
    assert (shifted > ood_detector.limit).all()


def bright_above(grey, n=1):
    """X-rays of a kind: brighter above than below, uint8 (n, 40, 40, 1)."""
    slope = np.linspace(40, -40, 40)[:, None, None]
    levels = np.full((n, 1, 1, 1), grey) + RANDOM.normal(0, 5, (n, 1, 1, 1))
    return np.clip(levels + slope + RANDOM.normal(0, 5, (n, 40, 40, 1)), 0, 255).astype(np.uint8)


def pool(images):
    """Features: the mean grey of four bands each way."""
    bands = tf.reshape(images, (-1, 4, 10, 4, 10))
    rows, columns = tf.reduce_mean(bands, (2, 3, 4)), tf.reduce_mean(bands, (1, 2, 4))
    return tf.concat([rows, columns], axis=1) / 255


@pytest.fixture(scope="module")
def fitted():
    def images(n):
        pixels = bright_above(80, n)
        names = tuple(map(str, range(n)))
        return Images(pixels, None, names, names, np.zeros(n, np.int64), ("a",))

    return input_checks.InputChecks.fit(pool, images(200), images(100))


def warnings_of(fitted, images, sizes=None):
    images = tf.constant(images, tf.float32)
    told = fitted.warnings(images, pool(images), sizes)
    return [text.decode() for text in told.numpy()]


def test_each_kind_is_told(fitted):
    image = bright_above(80)
    images = np.concatenate([image, np.full_like(image, 80), bright_above(20), image])
    sizes = tf.constant([[400, 400], [400, 400], [400, 400], [100, 400]])
    first, flat, dark, strip = warnings_of(fitted, images, sizes)
    assert (first, strip) == ("", input_checks.ASPECT)
    assert flat.startswith(input_checks.CONSTANT)
    assert dark.startswith(input_checks.FAR)
    assert warnings_of(fitted, image) == [""]


@pytest.mark.parametrize(
    "way, turn",
    [
        (input_checks.INVERTED, lambda pixels: 255 - pixels),
        (input_checks.UPSIDE_DOWN, lambda pixels: pixels[:, ::-1]),
        (input_checks.ON_ITS_SIDE, lambda pixels: np.rot90(pixels, 1, axes=(1, 2))),
        (input_checks.ON_ITS_SIDE, lambda pixels: np.rot90(pixels, 3, axes=(1, 2))),
    ],
)
def test_inverted_and_turned_images_are_told_and_upright_ones_left_alone(fitted, way, turn):
    fresh = bright_above(80, 200)
    told = warnings_of(fitted, turn(fresh))
    assert np.mean([way in text for text in told]) > 0.95
    assert np.mean([bool(text) for text in warnings_of(fitted, fresh)]) < 0.06


def test_too_few_images_are_refused():
    with pytest.raises(ValueError, match="at least 16 training images"):
        OODDetector.fit(features(5), features(5))


def test_the_orientation_classifier_never_warns_below_even_odds():
    random = np.random.default_rng(0)
    kinds = {"": 0.0, "turned": 5.0, "inverted": 10.0}
    features = {name: random.normal(mean, 1, (40, 4)) for name, mean in kinds.items()}
    found = input_checks.OrientationClassifier.fit(
        features, features[""] - 3, ("turned", "inverted")
    )
    assert found.limit == 0.0
    given = tf.constant([[-3.0] * 4, [5.0] * 4], tf.float32)
    assert found.predict(given).numpy().tolist() == [b"", b"turned"]
