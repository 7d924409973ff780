"""The browser page's graphs against the functions that they stand for."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerascxr.data.images import resize_image, to_backbone_input
from kerascxr.models.decision_rule import FILE, DecisionRule
from kerascxr.models.gradcam import GradCAM
from kerascxr.models.saved import load_saved
from kerascxr.models.segmenter import Segmenter
from kerascxr.models.unet import build_unet
from kerascxr.runs.reading import read_run
from kerascxr.serving.graph import Classifier
from kerascxr.serving.web_graphs import (
    ANSWER,
    GREY,
    classifier_of_grey,
    lungs_of_grey,
    resize_by_taps,
)

SIZES = [(1, 1), (1, 7), (7, 1), (2, 3), (31, 33), (32, 32), (64, 64), (299, 299), (100, 40)]
# At 8 to 7 and 2 to 1, many values lie half-way between two grey levels.
SIZES += [
    (256, 256),
    (448, 672),
    (513, 127),
    (1000, 1),
    (450, 333),
    (20, 900),
    (1024, 768),
    (257, 2049),
]


@pytest.fixture(scope="module")
def resize():
    def made(size):
        return tf.function(lambda image: resize_by_taps(image, size), input_signature=[GREY])

    return {size: made(size) for size in ((32, 32), (224, 224), (256, 160))}


@pytest.mark.parametrize("size", [(32, 32), (224, 224), (256, 160)])
def test_resizing_by_taps_has_tensorflows_bits(resize, size):
    random = np.random.default_rng(0)
    sizes = [*SIZES, *map(tuple, random.integers(1, 700, (25, 2)))]
    for own in sizes:
        image = random.integers(0, 256, own).astype(np.uint8)
        expected = resize_image(image[..., None], size).numpy()[..., 0].astype(int)
        given = resize[size](tf.constant(image)).numpy()
        assert given.shape == size
        np.testing.assert_array_equal(given, expected, str(own))


def test_an_image_of_the_wanted_size_is_not_changed(resize):
    image = np.random.default_rng(0).integers(0, 256, (224, 224)).astype(np.uint8)
    np.testing.assert_array_equal(resize[(224, 224)](tf.constant(image)), image)


def test_a_classifiers_graph_gives_the_answer_of_the_served_model(runs):
    run = read_run(runs[0])
    model = load_saved(run.path / "model.keras")
    rule = DecisionRule.load(run.path / FILE)
    classes = run.metrics["test"]["classes"]
    graph = tf.function(classifier_of_grey(model, rule, 1.7), input_signature=[GREY])
    served = Classifier(model, classes, rule, 1.7)
    camera = GradCAM(model)
    random = np.random.default_rng(0)
    warned = set()
    for level, deviation, own in (
        (220, 20, (32, 32)),
        (120, 20, (50, 41)),
        (30, 1, (40, 40)),
        (128, 70, (70, 30)),
        (128, 70, (30, 70)),
    ):
        grey = np.clip(random.normal(level, deviation, own), 0, 255).astype(np.uint8)
        given = graph(tf.constant(grey))
        assert tuple(given) == ANSWER or set(given) == set(ANSWER)
        image = tf.cast(resize_image(grey[..., None], model.input_shape[1:3]), tf.float32)[None]
        expected = served.answer(image, tf.constant([own]))
        np.testing.assert_allclose(given["probabilities"], expected["probabilities"][0], atol=1e-5)
        np.testing.assert_allclose(given["ood_score"], expected["ood_score"][0], atol=1e-3)
        named = [name for name, inside in zip(classes, given["in_set"], strict=True) if inside]
        assert "; ".join(named) == expected["prediction_set"][0].numpy().decode()
        reasons = [name for name, holds in zip(rule.kinds, given["warnings"], strict=True) if holds]
        assert "; ".join(reasons) == expected["warnings"][0].numpy().decode()
        warned |= set(reasons)
        features = keras.Model(model.input, camera.features)(to_backbone_input(image))
        for kind in range(len(classes)):
            np.testing.assert_allclose(given["cams"][kind], camera.class_maps(features)[0, kind])
    assert len(warned) >= 3


def test_a_unets_graph_gives_its_probabilities():
    keras.utils.set_random_seed(0)
    segmenter = Segmenter(build_unet((32, 48), 2, "bilinear"), 0.5)
    graph = tf.function(lungs_of_grey(segmenter), input_signature=[GREY])
    grey = np.random.default_rng(0).integers(0, 256, (50, 61)).astype(np.uint8)
    given = graph(tf.constant(grey))["probabilities"]
    expected = segmenter.probabilities(resize_image(grey[..., None], (32, 48))[None])
    assert given.shape == (32, 48)
    np.testing.assert_allclose(given, expected[0, ..., 0], atol=1e-5)
