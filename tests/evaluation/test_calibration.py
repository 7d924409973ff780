"""Calibration agrees with scikit-learn, hand-made cases and temperatures that are known."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.special import log_softmax, softmax
from sklearn import metrics

from kerascxr.evaluation.calibration import (
    TEMPERATURES,
    apply_temperature,
    brier_score,
    calibrate,
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
    reliability_curve,
)
from kerascxr.evaluation.operating_points import (
    operating_points,
    score_operating_points,
)
from kerascxr.evaluation.shares import wilson
from kerascxr.evaluation.uncertainty import classification_intervals
from kerascxr.report.calibration import overview
from kerascxr.runs.calibration_tables import calibration_markdown
from kerascxr.runs.reading import Run

CLASSES = ["a", "b", "c"]


def drawn(seed, n, temperature=1.0):
    """Logits, and truths drawn from softmax(logits / temperature): the temperature is true."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 3, (n, 3))
    chances = softmax(logits / temperature, axis=1)
    truth = (chances.cumsum(axis=1) < random.random((n, 1))).sum(axis=1)
    return truth, softmax(logits, axis=1)


@pytest.mark.parametrize("temperature", [0.6, 1.0, 2.5])
def test_a_known_temperature_is_found(temperature):
    truth, probabilities = drawn(0, 20_000, temperature)
    assert fit_temperature(truth, probabilities) == pytest.approx(temperature, rel=0.03)


def test_no_other_temperature_is_likelier():
    truth, probabilities = drawn(1, 300, 3.0)
    best = fit_temperature(truth, probabilities)
    losses = [
        negative_log_likelihood(truth, apply_temperature(probabilities, temperature))
        for temperature in np.geomspace(*TEMPERATURES, 400)
    ]
    found = negative_log_likelihood(truth, apply_temperature(probabilities, best))
    assert found <= min(losses) + 1e-9


def test_where_all_is_recognised_nothing_is_fitted():
    probabilities = np.array([[0.6, 0.4], [0.3, 0.7]])
    assert fit_temperature(np.array([0, 1]), probabilities) == 1.0
    right, wrong = (np.array([0, 1]), probabilities), (np.array([1, 0]), probabilities)
    result = calibrate(right, wrong, ["a", "b"], ["0", "1"])
    assert result["temperature"] == 1.0 and "recognised" in result["fitted_on"]


def test_worse_than_chance_ends_at_the_bound():
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8]])
    found = fit_temperature(np.array([1, 0]), probabilities)
    assert found == pytest.approx(TEMPERATURES[1], rel=1e-4)


@pytest.mark.parametrize(
    ("true", "words"),
    [
        (50.0, "The temperature 10.000 is the upper bound of its search (0.1 to 10)"),
        (0.02, "The temperature 0.100 is the lower bound of its search (0.1 to 10)"),
        (2.5, None),
    ],
)
def test_a_temperature_at_a_bound_of_its_search_is_said_to_be_one(true, words):
    random = np.random.default_rng(0)
    chances = softmax(random.normal(0, 0.05 if true < 1 else 3, (2000, 3)) / true, axis=1)
    truth = (chances.cumsum(axis=1) < random.random((2000, 1))).sum(axis=1)
    predictions = truth, apply_temperature(chances, 1 / true)
    found = calibrate(predictions, predictions, CLASSES, np.arange(2000))
    assert found["at_bound"] == bool(words) and found["bounds"] == [0.1, 10.0]
    text = calibration_markdown(found)
    [part] = overview([finished_run("deep", {"calibration": found})])
    if words:
        assert words in text and "probabilities are not reliable" in text
        assert part.blocks[-1].startswith(f"deep: {words}")
    else:
        assert "bound" not in text and len(part.blocks) == 2


def finished_run(name, metrics):
    return Run(Path(name), metrics, [], [], {}, {}, 0.0, name)


@given(st.floats(0.1, 10), st.integers(0, 1000))
def test_a_temperature_is_that_of_the_logits_and_keeps_the_class(temperature, seed):
    logits = np.random.default_rng(seed).normal(0, 5, (8, 4))
    probabilities = softmax(logits, axis=1)
    given_back = apply_temperature(probabilities, temperature)
    np.testing.assert_allclose(given_back, softmax(logits / temperature, axis=1), atol=1e-12)
    assert (given_back.argmax(axis=1) == probabilities.argmax(axis=1)).all()


