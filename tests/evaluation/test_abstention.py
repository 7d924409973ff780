"""How often a classifier decides, and how good its decisions are."""

import numpy as np
import pytest

from kerascxr.evaluation.abstention import (
    NOT_DECIDED,
    Decisions,
    measure_abstention,
    measure_answers,
)

CLASSES = ("a", "b")
PROBABILITIES = np.array([[0.95, 0.05], [0.92, 0.08], [0.2, 0.8], [0.55, 0.45], [0.03, 0.97]])
FOUND = Decisions(
    ("a", NOT_DECIDED, "b", NOT_DECIDED, "b"),
    np.array([[1, 0], [1, 0], [0, 1], [1, 1], [0, 1]], bool),
    np.array([0.0, 5.0, 1.0, 4.0, 0.5]),
    ("", "unlike", "", "several; unlike", ""),
)
TRUTH = np.array([0, 0, 0, 1, 1])
GROUPS = list("vwxyz")


def test_decisions_are_measured_by_hand():
    given = measure_abstention(FOUND, TRUTH, PROBABILITIES, CLASSES, GROUPS)
    assert given["n"] == 5
    assert given["not_decided"]["value"] == 0.4
    low, high = given["not_decided"]["interval"]
    assert 0 < low < 0.4 < high < 1
    assert given["accuracy_of_decided"] | {"interval": 0} == {
        "value": pytest.approx(2 / 3),
        "interval": 0,
        "n": 3,
    }
    assert {name: of["value"] for name, of in given["reasons"].items()} == {
        "several": 0.2,
        "unlike": 0.4,
    }
    assert given["coverage"]["all"]["value"] == 0.8
    by_class = given["coverage"]["classes"]
    assert by_class["a"]["value"] == pytest.approx(2 / 3) and by_class["b"]["value"] == 1
    assert given["set_sizes"] == {"1": 4, "2": 1}


def test_answers_are_measured_without_labels():
    given = measure_answers(FOUND, PROBABILITIES, CLASSES, GROUPS)
    assert given["mean_confidence"] == pytest.approx(0.838)
    a, b = given["answers"]["a"], given["answers"]["b"]
    assert (a["predicted"]["value"], b["predicted"]["value"]) == (0.6, 0.4)
    assert a["mean_confidence"] == pytest.approx((0.95 + 0.92 + 0.55) / 3)
    assert (a["confident"]["value"], b["confident"]["value"]) == (0.4, 0.2)
    assert (a["confident_and_decided"]["value"], b["confident_and_decided"]["value"]) == (0.2, 0.2)


def test_what_nobody_has_is_none():
    nothing = Decisions((NOT_DECIDED,) * 2, np.ones((2, 2), bool), np.zeros(2), ("several",) * 2)
    given = measure_abstention(nothing, TRUTH[:2], PROBABILITIES[:2], CLASSES, GROUPS[:2])
    assert given["accuracy_of_decided"] is None
    assert given["coverage"]["classes"]["b"] is None
    assert given["answers"]["b"]["mean_confidence"] is None


def test_the_columns_name_the_classes_of_a_set():
    columns = FOUND.columns(CLASSES)
    assert columns["prediction_set"] == ["a", "a", "b", "a; b", "b"]
    assert list(columns) == ["decision", "prediction_set", "ood_score", "warnings"]
