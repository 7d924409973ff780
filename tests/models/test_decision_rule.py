"""A decision needs one possible class, a score below its limit and no warning."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from kerascxr.evaluation.abstention import NOT_DECIDED, SEVERAL
from kerascxr.models.decision_rule import DecisionRule
from kerascxr.models.input_checks import ASPECT, CONSTANT, FAR, InputChecks, OrientationClassifier
from kerascxr.models.ood_detector import OODDetector

CLASSES = ("a", "b", "c")
RANDOM = np.random.default_rng(0)


@pytest.fixture(scope="module")
def rule():
    def images(mean):
        return RANDOM.normal(mean, 1, (60, 6)).astype(np.float32)

    ood_detector = OODDetector.fit(images(0), images(3), images(0), (3, 3))
    turned = {"": images(0), "turned": images(9), "inverted": images(-9)}
    orientation = OrientationClassifier.fit(turned, images(0), ("turned", "inverted"))
    checks = InputChecks(dataclasses.replace(ood_detector, limit=4.0), orientation)
    return DecisionRule(checks, np.array([0.3, 0.2, 0.9], np.float32), 0.4)


def apply(rule, probabilities, statistics=0.0, pixels=None, own_sizes=None):
    n = len(probabilities)
    if pixels is None:
        pixels = RANDOM.uniform(0, 255, (n, 8, 8, 1))
    given = rule.apply(
        tf.constant(pixels, tf.float32),
        tf.fill((n, 6), float(statistics)),
        tf.constant(probabilities, tf.float32),
        CLASSES,
        own_sizes,
    )
    assert {len(value) for value in given.values()} == {n}
    texts = {name: given[name].numpy() for name in ("decision", "prediction_set", "warnings")}
    return {name: [text.decode() for text in value] for name, value in texts.items()}


def test_a_class_that_alone_is_likely_enough_is_the_decision(rule):
    given = apply(
        rule,
        [
            [0.8, 0.15, 0.05],
            [0.6, 0.35, 0.05],
            [0.5, 0.45, 0.05],
            [0.39, 0.3, 0.31],
            [0.1, 0.1, 0.8],
        ],
    )
    assert given["decision"] == ["a", "a", NOT_DECIDED, NOT_DECIDED, "c"]
    assert given["warnings"] == ["", "", SEVERAL, SEVERAL, ""]
    assert given["prediction_set"] == ["a", "a; b", "a; b", "a; b", "c"]


def test_every_warning_keeps_from_a_decision_and_is_named(rule):
    sure = [[0.98, 0.01, 0.01]]
    assert apply(rule, sure)["decision"] == ["a"]
    far = apply(rule, sure, statistics=4.0)
    assert far["decision"] == [NOT_DECIDED] and FAR in far["warnings"][0].split("; ")
    assert far["prediction_set"] == ["a"]
    assert apply(rule, sure, statistics=np.nan)["decision"] == [NOT_DECIDED]
    turned = apply(rule, [[0.48, 0.42, 0.1]], statistics=9.0)["warnings"]
    assert turned == [f"{SEVERAL}; {FAR}; turned"]
    flat = apply(rule, sure, pixels=np.full((1, 8, 8, 1), 90))
    assert (flat["decision"], flat["warnings"]) == ([NOT_DECIDED], [CONSTANT])
    strip = apply(rule, sure, own_sizes=tf.constant([[100, 400]]))
    assert (strip["decision"], strip["warnings"]) == ([NOT_DECIDED], [ASPECT])


@pytest.mark.parametrize("whole_images", [True, False])
def test_it_is_the_same_after_a_file(rule, tmp_path, whole_images):
    if not whole_images:
        checks = dataclasses.replace(rule.checks, orientation_classifier=None)
        rule = dataclasses.replace(rule, checks=checks)
    rule.save(tmp_path / "rule.npz")
    again = DecisionRule.load(tmp_path / "rule.npz")
    assert again.kinds == rule.kinds
    probabilities = RANDOM.dirichlet(np.ones(3), 50)
    pixels = RANDOM.uniform(0, 255, (50, 8, 8, 1))
    for statistics in (0.0, 2.0, 9.0):
        one, other = (apply(of, probabilities, statistics, pixels) for of in (rule, again))
        assert one == other


def test_a_damaged_file_is_one_line(tmp_path):
    (tmp_path / "rule.npz").write_bytes(b"PK\x03\x04 and no more")
    for name in ("rule.npz", "missing.npz"):
        with pytest.raises(ValueError, match=r"train again") as error:
            DecisionRule.load(tmp_path / name)
        assert "\n" not in str(error.value)


def test_what_a_rounding_error_can_change_is_borderline(rule):
    cases = [
        ([0.60, 0.30, 0.10], 1.0, False),
        ([0.60, 0.2009, 0.1991], 1.0, True),  # the threshold of the set of b
        ([0.60, 0.1991, 0.2009], 1.0, True),
        ([0.3991, 0.30, 0.3009], 1.0, True),  # the least probability
        ([0.4505, 0.4495, 0.10], 1.0, True),  # two largest ones
        ([0.60, 0.30, 0.10], 3.995, True),  # the limit of the score
        ([0.60, 0.30, 0.10], 4.005, True),
        ([0.60, 0.30, 0.10], 4.02, False),
    ]
    probabilities, scores, expected = map(np.array, zip(*cases, strict=True))
    given = rule.borderline(probabilities, scores, 0.001, 0.01)
    assert given.tolist() == expected.tolist()
    assert rule.borderline(probabilities, scores, 1e-5, 1e-5).sum() == 0
