"""Contracts that every backbone keeps."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerascxr.models.backbones import BACKBONES
from kerascxr.models.classifier import (
    backbone_of,
    build_classifier,
    fine_tune,
    pooled_features,
    split_at_depth,
    standardize_features,
)
from kerascxr.models.gradcam import GradCAM
from kerascxr.models.layers import (
    HEAD_PREFIX,
    FeatureStandardization,
    SwitchableBatchNormalization,
)

NAMES = ["efficientnetb0", "shufflenetv2_x0_5", "shufflenetv2_x1_0"]
# The two ShuffleNets have the same layers, of other widths.
one_per_family = pytest.mark.parametrize("model", NAMES[:2], indirect=True)
SIZE = (64, 64)  # at 32 the last map is one pixel, and some gradients vanish in the padding
MIXED_TOLERANCE = 0.05  # of the largest logit, float16 against float32

LEARNING = {
    "efficientnetb0": {1: ("top_",), 2: ("top_", "block7a_")},
    "shufflenetv2_x0_5": {1: ("conv5_",), 2: ("conv5_", "stage4_")},
    "shufflenetv2_x1_0": {1: ("conv5_",), 2: ("conv5_", "stage4_")},
}


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).uniform(0, 255, (4, *SIZE, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def built():
    """The classifiers built so far, by backbone."""
    return {}


@pytest.fixture(scope="module", params=NAMES)
def model(request, built):
    """One classifier a backbone; its statistics are those of some images, as a trained one's."""
    if request.param not in built:
        built[request.param] = build(request.param)
    return built[request.param]


def build(name):
    keras.utils.set_random_seed(0)
    model = build_classifier(name, 3, image_size=SIZE, dropout=0.0)
    rng = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, SwitchableBatchNormalization):
            gamma, beta, mean, variance = layer.get_weights()
            layer.set_weights([gamma, beta, mean + rng.normal(0, 0.1, mean.shape), variance * 1.1])
    return model


@pytest.fixture
def mixed_float16():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy(before)


def learns(model, layer, depth):
    """Whether the design says that a layer learns at a depth."""
    if depth == "all" or layer.name.startswith(HEAD_PREFIX):
        return True
    return depth != 0 and layer.name.startswith(LEARNING[model.name][depth])


def weights_by_name(model):
    return {
        f"{layer.name}/{weight.name}": weight.numpy()
        for layer in model.layers
        for weight in layer.weights
    }


def fit_one_step(model, images):
    """One step, its rate and decay so large that whatever can move does."""
    model.compile(
        keras.optimizers.AdamW(0.01, weight_decay=0.1),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        run_eagerly=True,  # tracing would take many times the step's own time
    )
    model.fit(images, np.arange(len(images)) % 3, batch_size=8, epochs=1, verbose=0)


@pytest.mark.parametrize("depth", [0, 1, 2, "all"])
@pytest.mark.parametrize("update_statistics", [True, False])
def test_what_learns_is_what_the_design_says(model, depth, update_statistics):
    fine_tune(model, depth, update_statistics)
    for layer in model.layers[1:]:  # all but the input
        assert layer.trainable == learns(model, layer, depth), layer.name
        if isinstance(layer, SwitchableBatchNormalization):
            assert layer.update_statistics == (layer.trainable and update_statistics), layer.name


@pytest.mark.parametrize(
    ("model", "depth", "update_statistics"),
    [
        ("efficientnetb0", 0, True),
        ("efficientnetb0", 2, False),
        ("efficientnetb0", "all", True),
        ("shufflenetv2_x0_5", 1, True),
    ],
    indirect=["model"],
)
def test_nothing_frozen_moves_and_all_else_does(model, images, depth, update_statistics):
    start = model.get_weights()
    fine_tune(model, depth, update_statistics)
    before = weights_by_name(model)
    fit_one_step(model, images)
    after = weights_by_name(model)
    for layer in model.layers:
        for weight in layer.weights:
            name = f"{layer.name}/{weight.name}"
            moves = learns(model, layer, depth)
            if weight.name.startswith("moving_"):
                moves = moves and update_statistics
            if isinstance(layer, FeatureStandardization):  # constants, measured beforehand
                moves = False
            assert np.array_equal(before[name], after[name]) != moves, name
    model.set_weights(start)


