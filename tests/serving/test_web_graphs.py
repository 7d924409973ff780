"""The browser page's graphs against the functions that they stand for."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerascxr.data.images import resampling_by, resize_image, to_backbone_input
from kerascxr.data.roi import ROIS
from kerascxr.models.decision_rule import FILE, DecisionRule
from kerascxr.models.ensemble_rule import EnsembleRule
from kerascxr.models.gradcam import GradCAM
from kerascxr.models.saved import load_saved
from kerascxr.models.segmenter import Segmenter
from kerascxr.models.unet import build_unet
from kerascxr.runs.reading import read_run
from kerascxr.serving.ensemble import EnsembleClassifier
from kerascxr.serving.graph import Classifier
from kerascxr.serving.web_graphs import (
    ANSWER,
    GREY,
    Member,
    classifier_of_grey,
    lungs_of_grey,
    outputs_of,
    resample_by_taps,
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
        def of(image):
            return tf.round(resample_by_taps(image[..., None], size))[..., 0]

        return tf.function(of, autograph=False, input_signature=[GREY])

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


@pytest.fixture(scope="module")
def model_and_rule(runs):
    return load_saved(runs[0] / "model.keras"), DecisionRule.load(runs[0] / FILE)


def test_a_classifiers_graph_gives_the_answer_of_the_served_model(runs, model_and_rule):
    run = read_run(runs[0])
    model, rule = model_and_rule
    classes = run.metrics["test"]["classes"]
    of_grey = classifier_of_grey([Member(model, rule, 1.7)])
    graph = tf.function(of_grey, autograph=False, input_signature=[GREY])
    served = Classifier(model, classes, rule, 1.7)
    camera = GradCAM(model)
    features_of = keras.Model(model.input, camera.features)
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
        assert set(given) == set(ANSWER)
        image = tf.cast(resize_image(grey[..., None], model.input_shape[1:3]), tf.float32)[None]
        expected = served.answer({"none": image}, tf.constant([own]))
        np.testing.assert_allclose(given["probabilities"], expected["probabilities"][0], atol=1e-5)
        np.testing.assert_allclose(given["ood_score"], expected["ood_score"][0], atol=1e-3)
        named = [name for name, inside in zip(classes, given["in_set"], strict=True) if inside]
        assert "; ".join(named) == expected["prediction_set"][0].numpy().decode()
        reasons = [name for name, holds in zip(rule.kinds, given["warnings"], strict=True) if holds]
        assert "; ".join(reasons) == expected["warnings"][0].numpy().decode()
        warned |= set(reasons)
        maps = camera.class_maps(features_of(to_backbone_input(image)))
        np.testing.assert_allclose(given["cams"], maps[0])
    assert len(warned) >= 3


def drawn(own):
    """An image with dark lungs, uint8 (height, width), and their mask, uint8 (32, 32)."""
    grey = np.random.default_rng(1).integers(100, 255, own).astype(np.uint8)
    mask = np.zeros((32, 32), np.uint8)
    mask[8:25, 6:14] = mask[7:24, 18:27] = 255
    grey[enlarged(mask, own) > 0] //= 3
    return grey, mask


def enlarged(mask, own):
    rows, columns = (np.arange(n) * 32 // n for n in own)
    return mask[rows][:, columns]


@pytest.mark.parametrize("roi", list(ROIS))
def test_a_region_resampled_by_taps_is_that_of_the_training(roi):
    for own, empty in (((60, 50), False), ((60, 50), True), ((40, 77), False)):
        grey, mask = drawn(own)
        given = (grey[..., None], np.zeros_like(mask)[..., None] if empty else mask[..., None])
        known = ROIS[roi].apply(*map(tf.constant, given), (48, 40)).numpy()
        with resampling_by(resample_by_taps):
            found = ROIS[roi].apply(*map(tf.constant, given), (48, 40)).numpy()
        np.testing.assert_array_equal(found, known)
    assert resize_image(grey[..., None], (8, 8)).shape == (8, 8, 1)  # as before


def test_a_classifiers_graph_takes_the_lung_mask_for_its_region(model_and_rule):
    model, rule = model_and_rule
    size = model.input_shape[1:3]
    graph = classifier_of_grey([Member(model, rule, 1.0)], roi="lung_crop")
    served = Classifier(model, list("abc")[: model.output_shape[-1]], rule)
    assert outputs_of("lung_crop") == (*ANSWER, "box") and outputs_of("lungs_only") == ANSWER
    grey, mask = drawn((60, 50))
    given = graph(tf.constant(grey), tf.constant(mask))
    region = ROIS["lung_crop"].apply(grey[..., None], mask[..., None], size)
    expected = served.answer({"none": tf.cast(region, tf.float32)[None]}, tf.constant([[60, 50]]))
    np.testing.assert_allclose(given["probabilities"], expected["probabilities"][0], atol=1e-6)
    top, left, bottom, right = given["box"].numpy() * (60, 50, 60, 50)
    box = grey[round(top) : round(bottom), round(left) : round(right), None]
    np.testing.assert_array_equal(resize_image(box, size), region)
    assert bottom - top < 50


@pytest.mark.parametrize("votes", [True, False])
def test_an_ensembles_graph_gives_the_answer_of_the_served_ensemble(model_and_rule, votes):
    model, rule = model_and_rule
    classes = list("abc")[: model.output_shape[-1]]
    alone = dataclasses.replace(rule.checks, orientation_classifier=None)
    limit = dataclasses.replace(rule.checks.ood_detector, limit=1e9)
    rules = (
        dataclasses.replace(rule, least=0.4),
        dataclasses.replace(rule, checks=alone, least=0.6),
        dataclasses.replace(rule, checks=dataclasses.replace(alone, ood_detector=limit)),
    )
    temperatures = (0.6, 2.5, 1.0)
    thresholds = None if votes else np.full(len(classes), 0.3, np.float32)
    together = EnsembleRule(rules, thresholds, *((0.0, 0.0) if votes else (0.45, 0.5)))
    members = [Member(model, *of) for of in zip(rules, temperatures, strict=True)]
    graph = classifier_of_grey(members, together)
    each = [Classifier(model, classes, *of) for of in zip(rules, temperatures, strict=True)]
    served = EnsembleClassifier(each, classes, together)
    random, warned = np.random.default_rng(0), set()
    for level, deviation in ((220, 20), (120, 20), (30, 1), (128, 70), (60, 30)):
        grey = np.clip(random.normal(level, deviation, (40, 40)), 0, 255).astype(np.uint8)
        given = graph(tf.constant(grey))
        image = tf.cast(resize_image(grey[..., None], model.input_shape[1:3]), tf.float32)[None]
        expected = served.answer({"none": image}, tf.constant([[40, 40]]))
        np.testing.assert_allclose(given["probabilities"], expected["probabilities"][0], atol=1e-6)
        np.testing.assert_allclose(given["ood_score"], expected["ood_score"][0], rtol=1e-4)
        named = [name for name, inside in zip(classes, given["in_set"], strict=True) if inside]
        assert "; ".join(named) == expected["prediction_set"][0].numpy().decode()
        found = zip(together.kinds, given["warnings"], strict=True)
        reasons = [name for name, holds in found if holds]
        assert "; ".join(reasons) == expected["warnings"][0].numpy().decode()
        warned |= set(reasons)
        assert given["cams"].shape[0] == len(classes)
        assert np.isin(given["cams"].numpy().max(axis=(1, 2)).round(5), (0, 1)).all()
    assert len(warned) >= 2


def test_a_unets_graph_gives_its_probabilities():
    keras.utils.set_random_seed(0)
    segmenter = Segmenter(build_unet((32, 48), 2, "bilinear"), 0.5)
    graph = tf.function(lungs_of_grey(segmenter), autograph=False, input_signature=[GREY])
    grey = np.random.default_rng(0).integers(0, 256, (50, 61)).astype(np.uint8)
    given = graph(tf.constant(grey))["probabilities"]
    expected = segmenter.probabilities(resize_image(grey[..., None], (32, 48))[None])
    assert given.shape == (32, 48)
    np.testing.assert_allclose(given, expected[0, ..., 0], atol=1e-5)
