"""The layers that stand still when frozen."""

import keras
import numpy as np
import pytest

from kerascxr.models.layers import (
    ChannelShuffle,
    ChannelSplit,
    FeatureStandardization,
    StochasticDepth,
    SwitchableBatchNormalization,
    image_input,
    imagenet_normalization,
    unit_scaling,
)


@pytest.fixture(scope="module")
def batch():
    return np.random.default_rng(0).normal(3, 2, (8, 4, 4, 6)).astype(np.float32)


@pytest.mark.parametrize(
    ("trainable", "update_statistics", "moves"),
    [(False, False, False), (False, True, False), (True, False, False), (True, True, True)],
)
def test_statistics_move_only_where_trainable_and_told_to(
    batch, trainable, update_statistics, moves
):
    layer = SwitchableBatchNormalization(update_statistics=update_statistics)
    layer.build(batch.shape)
    layer.trainable = trainable
    in_training = np.array(layer(batch, training=True))
    assert np.any(layer.moving_mean.numpy()) == moves
    assert np.any(layer.moving_variance.numpy() != 1) == moves
    # Normalised by the batch: its mean is 0. By the statistics 0 and 1: it stays 3.
    assert abs(in_training.mean() - (0 if moves else 3)) < 0.2
    assert [weight.name for weight in layer.trainable_weights] == ["gamma", "beta"] * trainable


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_in_half_precision_a_batch_is_normalised_as_in_float32(policy):
    batch = np.random.default_rng(1).normal(3, 2, (2, 2, 2, 6)).astype(np.float32)
    layers = [
        SwitchableBatchNormalization(update_statistics=True, momentum=0.9, dtype=dtype)
        for dtype in ("float32", policy)
    ]
    for layer in layers:
        layer.build(batch.shape)
        layer.gamma.assign([1, 2, 3, 1, 2, 3])
        layer.beta.assign([0, 0, 1, 1, 2, 2])
    expected, got = (np.array(layer(batch, training=True), np.float32) for layer in layers)
    np.testing.assert_allclose(got, expected, rtol=0.02, atol=0.05)
    # Of 8 values: the unbiased variance would be 14 % larger.
    for name in ("moving_mean", "moving_variance"):
        known, found = (np.array(getattr(layer, name)) for layer in layers)
        np.testing.assert_allclose(found, known, rtol=0.01)


def test_the_switch_is_saved():
    layer = SwitchableBatchNormalization(update_statistics=True, epsilon=1e-5)
    config = keras.saving.serialize_keras_object(layer)
    again = keras.saving.deserialize_keras_object(config)
    assert again.update_statistics and again.epsilon == 1e-5


def test_stochastic_depth_drops_whole_images_and_stops_when_frozen(batch):
    keras.utils.set_random_seed(0)
    layer = StochasticDepth(0.5, noise_shape=(None, 1, 1, 1))
    ratio = np.array(layer(batch, training=True)) / batch
    assert {round(float(part.min()), 4) for part in ratio} == {0.0, 2.0}
    assert np.allclose(ratio, ratio[:, :1, :1, :1])
    assert np.array_equal(layer(batch, training=False), batch)
    layer.trainable = False
    assert np.array_equal(layer(batch, training=True), batch)


def test_shuffle_is_concatenation_and_a_shuffle_of_two_groups():
    a = np.arange(2 * 2 * 3 * 4, dtype=np.float32).reshape(2, 2, 3, 4)
    b = a + 100
    joined = np.concatenate([a, b], axis=-1)
    by_definition = joined.reshape(2, 2, 3, 2, 4).swapaxes(3, 4).reshape(2, 2, 3, 8)
    assert np.array_equal(ChannelShuffle()([a, b]), by_definition)
    first, last = ChannelSplit()(joined)
    assert np.array_equal(first, a) and np.array_equal(last, b)


def test_standardisation_spares_features_that_hardly_vary():
    rng = np.random.default_rng(0)
    scales = np.array([1e-6, 1, 10, 100], np.float32)
    features = rng.normal(2, 1, (400, 4)).astype(np.float32) * scales
    layer = FeatureStandardization()
    assert np.array_equal(layer(features), features)  # until it has measured
    layer.measure(features)
    out = np.array(layer(features))
    np.testing.assert_allclose(out.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(out.std(axis=0)[2:], 1, atol=1e-4)
    assert out.std(axis=0)[0] < 1e-5 and layer.trainable_weights == []


def test_scaling_is_imagenets():
    images = np.random.default_rng(1).uniform(0, 255, (2, 5, 5, 3)).astype(np.float32)
    scaled = imagenet_normalization()(unit_scaling()(images))
    expected = (images / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(scaled, expected, atol=1e-5)


def test_small_images_are_refused():
    with pytest.raises(ValueError, match=r"image_size must be at least 32.*Got image_size=\(31"):
        image_input((31, 64))


def test_standardisation_constants_are_means_and_deviations_raised_to_a_tenth_of_their_mean():
    signs = np.array([[1], [-1]] * 50, np.float32)
    features = np.array([5, -3, 0], np.float32) + signs * np.array([0.01, 1, 1.99], np.float32)
    layer = FeatureStandardization()
    layer.build((None, 3))
    layer.measure(features)
    np.testing.assert_allclose(layer.mean, [5, -3, 0], atol=1e-5)
    np.testing.assert_allclose(layer.deviation, [0.1, 1, 1.99], rtol=1e-4)
    np.testing.assert_allclose(
        layer(np.array([[5.2, -5, 3.98]], np.float32)), [[2, -2, 2]], rtol=1e-4
    )
    layer.measure(np.full((4, 3), 7, np.float32))
    np.testing.assert_allclose(layer.deviation, 1e-6)


def test_scaling_and_input_are_float32_under_any_policy():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        layers = unit_scaling(), imagenet_normalization(), FeatureStandardization(dtype="float32")
        given = image_input((32, 48))
    finally:
        keras.config.set_dtype_policy("float32")
    for layer in layers:
        assert layer(np.full((1, 4, 4, 3), 90, np.float16)).dtype == "float32"
    assert (given.shape, given.dtype, given.name) == ((None, 32, 48, 3), "float32", "image")
    assert [layer.name for layer in layers[:2]] == ["rescaling", "normalization"]
    for size in ((32, 31), (31, 32)):
        with pytest.raises(ValueError, match="at least 32"):
            image_input(size)


def test_statistics_stand_still_outside_of_training_and_by_default(batch):
    for layer, training in (
        (SwitchableBatchNormalization(update_statistics=True), False),
        (SwitchableBatchNormalization(update_statistics=True), None),
        (SwitchableBatchNormalization(), True),
    ):
        layer.build(batch.shape)
        given = np.array(layer(batch, training=training))
        np.testing.assert_allclose(given, batch / np.sqrt(1 + layer.epsilon), rtol=1e-5)
        assert not layer.moving_mean.numpy().any()
