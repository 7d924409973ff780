"""Linear probes: the regression's definition, and the classifier that answers with both."""

import keras
import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from kerascxr.models.backbones import BACKBONES
from kerascxr.models.classifier import (
    build_classifier,
    cut_at_depth,
    head_logits,
    linear_probe_of,
    split_at_depth,
)
from kerascxr.models.gradcam import GradCAM
from kerascxr.models.layer_statistics import layer_statistics
from kerascxr.models.linear_probe import StatisticsRegression, add_linear_probe
from kerascxr.models.weights import load_weights

CLASSES = 3


def images_of(n, size=32, seed=0):
    return np.random.default_rng(seed).uniform(0, 255, (n, size, size, 3)).astype(np.float32)


@pytest.fixture(autouse=True)
def only_real_backbones():
    """Keeps the tiny backbone: a probe is the same layer behind any."""


@pytest.fixture(scope="module")
def plain():
    keras.utils.set_random_seed(0)
    return build_classifier("tiny", CLASSES, image_size=(32, 32))


@pytest.fixture(scope="module")
def regression(plain):
    size = layer_statistics(plain).output.shape[-1]
    random = np.random.default_rng(1)
    kernel, bias = random.normal(size=(size, CLASSES)), random.normal(size=CLASSES)
    return StatisticsRegression(kernel.astype(np.float32), bias.astype(np.float32))


@pytest.fixture(scope="module")
def probed(plain, regression):
    return add_linear_probe(plain, regression, (2.0, 0.5))


def expected_logits(plain, regression, images):
    statistics = keras.Model(plain.input, layer_statistics(plain).output)(images).numpy()
    probe = (statistics @ regression.kernel + regression.bias) / 0.5
    head = plain(images).numpy() / 2.0
    return (log_softmax(head, axis=1) + log_softmax(probe, axis=1)) / 2


def test_the_answer_is_the_mean_of_both_at_their_temperatures(plain, regression, probed):
    images = images_of(5)
    assert linear_probe_of(probed) is not None and linear_probe_of(plain) is None
    expected = expected_logits(plain, regression, images)
    np.testing.assert_allclose(probed(images).numpy(), expected, rtol=1e-4, atol=1e-4)
    assert not any("linear_probe" in weight.path for weight in probed.trainable_weights)


def test_it_is_saved_and_cut_with_the_model(plain, regression, probed, tmp_path):
    probed.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", compile=False)
    images = images_of(4, seed=2)
    expected = expected_logits(plain, regression, images)
    np.testing.assert_allclose(again(images).numpy(), expected, rtol=1e-4, atol=1e-4)
    tensors = [cut_at_depth(again, 2), layer_statistics(again).output]
    parts = keras.Model(again.input, tensors)(images)
    behind = keras.Model(tensors, again.output)
    np.testing.assert_allclose(behind(parts).numpy(), expected, rtol=1e-4, atol=1e-4)
    # Computed from the stages once more, they would not be those that are given.
    nothing = behind([parts[0], keras.ops.zeros_like(parts[1])]).numpy()
    assert np.abs(nothing - expected).max() > 0.1
    frozen, rest = split_at_depth(again, 1)
    np.testing.assert_allclose(rest(frozen(images)), plain(images), rtol=1e-4, atol=1e-5)
    assert layer_statistics(again).sizes == layer_statistics(plain).sizes


@pytest.mark.parametrize("name", ["model.keras", "model.weights.h5"])
def test_a_training_can_start_from_a_model_that_has_one(probed, tmp_path, name):
    path = tmp_path / name
    probed.save_weights(path) if name.endswith("h5") else probed.save(path)
    model = build_classifier("tiny", CLASSES, image_size=(32, 32))
    used = load_weights(model, BACKBONES["tiny"], path)
    assert used.description.endswith("with its head, its linear probe not loaded")
    images = images_of(2, seed=4)
    logits = keras.Model(probed.input, head_logits(probed))
    np.testing.assert_allclose(model(images), logits(images), rtol=1e-4, atol=1e-5)


def test_grad_cam_is_of_the_head(plain, probed):
    images, classes = images_of(2, seed=3), np.array([0, 2])
    np.testing.assert_allclose(
        GradCAM(probed)(images, classes), GradCAM(plain)(images, classes), atol=1e-5
    )


def blobs(n, seed, classes=CLASSES):
    """Statistics of very different scales, one of them constant; classes overlap."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, n)
    values = random.normal(size=(n, 6)) + 1.5 * np.eye(6)[labels]
    values[:, 5] = 7.0
    return values * [1, 100, 0.01, 1, 1, 1] + [0, 500, 0, 0, 0, 0], labels


def test_it_is_a_softmax_regression_of_standardised_statistics():
    values, labels = blobs(300, 0)
    found = StatisticsRegression.fit([values], labels)
    other = values[:, :5]
    scaled = (other - other.mean(axis=0)) / other.std(axis=0)
    reference = LogisticRegression(C=0.03, max_iter=400).fit(scaled, labels)
    np.testing.assert_allclose(
        found.probabilities(values), reference.predict_proba(scaled), atol=0.01
    )


def test_copies_together_weigh_as_much_as_the_images():
    """Copies that say the opposite, three of each image, must not outweigh the images."""
    values, labels = np.array([[-1.0], [1.0]] * 20), np.array([0, 1] * 20)
    found = StatisticsRegression.fit([values, -values, -values, -values], labels)
    np.testing.assert_allclose(found.probabilities(values), 0.5, atol=1e-3)
    mostly = StatisticsRegression.fit([values, -values, values, values], labels)
    assert mostly.probabilities(values)[0, 0] > 0.6


def test_two_classes_and_balance():
    values, labels = blobs(400, 2, classes=2)
    few = np.flatnonzero((labels == 0) | (np.arange(400) % 10 == 0))
    values, labels = values[few], labels[few]
    plain = StatisticsRegression.fit([values], labels)
    balanced = StatisticsRegression.fit([values], labels, balanced=True)
    assert plain.kernel.shape == (6, 2)
    np.testing.assert_allclose(plain.probabilities(values).sum(axis=1), 1)
    rare = labels == 1
    assert (
        balanced.probabilities(values)[rare, 1].mean()
        > plain.probabilities(values)[rare, 1].mean() + 0.1
    )
    scaled = (values - values.mean(axis=0))[:, :5] / values.std(axis=0)[:5]
    reference = LogisticRegression(C=0.03, max_iter=400).fit(scaled, labels)
    np.testing.assert_allclose(
        plain.probabilities(values), reference.predict_proba(scaled), atol=0.01
    )
