"""Grad-CAM against a case that can be worked out by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerascxr.models.classifier import build_classifier
from kerascxr.models.gradcam import GradCAM

SIZE = (64, 96)


class ByHand:
    """A 'backbone' whose maps are the image's channels, a head with known weights."""

    def __init__(self):
        image = keras.Input((4, 6, 3))
        maps = keras.layers.Activation("linear", name="maps")(image)
        pooled = keras.layers.GlobalAveragePooling2D(name="head_pool")(maps)
        logits = keras.layers.Dense(2, use_bias=False, name="head_logits")
        self.model = keras.Model(image, logits(pooled))
        self.weights = np.array([[1.0, -2.0], [0.5, 1.0], [-1.0, 0.0]], np.float32)
        logits.set_weights([self.weights])


@pytest.mark.parametrize("kind", [0, 1])
def test_it_is_the_weighted_sum_of_the_maps(kind):
    by_hand = ByHand()
    images = np.random.default_rng(kind).uniform(0, 255, (2, 4, 6, 3)).astype(np.float32)
    # y = sum_k w_k mean(A_k), so dy/dA_k is w_k / 24 everywhere, and alpha_k too.
    evidence = np.maximum(0, images @ (by_hand.weights[:, kind] / 24))
    expected = evidence / evidence.max(axis=(1, 2), keepdims=True)
    given = GradCAM(by_hand.model)(images, np.array([kind, kind]))
    np.testing.assert_allclose(given, expected, atol=1e-5)


def test_without_evidence_it_is_zero():
    by_hand = ByHand()
    images = np.zeros((1, 4, 6, 3), np.float32)
    images[..., 2] = 100  # speaks against class 0 alone
    assert not GradCAM(by_hand.model)(images, np.array([0])).any()


@pytest.fixture(scope="module")
def model():
    """A classifier of oblong images whose dropout would change its maps."""
    keras.utils.set_random_seed(1)
    return build_classifier("shufflenetv2_x0_5", 3, image_size=SIZE, dropout=0.5)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).uniform(0, 255, (4, *SIZE, 3)).astype(np.float32)


def test_a_map_has_the_images_size_and_dropout_and_the_rest_of_the_batch_do_not_change_it(
    model, images
):
    camera = GradCAM(model)
    maps = camera(images, np.array([0, 1, 2, 0]))
    assert maps.shape == (4, *SIZE)
    assert maps.min() >= 0 and maps.max() <= 1 and maps.any()
    np.testing.assert_array_equal(camera(images, np.array([0, 1, 2, 0])), maps)
    np.testing.assert_allclose(camera(images[:1], np.array([0])), maps[:1], atol=1e-5)


def test_maps_of_a_coarser_grid_are_interpolated_to_the_images_size():
    image = keras.Input((4, 8, 3))
    maps = keras.layers.AveragePooling2D(2, name="maps")(image)
    pooled = keras.layers.GlobalAveragePooling2D(name="head_pool")(maps)
    logits = keras.layers.Dense(2, use_bias=False, name="head_logits")
    model = keras.Model(image, logits(pooled))
    logits.set_weights([ByHand().weights])
    images = np.zeros((1, 4, 8, 3), np.float32)
    images[0, :2, :2, 0] = 200  # one of 2x4 places has evidence for class 0
    images[0, 2:, :2, 0] = 50
    given = GradCAM(model)(images, np.array([0]))[0]
    # Half-pixel centres: rows of the image are at -0.25, 0.25, 0.75 and 1.25 of the maps' rows.
    columns = np.array([1, 0.75, 0.25, 0, 0, 0, 0, 0])
    rows = np.array([1, 0.8125, 0.4375, 0.25])
    np.testing.assert_allclose(given, rows[:, None] * columns, atol=1e-5)


def test_the_closed_form_gives_all_classes_maps(model, images):
    random = np.random.default_rng(0)
    pooled = random.normal(0.3, 0.1, (20, 1024)) * np.linspace(0.5, 3, 1024)
    model.get_layer("head_standardization").measure(pooled)
    camera = GradCAM(model)
    maps = camera.class_maps(keras.Model(model.input, camera.features)(images[:2]))
    assert maps.shape == (2, 3, SIZE[0] // 32, SIZE[1] // 32)
    assert np.ptp(maps) > 0.5
    for kind in range(3):
        whole = camera(images[:2], np.array([kind, kind]))
        resized = tf.image.resize(maps[:, kind, ..., None], SIZE)[..., 0]
        np.testing.assert_allclose(resized, whole, rtol=1e-4, atol=1e-5)


def test_the_closed_form_is_zero_without_evidence():
    by_hand = ByHand()
    images = np.zeros((1, 4, 6, 3), np.float32)
    images[..., 2] = 100
    maps = GradCAM(by_hand.model).class_maps(images)
    assert not np.any(maps[0, 0])
