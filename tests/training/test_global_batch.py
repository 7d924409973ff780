"""Layers on a share of a batch compute what they do on the whole batch."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from kerascxr.models.layers import (
    FusedBatchNormalization,
    StochasticDepth,
    SwitchableBatchNormalization,
)
from kerascxr.training.global_batch import check_layers, on_global_batch

IMAGES = np.random.default_rng(0).normal(3, 2, (6, 4, 5, 3)).astype(np.float32)


def built(layer):
    inputs = keras.Input(IMAGES.shape[1:])
    return keras.Model(inputs, layer(inputs))


def on_rows(model, begin, end, total=6):
    """What a model gives for some rows of a batch; there are no other workers to sum with."""
    with on_global_batch(model, tf.constant(begin), tf.constant(total)):
        return np.asarray(model(IMAGES[begin:end], training=True))


@pytest.mark.parametrize(
    "make",
    [
        lambda: FusedBatchNormalization(momentum=0.9),
        lambda: SwitchableBatchNormalization(momentum=0.9, update_statistics=True),
        lambda: layers.BatchNormalization(center=False, scale=False),
    ],
)
def test_batchnorm_of_the_global_batch_is_that_of_keras(make):
    ours, plain = built(make()), built(make())
    expected = np.asarray(plain(IMAGES, training=True))
    np.testing.assert_allclose(on_rows(ours, 0, 6), expected, rtol=0, atol=2e-6)
    for got, wanted in zip(ours.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=2e-6)
    # The layers are as before.
    np.testing.assert_array_equal(ours(IMAGES, training=False), ours.predict(IMAGES, verbose=0))
    assert "call" not in vars(ours.layers[1])


def test_statistics_count_the_images_of_all_workers():
    # Half of the sum belongs to another worker, whose images are 0 here.
    model = built(FusedBatchNormalization(momentum=0.0))
    on_rows(model, 0, 6, total=12)
    padded = np.concatenate([IMAGES, np.zeros_like(IMAGES)]).mean((0, 1, 2))
    np.testing.assert_allclose(model.get_weights()[2], padded, rtol=1e-5)


@pytest.mark.parametrize(
    "make",
    [
        lambda: SwitchableBatchNormalization(update_statistics=False),
        lambda: SwitchableBatchNormalization(update_statistics=True, trainable=False),
        lambda: FusedBatchNormalization(trainable=False),
    ],
)
def test_fixed_statistics_stay_fixed(make):
    model = built(make())
    before = model.get_weights()
    expected = model(IMAGES, training=False)
    np.testing.assert_array_equal(on_rows(model, 2, 5), expected[2:5])
    for got, wanted in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.Dropout(0.5, seed=3),
        lambda: layers.SpatialDropout2D(0.5, seed=3),
        lambda: StochasticDepth(0.5, noise_shape=(None, 1, 1, 1), seed=3),
    ],
)
def test_workers_take_their_rows_of_the_mask(make):
    whole = built(make())
    for _ in range(2):  # the second mask is another one
        expected = np.asarray(whole(IMAGES, training=True))
    assert (expected == 0).any() and (expected != 0).any()
    for begin, end in ((0, 2), (2, 2), (2, 6)):
        model = built(make())
        for _ in range(2):
            got = on_rows(model, begin, end)
        np.testing.assert_array_equal(got, expected[begin:end])


def test_frozen_stochastic_depth_drops_nothing():
    model = built(StochasticDepth(0.5, noise_shape=(None, 1, 1, 1), seed=3, trainable=False))
    np.testing.assert_array_equal(on_rows(model, 1, 4), IMAGES[1:4])


def test_other_random_layers_are_refused():
    check_layers(built(layers.Dropout(0.5)))
    model = built(layers.GaussianNoise(0.5, name="grain"))
    with pytest.raises(ValueError, match=r"random layers are dropout.*Got layers=grain\."):
        check_layers(model)
    with pytest.raises(ValueError, match="no renorm"):
        check_layers(built(layers.BatchNormalization(renorm=True)))
