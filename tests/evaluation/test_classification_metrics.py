"""Classification metrics agree with scikit-learn and with numbers worked out by hand."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from kerascxr.evaluation.classification import evaluate, precision_recall_curves, roc_curves
from kerascxr.evaluation.metrics import class_auc, class_scores

CLASSES = ["COVID", "Lung_Opacity", "Normal", "Viral Pneumonia"]


def some_predictions(seed, n=120, k=4, strength=1.5):
    rng = np.random.default_rng(seed)
    truth = np.concatenate([np.arange(k), rng.integers(0, k, n - k)])
    scores = np.exp(rng.standard_normal((n, k)) + strength * np.eye(k)[truth])
    return truth, scores / scores.sum(axis=1, keepdims=True)


def test_a_case_worked_out_by_hand():
    truth = np.array([0, 0, 0, 1, 1, 2])
    probabilities = np.array(
        [[0.8, 0.1, 0.1], [0.6, 0.4, 0], [0.3, 0.7, 0], [0.2, 0.5, 0.3], [0.5, 0.1, 0.4], [0, 0, 1]]
    )  # predicted: 0 0 1 1 0 2
    scores = evaluate(truth, probabilities, ["a", "b", "c"])
    assert scores["confusion_matrix"] == [[2, 1, 0], [1, 1, 0], [0, 0, 1]]
    assert scores["n"] == 6
    assert scores["accuracy"] == pytest.approx(4 / 6)
    assert scores["precision"] == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert scores["recall"] == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    a = scores["per_class"]["a"]
    assert a["f1"] == pytest.approx(2 / 3)
    assert a["specificity"] == pytest.approx(2 / 3)  # of b, b, c one was taken for a
    assert a["support"] == 3
    # Scores of a: 0.8, 0.6, 0.3 against 0.2, 0.5, 0: 8 of 9 pairs in order.
    assert a["auc"] == pytest.approx(8 / 9)
    assert scores["absent_classes"] == []


@pytest.mark.parametrize("seed", range(5))
def test_macro_figures_are_those_of_scikit_learn(seed):
    truth, probabilities = some_predictions(seed)
    predicted = probabilities.argmax(axis=1)
    scores = evaluate(truth, probabilities, CLASSES)
    expected = {
        "accuracy": metrics.accuracy_score(truth, predicted),
        "precision": metrics.precision_score(truth, predicted, average="macro"),
        "recall": metrics.recall_score(truth, predicted, average="macro"),
        "f1": metrics.f1_score(truth, predicted, average="macro"),
        "auc": metrics.roc_auc_score(truth, probabilities, multi_class="ovr", average="macro"),
    }
    for name, value in expected.items():
        assert scores[name] == pytest.approx(value), name
    assert list(scores["per_class"]) == CLASSES
    specificity = metrics.recall_score(truth != 2, predicted != 2)
    assert scores["per_class"]["Normal"]["specificity"] == pytest.approx(specificity)


def test_two_classes():
    truth, probabilities = some_predictions(0, k=2)
    scores = evaluate(truth, probabilities, ["no", "yes"])
    assert scores["auc"] == pytest.approx(metrics.roc_auc_score(truth, probabilities[:, 1]))


def test_an_absent_class_is_left_out_of_the_means_and_named():
    truth, probabilities = some_predictions(1)
    kept = truth != 1
    scores = evaluate(truth[kept], probabilities[kept], CLASSES)
    assert scores["absent_classes"] == ["Lung_Opacity"]
    absent = scores["per_class"].pop("Lung_Opacity")
    # Its recall is no 0, which the mean of folds would count.
    assert absent["recall"] is absent["f1"] is absent["auc"] is None
    assert absent["support"] == 0
    for name in ("precision", "recall", "f1", "auc"):
        mean = np.mean([row[name] for row in scores["per_class"].values()])
        assert scores[name] == pytest.approx(mean), name
    assert np.sum(scores["confusion_matrix"]) == kept.sum()


def test_one_class_alone_has_no_auc():
    scores = evaluate(np.zeros(3, int), np.array([[1.0, 0], [0.4, 0.6], [0.9, 0.1]]), ["a", "b"])
    assert scores["auc"] is None
    assert scores["per_class"]["a"]["specificity"] is None
    assert scores["recall"] == pytest.approx(2 / 3)


def test_a_class_never_predicted_has_no_precision_and_counts_as_zero_in_the_mean():
    scores = evaluate(np.array([0, 1]), np.array([[0.9, 0.1], [0.8, 0.2]]), ["a", "b"])
    assert scores["per_class"]["b"]["precision"] is None
    assert scores["precision"] == pytest.approx(0.25)


def test_the_result_is_strict_json():
    truth, probabilities = some_predictions(2)
    scores = evaluate(truth[truth != 0], probabilities[truth != 0].astype(np.float16), CLASSES)
    assert json.loads(json.dumps(scores, allow_nan=False)) == scores


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_order_does_not_matter(seed, random):
    truth, probabilities = some_predictions(seed, n=20)
    images = random.sample(range(20), 20)
    columns = random.sample(range(4), 4)
    scores = evaluate(truth, probabilities, CLASSES)
    shuffled = evaluate(
        np.array([columns.index(label) for label in truth[images]]),
        probabilities[images][:, columns],
        [CLASSES[column] for column in columns],
    )
    for name in ("accuracy", "precision", "recall", "f1", "auc"):
        assert shuffled[name] == pytest.approx(scores[name]), name
    for name in CLASSES:
        assert shuffled["per_class"][name] == pytest.approx(scores["per_class"][name])


def test_roc_curves_enclose_the_auc():
    truth, probabilities = some_predictions(3)
    scores = evaluate(truth, probabilities, CLASSES)
    curves = roc_curves(truth, probabilities, CLASSES)
    assert list(curves) == CLASSES
    for name, curve in curves.items():
        assert np.trapezoid(curve.y, curve.x) == pytest.approx(curve.area)
        assert curve.area == scores["per_class"][name]["auc"]
        assert (curve.x[0], curve.y[0], curve.x[-1], curve.y[-1]) == (0, 0, 1, 1)


def test_precision_recall_steps_enclose_the_average_precision():
    truth, probabilities = some_predictions(4)
    probabilities = probabilities.round(1)  # ties, as coarse scores have
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    curves = precision_recall_curves(truth, probabilities, CLASSES)
    for index, (name, curve) in enumerate(curves.items()):
        assert name == CLASSES[index]
        # From each point to the next (of lower recall) the first one's precision holds.
        assert -np.sum(np.diff(curve.x) * curve.y[:-1]) == pytest.approx(curve.area)
        assert curve.area == pytest.approx(
            metrics.average_precision_score(truth == index, probabilities[:, index])
        )
        assert curve.chance == pytest.approx(np.mean(truth == index))


def test_curves_leave_out_what_is_undefined():
    probabilities = np.array([[1.0, 0, 0], [0.4, 0.6, 0]])
    assert roc_curves(np.array([0, 0]), probabilities, ["a", "b", "c"]) == {}
    assert list(precision_recall_curves(np.array([0, 0]), probabilities, ["a", "b", "c"])) == ["a"]


GOOD = np.array([[0.5, 0.5], [0.1, 0.9]])


@pytest.mark.parametrize(
    ("truth", "probabilities", "classes", "message"),
    [
        ([0, 1, 1], GOOD, "ab", "classes must be a sequence of names"),
        ([0, 1], GOOD, ["a"], "two or more different names"),
        ([0, 1], GOOD, ["a", "a"], "two or more different names"),
        ([], np.zeros((0, 2)), ["a", "b"], r"truth must be of shape \(n,\) with n > 0"),
        ([[0, 1]], GOOD, ["a", "b"], r"Got shape=\(1, 2\)"),
        ([0.0, 1.0], GOOD, ["a", "b"], "integer class indices. Got dtype=float64"),
        ([0, 2], GOOD, ["a", "b"], r"truth must be in 0\.\.1\. Got label=2"),
        ([0, -1], GOOD, ["a", "b"], "Got label=-1"),
        ([0, 1, 1], GOOD, ["a", "b"], r"= \(3, 2\)\. Got shape=\(2, 2\)"),
        ([0, 1], np.array([["x", "y"]] * 2), ["a", "b"], "must be real numbers"),
        ([0, 1], [[0.5, 0.5], [np.nan, 1]], ["a", "b"], r"must be finite\. Got row 1=\[nan, 1\]"),
        ([0, 1], [[0.5, 0.5], [3.0, -2.0]], ["a", "b"], r"softmax.*Got row 1=\[3, -2\]"),
        ([0, 1], [[0.5, 0.502], [0.5, 0.5]], ["a", "b"], "sum to 1 in each row"),
    ],
)
def test_wrong_input_is_refused_in_one_line(truth, probabilities, classes, message):
    if len(truth) == 0:
        truth = np.zeros(0, int)
    with pytest.raises(ValueError, match=message) as caught:
        evaluate(np.array(truth), np.array(probabilities), classes)
    assert "\n" not in str(caught.value)


def test_float16_rounding_is_accepted():
    evaluate(np.array([0, 1]), np.array([[0.5, 0.5005], [0.1, 0.9]]), ["a", "b"])


@pytest.mark.parametrize("digits", [1, 9])  # with one digit, many probabilities are tied
def test_classes_have_the_scores_of_scikit_learn(digits):
    random = np.random.default_rng(digits)
    for n in (3, 20, 150):
        truth = random.integers(0, 3, n)
        probabilities = np.round(random.dirichlet(np.ones(4), n), digits)  # class 3 has no image
        predicted = probabilities.argmax(axis=1)
        known = metrics.precision_recall_fscore_support(
            truth, predicted, labels=range(4), zero_division=0
        )
        for found, expected in zip(class_scores(truth, probabilities), known, strict=True):
            np.testing.assert_array_equal(found, expected)
        assert class_auc(truth, probabilities, 3) is None
        for index in set(truth):
            if 0 < (truth == index).sum() < n:
                expected = metrics.roc_auc_score(truth == index, probabilities[:, index])
                assert class_auc(truth, probabilities, index) == pytest.approx(expected, abs=1e-12)