@one_per_family
def test_gradients_reach_everything(model, images):
    fine_tune(model, "all", update_statistics=True)
    start = model.get_weights()
    with tf.GradientTape() as tape:
        logits = model(images, training=True)
        loss = keras.losses.sparse_categorical_crossentropy(
            np.arange(len(images)) % 3, logits, from_logits=True
        )
    gradients = tape.gradient(loss, [weight.value for weight in model.trainable_weights])
    for weight, gradient in zip(model.trainable_weights, gradients, strict=True):
        assert gradient is not None and np.any(gradient), weight.path
    model.set_weights(start)


@one_per_family
@pytest.mark.parametrize("depth", [0, 2])
def test_frozen_layers_give_in_training_what_they_give_otherwise(model, images, depth):
    fine_tune(model, depth, update_statistics=True)
    frozen, _ = split_at_depth(model, depth)
    assert np.array_equal(frozen(images, training=True), frozen(images, training=False))


@one_per_family
def test_statistics_are_not_used_or_updated_without_update_statistics(model, images):
    fine_tune(model, "all", update_statistics=False)
    noisy = model.name == "efficientnetb0"  # unfrozen, its stochastic depth works
    same = np.array_equal(model(images, training=True), model(images, training=False))
    assert same != noisy


@one_per_family
def test_the_head_standardises_by_the_features_it_is_shown(model):
    start = model.get_weights()
    channels = model.get_layer("head_pool").output.shape[-1]
    pooled = np.random.default_rng(2).normal(5, 3, (50, channels)).astype(np.float32)
    standardize_features(model, pooled)
    standardised = np.array(model.get_layer("head_standardization")(pooled))
    model.set_weights(start)
    np.testing.assert_allclose(standardised.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(standardised.std(axis=0), 1, atol=1e-4)


@pytest.mark.parametrize(
    ("model", "depth"),
    [("efficientnetb0", 0), ("efficientnetb0", 1), ("efficientnetb0", 2), ("shufflenetv2_x0_5", 1)],
    indirect=["model"],
)
def test_pooled_features_are_those_of_the_first_training_step(model, images, depth):
    """A BatchNorm that goes by the batch in training goes by the batch here, and nothing moves."""
    start = model.get_weights()
    fine_tune(model, depth, update_statistics=True)
    frozen, _ = split_at_depth(model, depth)
    pool = keras.Model(model.input, model.get_layer("head_pool").output)
    inputs = np.array(frozen(images))
    features = pooled_features(model, depth, inputs)
    for before, after in zip(start, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    settled = np.array(pool(images))
    assert features.shape == settled.shape
    assert np.allclose(features, settled, rtol=1e-3) == (depth == 0)
    if depth == 1:  # deeper, stochastic depth is at work
        np.testing.assert_allclose(features, pool(images, training=True), rtol=1e-3, atol=1e-5)
        model.set_weights(start)


@one_per_family
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_the_two_parts_are_the_whole(model, images, depth):
    frozen, rest = split_at_depth(model, depth)
    np.testing.assert_allclose(rest(frozen(images)), model(images), rtol=1e-6, atol=1e-6)
    fine_tune(model, depth)
    assert frozen.trainable_weights == []
    assert {id(weight) for weight in rest.trainable_weights} == {
        id(weight) for weight in model.trainable_weights
    }
    assert len(frozen.output.shape) == (2 if depth == 0 else 4)


@pytest.mark.parametrize("model", NAMES[1:2], indirect=True)
def test_the_rest_shares_what_it_learns(model, images):
    start = model.get_weights()
    fine_tune(model, 1)
    frozen, rest = split_at_depth(model, 1)
    before = np.array(model(images))
    fit_one_step(rest, np.array(frozen(images)))
    after = np.array(model(images))
    assert not np.allclose(before, after)
    np.testing.assert_allclose(rest(frozen(images)), after, rtol=1e-6, atol=1e-6)
    model.set_weights(start)


@pytest.mark.parametrize("model", NAMES[:1], indirect=True)
def test_a_saved_model_is_the_same_model(model, images, tmp_path):
    """The other family's layers are saved and loaded below, in mixed precision."""
    fine_tune(model, 2, update_statistics=True)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", compile=False)
    assert np.array_equal(again(images), model(images))
    for layer, copy in zip(model.layers[1:], again.layers[1:], strict=True):  # all but the input
        assert (layer.name, layer.trainable) == (copy.name, copy.trainable)
        if isinstance(layer, SwitchableBatchNormalization):
            assert layer.update_statistics == copy.update_statistics == layer.trainable
    assert backbone_of(again) is backbone_of(model)
    fine_tune(again, 1)
    assert sum(layer.trainable for layer in again.layers) < sum(
        layer.trainable for layer in model.layers
    )


@one_per_family
def test_logits_are_float32_under_mixed_precision(model, images, mixed_float16, tmp_path):
    images = images[:1]  # float16 is slow on a CPU
    half = build_classifier(model.name, 3, image_size=SIZE, dropout=0.0)
    half.set_weights(model.get_weights())
    logits = half(images)
    assert logits.dtype == tf.float32
    expected = np.array(model(images))
    error = np.abs(np.array(logits) - expected).max()
    assert 0 < error < MIXED_TOLERANCE * np.abs(expected).max()
    frozen, rest = split_at_depth(half, 1)
    assert frozen.output.dtype == "float16" and rest.output.dtype == "float32"
    if model.name == "efficientnetb0":
        return  # one backbone is trained and saved in it
    np.testing.assert_allclose(rest(frozen(images)), logits, atol=1e-3)
    fine_tune(half, 2, update_statistics=True)
    fit_one_step(half, images)
    assert all(np.all(np.isfinite(weight)) for weight in half.get_weights())
    half.save(tmp_path / "half.keras")
    again = keras.models.load_model(tmp_path / "half.keras", compile=False)
    assert np.array_equal(again(images), half(images))


@pytest.mark.parametrize("model", NAMES[:1], indirect=True)
def test_a_class_has_a_map_of_the_images_size(model, images):
    """Of a backbone of the other family, test_gradcam has more."""
    maps = GradCAM(model)(images[:2], np.array([0, 2]))
    assert maps.shape == (2, *SIZE)
    assert maps.min() >= 0 and maps.max() <= 1


def test_a_model_has_its_backbones_name(model):
    assert model.name in BACKBONES
    assert model.input.shape == (None, *SIZE, 3) and model.output.shape == (None, 3)


def test_every_backbone_is_tested():
    assert {backbone.name for backbone in BACKBONES.values()} == set(NAMES)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_classes": 1}, "n_classes must be at least 2. Got n_classes=1"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1. Got dropout=1.0"),
        ({"image_size": (16, 64)}, "image_size must be at least 32"),
        ({"backbone": "resnet"}, "unknown backbone 'resnet'"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        build_classifier(**{"backbone": "shufflenetv2_x0_5", "n_classes": 4} | arguments)


def test_unknown_depths_and_models_are_refused(model):
    with pytest.raises(ValueError, match=r"depth must be 0, 1, 2 or 'all'\. Got depth=3"):
        fine_tune(model, 3)
    with pytest.raises(ValueError, match="nothing is frozen"):
        split_at_depth(model, "all")
    stranger = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)], name="stranger")
    with pytest.raises(ValueError, match=r"must be a classifier.*Got model='stranger'"):
        fine_tune(stranger, 0)
