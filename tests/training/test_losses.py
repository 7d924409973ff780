"""Losses against numbers worked out by hand, and the cases that break naive ones."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kerascxr.training.losses import (
    LOSSES,
    BCEDice,
    FocalTversky,
    cross_entropy,
    soft_dice_loss,
    tversky_index,
)

SURE = 30.0  # a logit whose probability is 1 in float32

masks = arrays(np.uint8, (2, 3, 4, 1), elements=st.integers(0, 1))
logits_of_any_size = arrays(np.float32, (2, 3, 4, 1), elements=st.floats(-1e4, 1e4, width=32))


def one_image(*pixels):
    return np.array(pixels, "float32").reshape(1, 1, -1, 1)


# Probabilities 3/4, 1/4, 3/4, 1/4 against 1, 1, 0, 0.
HALF_RIGHT = one_image(1, 1, 0, 0), np.log(3.0) * one_image(1, -1, 1, -1)


def test_cross_entropy_by_hand():
    expected = (2 * -np.log(0.75) + 2 * -np.log(0.25)) / 4
    np.testing.assert_allclose(cross_entropy(*HALF_RIGHT), [expected], rtol=1e-6)


def test_soft_dice_by_hand():
    # overlap 3/4 + 1/4 = 1, sizes 2 + 2: 1 - (2 + 1) / (4 + 1)
    np.testing.assert_allclose(soft_dice_loss(*HALF_RIGHT), [0.4], rtol=1e-6)
    np.testing.assert_allclose(soft_dice_loss(*HALF_RIGHT, smooth=3.0), [2 / 7], rtol=1e-6)


def test_tversky_by_hand():
    # TP 1, FN 1, FP 1 with unequal shares: make FN 1/4 + 3/4, FP 1/4.
    mask, logits = one_image(1, 1, 0), np.log(3.0) * one_image(1, -1, -1)
    expected = (1 + 1) / (1 + 0.7 * 1 + 0.3 * 0.25 + 1)
    np.testing.assert_allclose(tversky_index(mask, logits), [expected], rtol=1e-6)
    loss = FocalTversky()(mask, logits)
    np.testing.assert_allclose(loss, (1 - expected) ** 0.75, rtol=1e-6)


def test_weights_and_mean_over_images():
    mask = np.concatenate([HALF_RIGHT[0], one_image(1, 0, 0, 0)])
    logits = np.concatenate([HALF_RIGHT[1], SURE * one_image(1, -1, -1, -1)])
    bce = (2 * -np.log(0.75) + 2 * -np.log(0.25)) / 4
    expected = np.mean([2.0 * bce + 0.5 * 0.4, 0.0])
    np.testing.assert_allclose(BCEDice(2.0, 0.5)(mask, logits), expected, rtol=1e-5)


@settings(max_examples=25)
@given(masks, logits_of_any_size)
def test_losses_are_finite_and_in_range(mask, logits):
    dice = soft_dice_loss(mask, logits).numpy()
    index = tversky_index(mask, logits).numpy()
    assert ((dice >= -1e-6) & (dice <= 1)).all()
    assert ((index >= 0) & (index <= 1 + 1e-6)).all()
    assert (cross_entropy(mask, logits).numpy() >= 0).all()
    for build in LOSSES.values():
        z = tf.constant(logits)
        with tf.GradientTape() as tape:
            tape.watch(z)
            value = build()(mask, z)
        assert np.isfinite(value)
        assert np.isfinite(tape.gradient(value, z)).all()


@settings(max_examples=25)
@given(masks)
def test_sure_and_right_costs_nothing(mask):
    logits = SURE * (2.0 * mask - 1.0)
    np.testing.assert_allclose(BCEDice()(mask, logits), 0.0, atol=1e-6)
    # The focal loss keeps its small floor.
    np.testing.assert_allclose(FocalTversky()(mask, logits), 0.0, atol=1e-4)


@settings(max_examples=25)
@given(masks, arrays(np.float32, (2, 3, 4, 1), elements=st.floats(-8, 8, width=32)))
def test_tversky_at_half_is_dice(mask, logits):
    # (TP + s) / (TP + FN/2 + FP/2 + s) is Dice with twice the smoothing.
    index = tversky_index(mask, logits, false_negative_weight=0.5, smooth=0.5)
    np.testing.assert_allclose(1 - index, soft_dice_loss(mask, logits, smooth=1.0), atol=1e-5)


def test_empty_mask():
    empty = np.zeros((1, 8, 8, 1), "float32")
    assert float(soft_dice_loss(empty, empty - SURE)[0]) == pytest.approx(0.0, abs=1e-6)
    assert float(soft_dice_loss(empty, empty + SURE)[0]) == pytest.approx(64 / 65)
    assert float(tversky_index(empty, empty - SURE)[0]) == pytest.approx(1.0)


def test_misses_cost_more_than_false_alarms():
    mask = one_image(1, 1, 0, 0)
    miss, alarm = SURE * one_image(1, -1, -1, -1), SURE * one_image(1, 1, 1, -1)
    assert FocalTversky(0.7)(mask, miss) > FocalTversky(0.7)(mask, alarm)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_large_mask_does_not_overflow_in_half_precision(dtype):
    ones = tf.ones((1, 256, 256, 1), dtype)
    for build in LOSSES.values():
        value = build()(ones, ones * 20)
        assert value.dtype == "float32"
        assert float(value) == pytest.approx(0.0, abs=1e-3)
    assert float(soft_dice_loss(ones, -ones * 20)[0]) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize(
    "loss", [BCEDice(0.3, 0.7, 2.0, name="mine"), FocalTversky(0.6, 1.5, 2.0, name="mine")]
)
def test_config_round_trip(loss):
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(again) is type(loss)
    assert again.get_config() == loss.get_config()
    assert again(*HALF_RIGHT) == loss(*HALF_RIGHT)


@pytest.mark.parametrize(
    ("build", "arguments", "got"),
    [
        (BCEDice, {"bce_weight": -1.0}, "bce_weight=-1.0"),
        (BCEDice, {"bce_weight": 0, "dice_weight": 0}, "bce_weight=0, dice_weight=0"),
        (BCEDice, {"smooth": 0.0}, "smooth=0.0"),
        (FocalTversky, {"false_negative_weight": 1.1}, "false_negative_weight=1.1"),
        (FocalTversky, {"gamma": 0.5}, "gamma=0.5"),
        (FocalTversky, {"smooth": -1.0}, "smooth=-1.0"),
    ],
)
def test_arguments_are_checked(build, arguments, got):
    with pytest.raises(ValueError, match=f"must be .* Got {got}"):
        build(**arguments)
