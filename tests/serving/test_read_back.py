"""A written export is compared with its run: probabilities, decisions, sets, scores, warnings."""

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from kerascxr.serving import read_back
from kerascxr.serving.read_back import Expected, allowed_at, compare_reloaded

CLASSES = ["a", "b"]
PROBABILITIES = np.array([[0.9, 0.1], [0.4, 0.6]])
ANSWERS = {
    "decision": ["a", "not decided"],
    "prediction_set": ["a", "a; b"],
    "ood_score": [0.5, float("nan")],
    "warnings": ["", "several classes possible"],
}


def compare(monkeypatch, *, borderline=False, probabilities=PROBABILITIES, **changed):
    """Compares with an export that answers as expected but for what is changed of the second."""
    outputs = {"probabilities": tf.constant(probabilities), "labels": tf.constant([CLASSES] * 2)}
    for name, values in ANSWERS.items():
        outputs[name] = tf.constant([values[0], changed.get(name, values[1])])
    loaded = SimpleNamespace(signatures={"serving_default": lambda images: outputs})
    monkeypatch.setattr(read_back.tf.saved_model, "load", lambda folder: loaded)
    near = np.array([False, borderline])
    expected = Expected(["one", "two"], [b"1", b"2"], PROBABILITIES, ANSWERS, near)
    return compare_reloaded("folder", expected, CLASSES, 1.0)


def test_the_same_answers_pass(monkeypatch):
    assert compare(monkeypatch) == 0
    near = PROBABILITIES + np.array([9e-6, -9e-6])
    assert compare(monkeypatch, probabilities=near) == pytest.approx(9e-6)


CHANGES = [
    ("decision", "b", "Got 'b' instead of 'not decided' for the test image two;"),
    ("prediction_set", "b", "Got 'b' instead of 'a; b'"),
    ("warnings", "", "Got '' instead of 'several classes possible'"),
]


@pytest.mark.parametrize(("name", "value", "message"), CHANGES)
def test_another_answer_is_refused_unless_it_hangs_on_a_rounding_error(
    monkeypatch, name, value, message
):
    with pytest.raises(ValueError, match=f"reproduce the run's {name}. {message}"):
        compare(monkeypatch, **{name: value})
    compare(monkeypatch, borderline=True, **{name: value})


@pytest.mark.parametrize("borderline", [False, True])
def test_scores_and_probabilities_have_tolerances_of_their_own(monkeypatch, borderline):
    with pytest.raises(ValueError, match=r"run's ood_score\. Got 0.3 instead of nan for"):
        compare(monkeypatch, borderline=borderline, ood_score=0.3)
    monkeypatch.setitem(ANSWERS, "ood_score", [0.5, 0.3])
    compare(monkeypatch, ood_score=0.3 + 0.9 * read_back.SCORE_TOLERANCE)
    with pytest.raises(ValueError, match=r"run's ood_score\. Got 0.32"):
        compare(monkeypatch, borderline=borderline, ood_score=0.32)
    with pytest.raises(ValueError, match=r"probabilities to 1e-05\. Got a difference of 2e-05"):
        compare(monkeypatch, probabilities=PROBABILITIES + np.array([2e-5, -2e-5]))


def test_a_low_temperature_allows_more():
    assert [allowed_at(of) for of in (0.25, 1.0, 5.0)] == pytest.approx([4e-5, 1e-5, 1e-5])