def test_zeros_stay_numbers():
    given_back = apply_temperature(np.array([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]]), 2.0)
    assert np.isfinite(given_back).all()
    np.testing.assert_allclose(given_back, [[1, 0, 0], [0.5, 0.5, 0]], atol=1e-12)
    assert math.isfinite(negative_log_likelihood(np.array([1]), np.array([[1.0, 0.0]])))


def test_a_curve_and_its_error_worked_out_by_hand():
    # Two bins: 0.5 (the edge, so the lower) is right; of 0.6, 0.8, 0.7 two are right.
    probabilities = np.array([[0.5, 0.3, 0.2], [0.6, 0.4, 0.0], [0.1, 0.8, 0.1], [0.2, 0.1, 0.7]])
    curve = reliability_curve(np.array([0, 0, 1, 0]), probabilities, bins=2)
    assert [part["images"] for part in curve] == [1, 3]
    assert [(part["over"], part["to"]) for part in curve] == [(0, 0.5), (0.5, 1)]
    assert [part["accuracy"] for part in curve] == pytest.approx([1, 2 / 3])
    assert [part["confidence"] for part in curve] == pytest.approx([0.5, 0.7])
    expected = 1 / 4 * 0.5 + 3 / 4 * (0.7 - 2 / 3)
    assert expected_calibration_error(curve) == pytest.approx(expected)


