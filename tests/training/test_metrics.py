"""Dice while training against the definition, pixel by pixel in NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kerascxr.training.metrics import Dice, dice_per_image

masks = arrays(np.uint8, (5, 3, 4, 1), elements=st.integers(0, 1))
# TensorFlow flushes subnormal numbers to 0, which is on the other side of the threshold.
logits_of_images = arrays(
    np.float32, (5, 3, 4, 1), elements=st.floats(-9, 9, width=32, allow_subnormal=False)
)


def dice(a, b):
    a, b = set(np.flatnonzero(a)), set(np.flatnonzero(b))
    return 2 * len(a & b) / (len(a) + len(b)) if a or b else 1.0


@settings(max_examples=25)
@given(masks, logits_of_images)
def test_dice_agrees_with_the_definition_however_batches_fall(mask, logits):
    metric = Dice()
    for part in (slice(0, 4), slice(4, 5)):  # an uneven last batch must not weigh more
        metric.update_state(mask[part], logits[part])
    found = logits >= 0
    expected = np.mean([dice(a, b) for a, b in zip(found, mask, strict=True)])
    np.testing.assert_allclose(metric.result(), expected, rtol=1e-6)


def test_by_hand():
    mask = np.array([[1, 1, 0, 0], [1, 0, 0, 0]], "float32").reshape(2, 1, 4, 1)
    logits = np.array([[5, -5, 5, -5], [5, -5, -5, -5]], "float32").reshape(2, 1, 4, 1)
    np.testing.assert_allclose(dice_per_image(mask, logits), [0.5, 1.0])
    metric = Dice()
    metric.update_state(mask, logits)
    assert float(metric.result()) == pytest.approx(0.75)
    metric.reset_state()
    metric.update_state(mask[1:], logits[1:])
    assert float(metric.result()) == pytest.approx(1.0)


def test_empty_masks():
    empty = np.zeros((1, 4, 4, 1), "float32")
    metric = Dice()
    metric.update_state(empty, empty - 5)
    assert metric.result() == 1.0
    metric.reset_state()
    metric.update_state(empty, empty + 5)
    assert metric.result() == 0.0


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.9])
def test_threshold_is_a_probability(threshold):
    cut = np.log(threshold / (1 - threshold))
    mask = np.ones((1, 1, 2, 1), "float32")
    logits = np.array([cut - 0.01, cut + 0.01], "float32").reshape(1, 1, 2, 1)
    np.testing.assert_allclose(dice_per_image(mask, logits, threshold), [2 / 3])


def test_a_pixel_at_the_threshold_is_lung():
    ones = np.ones((1, 2, 2, 1), "float32")
    assert dice_per_image(ones, 0 * ones) == 1.0


def test_half_precision_does_not_overflow():
    ones = tf.ones((2, 256, 256, 1), "float16")
    metric = Dice()
    metric.update_state(ones, ones)
    assert metric.result().dtype == "float32"
    assert metric.result() == 1.0


def test_sample_weights():
    mask = np.ones((2, 1, 2, 1), "float32")
    logits = np.array([[1, 1], [-1, -1]], "float32").reshape(2, 1, 2, 1)
    metric = Dice()
    metric.update_state(mask, logits, sample_weight=np.array([1.0, 0.0]))
    assert metric.result() == 1.0


def test_in_fit_and_after_loading(tmp_path):
    model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Conv2D(1, 1)])
    model.compile("sgd", "mse", metrics=[Dice(0.4)])
    x = np.ones((4, 4, 4, 1), "float32")
    assert "dice" in model.fit(x, x, verbose=0).history
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.evaluate(x, x, verbose=0) == model.evaluate(x, x, verbose=0)
    again = keras.metrics.deserialize(keras.metrics.serialize(Dice(0.4, name="mine")))
    assert again.get_config() == {"name": "mine", "threshold": 0.4}


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_threshold_is_checked(threshold):
    with pytest.raises(ValueError, match=f"between 0 and 1. Got threshold={threshold}"):
        Dice(threshold)
