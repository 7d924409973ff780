"""Input checks warn of unusual images and not of X-rays."""

import numpy as np
import pytest
import tensorflow as tf

from kerascxr.models import input_checks
from kerascxr.models.ood_detector import OODDetector

RANDOM = np.random.default_rng(0)


def bright_above(grey, n=1):
    """X-rays of a kind: brighter above than below, uint8 (n, 40, 40, 1)."""
    slope = np.linspace(40, -40, 40)[:, None, None]
    levels = np.full((n, 1, 1, 1), grey) + RANDOM.normal(0, 5, (n, 1, 1, 1))
    return np.clip(levels + slope + RANDOM.normal(0, 5, (n, 40, 40, 1)), 0, 255).astype(np.uint8)


def pool(images):
    """Statistics: the mean grey of four bands each way."""
    bands = tf.reshape(images, (-1, 4, 10, 4, 10))
    rows, columns = tf.reduce_mean(bands, (2, 3, 4)), tf.reduce_mean(bands, (1, 2, 4))
    return tf.concat([rows, columns], axis=1) / 255


@pytest.fixture(scope="module")
def fitted():
    def statistics(pixels):
        return pool(tf.constant(pixels, tf.float32)).numpy()

    pixels = bright_above(80, 200)
    as_is, held_out = statistics(pixels), statistics(bright_above(80, 100))
    altered = statistics(np.clip(pixels * 0.5, 0, 255).astype(np.uint8))
    turned = {
        name: statistics(copies) for name, copies in input_checks.turned_copies(pixels).items()
    }
    return input_checks.InputChecks(
        OODDetector.fit(as_is, altered, held_out, (8,)),
        input_checks.OrientationClassifier.fit({"": as_is} | turned, held_out, tuple(turned)),
    )


def warnings_of(fitted, images, sizes=None):
    images = tf.constant(images, tf.float32)
    statistics = pool(images)
    scores = fitted.ood_detector.score(statistics)
    told = fitted.warnings(images, statistics, scores, sizes)
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
    assert np.mean([bool(text) for text in warnings_of(fitted, fresh)]) < 0.12


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


def test_where_the_warnings_begin_that_need_no_training_images():
    def warning(height, width, deviation):
        image = np.full((1, 10, 10, 1), 100, np.float32)
        image[:, ::2] += deviation
        image[:, 1::2] -= deviation
        sizes = tf.constant([[height, width]])
        return input_checks.unfitted_warnings(tf.constant(image), sizes).numpy()[0].decode()

    plain, shape = input_checks.CONSTANT, input_checks.ASPECT
    for size, expected in (
        ((100, 60), ""),
        ((100, 59), shape),
        ((100, 170), ""),
        ((100, 171), shape),
    ):
        assert warning(*size, 50) == expected
    assert [warning(100, 100, deviation) for deviation in (0, 7.9, 8)] == [plain, plain, ""]
    assert warning(100, 300, 0) == f"{plain}; {shape}"


def test_a_constant_image_gets_no_warning_about_its_orientation(fitted):
    names = fitted.orientation_classifier.names
    assert fitted.kinds == (
        *(input_checks.CONSTANT, input_checks.FAR),
        *(input_checks.INVERTED, input_checks.UPSIDE_DOWN, input_checks.ON_ITS_SIDE),
        input_checks.ASPECT,
    )
    flat = np.full((1, 40, 40, 1), 180, np.float32)
    assert fitted.orientation_classifier.predict(pool(tf.constant(flat))).numpy()[0]
    (text,) = warnings_of(fitted, flat)
    assert text.split("; ")[0] == input_checks.CONSTANT
    assert not set(text.split("; ")) & set(names)


def test_without_an_orientation_classifier_orientation_is_not_checked(fitted):
    found = input_checks.InputChecks(fitted.ood_detector, None)
    assert found.kinds == (input_checks.CONSTANT, input_checks.FAR, input_checks.ASPECT)
    (text,) = warnings_of(found, 255 - bright_above(80))
    assert set(text.split("; ")) <= {input_checks.FAR, ""}


def test_the_orientation_with_the_best_odds_is_named_above_the_limit():
    weights = np.array([[0.0, 1, 0], [0, 0, 1]], np.float32)
    biases = np.array([0.5, 0, 0], np.float32)
    found = input_checks.OrientationClassifier(("one", "other"), weights, biases, limit=2.0)
    given = tf.constant([[2.5, 0], [2.6, 0], [2.6, 2.7], [0, 0]], tf.float32)
    assert found.predict(given).numpy().tolist() == [b"", b"one", b"other", b""]