def test_the_interval_of_a_bins_accuracy_is_wilsons_of_its_groups():
    # One image under 0.5; of the 20 over it twelve are right.
    confidence = np.array([0.4, *np.linspace(0.6, 0.9, 20)])
    probabilities = np.stack([confidence, *[(1 - confidence) / 2] * 2], axis=1)
    truth = np.array([0, *[0] * 12, *[1] * 8])
    few, many = reliability_curve(truth, probabilities, bins=2)
    assert few["images"] == 1 and few["interval"] is None
    expected = stats.binomtest(12, 20).proportion_ci(method="wilson")
    assert many["interval"] == pytest.approx([expected.low, expected.high])
    # Two images of each patient, both right or both wrong: the interval is wider.
    patients = [str(index // 2) for index in range(20)]
    low, high = reliability_curve(truth[1:], probabilities[1:], 2, patients)[1]["interval"]
    assert low < expected.low and expected.high < high
    one = reliability_curve(truth, probabilities, 2, ["a patient"] * 21)
    assert [part["interval"] for part in one] == [None, None]


def test_every_image_is_in_one_bin_and_empty_bins_say_so():
    truth, probabilities = drawn(2, 500)
    probabilities[0] = [1.0000001, 0, 0]  # as float32's rounding gives
    curve = reliability_curve(truth, probabilities)
    assert len(curve) == 15 and sum(part["images"] for part in curve) == 500
    for part in curve[:5]:  # the surest of three has over a third
        assert part["images"] == 0 and part["accuracy"] is None and part["confidence"] is None
    assert curve[-1]["confidence"] > 14 / 15


def test_what_is_calibrated_has_a_small_error_and_what_is_too_sure_a_large_one():
    truth, probabilities = drawn(3, 20_000)
    assert expected_calibration_error(reliability_curve(truth, probabilities)) < 0.01
    truth, probabilities = drawn(3, 20_000, 3.0)
    before = expected_calibration_error(reliability_curve(truth, probabilities))
    mended = apply_temperature(probabilities, fit_temperature(truth, probabilities))
    after = expected_calibration_error(reliability_curve(truth, mended))
    assert before > 0.15 and after < 0.01


def test_scores_are_those_of_scikit_learn():
    truth, probabilities = drawn(4, 200, 2.0)
    assert brier_score(truth, probabilities) == pytest.approx(
        metrics.brier_score_loss(truth, probabilities, labels=range(3), scale_by_half=False)
    )
    assert negative_log_likelihood(truth, probabilities) == pytest.approx(
        metrics.log_loss(truth, probabilities, labels=range(3))
    )
    assert brier_score(np.array([0]), np.array([[0.0, 1.0]])) == 2.0


def test_operating_points_worked_out_by_hand():
    # 20 images of "a" with 0.05, 0.10 ... 1.00: 19 of them are at 0.10 or more.
    scores = np.arange(1, 21) / 20
    probabilities = np.stack([scores, 1 - scores], axis=1)
    truth = np.zeros(20, int)
    thresholds = operating_points(truth, probabilities, ["a", "b"], sensitivity=0.95)
    assert thresholds == {"a": pytest.approx(0.10), "b": None}
    assert operating_points(truth, probabilities, ["a", "b"], 0.5)["a"] == pytest.approx(0.55)
    assert operating_points(truth, probabilities, ["a", "b"], 1)["a"] == pytest.approx(0.05)
    test = np.array([[0.05, 0.95], [0.2, 0.8], [0.3, 0.7], [0.02, 0.98], [0.4, 0.6]])
    truth = np.array([0, 0, 0, 1, 1])
    scored = score_operating_points({"a": 0.10, "b": None}, truth, test, list("vwxyz"))
    a = scored["a"]
    assert (a["positives"], a["negatives"]) == (3, 2)
    assert a["sensitivity"] == pytest.approx(2 / 3) and a["specificity"] == 0.5
    assert a["sensitivity_interval"] == pytest.approx(wilson(2 / 3, 3))
    assert scored["b"]["sensitivity"] is None and scored["b"]["specificity_interval"] is None


@pytest.mark.parametrize("n", [20, 40, 60, 97, 100, 460])
def test_the_threshold_finds_the_share_and_the_next_does_not(n):
    scores = np.random.default_rng(n).permutation(np.linspace(0.01, 0.99, n))
    probabilities = np.stack([scores, 1 - scores], axis=1)
    threshold = operating_points(np.zeros(n, int), probabilities, ["a", "b"])["a"]
    assert (scores >= threshold).mean() >= 0.95 > (scores > threshold).mean()


def test_sensitivity_and_recall_have_one_interval_where_thresholds_and_classes_agree():
    random = np.random.default_rng(3)
    truth = np.repeat([0, 1], 40)
    right = random.random(20).repeat(4) < 0.8  # images of a group are right or wrong together
    chosen = np.where(right, truth, 1 - truth)
    probabilities = np.where(np.eye(2)[chosen] == 1, 0.9, 0.1)
    groups = [str(index // 4) for index in range(80)]
    scored = score_operating_points({"a": 0.5, "b": 0.5}, truth, probabilities, groups)
    found = classification_intervals(truth, probabilities, "ab", groups, resamples=20)
    for name in "ab":
        for of_point, of_class in (("sensitivity", "recall"), ("specificity", "specificity")):
            limits = scored[name][f"{of_point}_interval"]
            assert limits == list(found["per_class"][name][of_class]), (name, of_point)
    low, high = scored["a"]["sensitivity_interval"]
    alone = [str(index) for index in range(80)]
    images = score_operating_points({"a": 0.5, "b": 0.5}, truth, probabilities, alone)["a"]
    assert high - low > 1.5 * np.subtract(*images["sensitivity_interval"][::-1])


def test_the_whole_is_json_and_thresholds_are_of_what_is_served():
    validation, test = drawn(5, 400, 2.5), drawn(6, 300, 2.5)
    found = calibrate(validation, test, CLASSES, [str(index) for index in range(300)])
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["temperature"] == fit_temperature(*validation)
    assert "400 validation images" in found["fitted_on"]
    served = apply_temperature(validation[1], found["temperature"])
    thresholds = operating_points(validation[0], served, CLASSES)
    points = found["operating_points"]
    assert {name: row["threshold"] for name, row in points.items()} == thresholds
    called = apply_temperature(test[1], found["temperature"]) >= list(thresholds.values())
    for index, name in enumerate(CLASSES):
        assert points[name]["specificity"] == (~called[test[0] != index, index]).mean()
    assert found["before"]["nll"] == pytest.approx(metrics.log_loss(*test))
    cold = log_softmax(np.log(test[1]) / found["temperature"], axis=1)
    assert found["after"]["nll"] == pytest.approx(-cold[np.arange(300), test[0]].mean())
    assert found["after"]["ece"] < found["before"]["ece"]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: fit_temperature(np.array([0]), np.array([[2.0, -1.0]])), "sum to 1"),
        (lambda: fit_temperature(np.array([0, 1]), np.array([[1.0, 0.0]])), "shape"),
        (lambda: apply_temperature(np.array([[1.0, 0.0]]), 0.0), "temperature must be over 0"),
        (lambda: apply_temperature(np.array([[1.0, 0.0]]), math.nan), "temperature must be over"),
        (lambda: reliability_curve(*drawn(0, 5), bins=0), "bins must be at least 1"),
        (lambda: operating_points(*drawn(0, 5), CLASSES, sensitivity=1.5), "sensitivity must be"),
        (lambda: operating_points(*drawn(0, 5), [*CLASSES, "d"]), "probabilities must be of shape"),
    ],
)
def test_wrong_arguments_are_one_line(call, words):
    with pytest.raises(ValueError, match=words) as raised:
        call()
    assert "Got " in str(raised.value) and "\n" not in str(raised.value)
