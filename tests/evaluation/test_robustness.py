"""The means over corruptions, those of the training and those held out."""

import numpy as np
import pytest

from kerascxr.evaluation.robustness import mean_of, measure_reliability, summarise
from kerascxr.evaluation.shares import share_interval


def result(trained_on):
    scores = {"noise": (0.9, 0.8, 0.7, 0.1, 0.1), "shift": (0.6, 0.5, 0.4, 0.1, 0.1)}
    cells = [{"corruption": "none", "severity": 0, "accuracy": 1.0}] + [
        {"corruption": name, "severity": place, "accuracy": value}
        for name, values in scores.items()
        for place, value in enumerate(values, 1)
    ]
    strengths = {name: {"unit": "", "values": [1, 2, 3, 4, 5]} for name in scores}
    return {"cells": cells, "strengths": strengths, "trained_on": trained_on}


def test_means_are_of_severities_1_and_3_and_held_out_kinds_stand_apart():
    rows = {row["group"]: row for row in summarise(result(["noise"]), "accuracy")}
    assert list(rows) == ["all", "in training", "held out"]
    assert rows["all"]["mean"] == pytest.approx((0.9 + 0.7 + 0.6 + 0.4) / 4)
    assert rows["all"]["mild"] == pytest.approx((0.9 + 0.6) / 2)
    assert rows["in training"]["mean"] == pytest.approx(0.8)
    assert rows["held out"]["corruptions"] == ["shift"]
    assert rows["held out"]["mean"] == pytest.approx(0.5)


def test_a_group_without_corruptions_has_no_row():
    assert [row["group"] for row in summarise(result([]), "accuracy")] == ["all", "held out"]


def test_reliability_is_of_the_calibrated_probabilities_and_the_decisions():
    truth = np.array([0, 0, 1, 1])
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.25, 0.75]])
    decided, groups = np.array([True, True, True, False]), list("abcd")
    values, ends = measure_reliability(truth, probabilities, groups, decided)
    # Three images at 0.9, of which two are right; one at 0.75, which is.
    assert values["ece"] == pytest.approx(3 / 4 * (0.9 - 2 / 3) + 1 / 4 * 0.25)
    assert values["not_decided"] == 0.25
    assert values["accuracy_of_decided"] == pytest.approx(2 / 3)
    assert set(ends) == {"not_decided", "accuracy_of_decided"}
    right = np.array([True, True, False])
    assert ends["accuracy_of_decided"] == list(share_interval(right, np.array(groups[:3])))
    assert set(measure_reliability(truth, probabilities, groups)[0]) == {"ece"}


def test_where_nothing_is_decided_there_is_no_accuracy():
    nothing = np.zeros(4, bool)
    values, ends = measure_reliability(
        np.zeros(4, int), np.full((4, 2), 0.5), list("abcd"), nothing
    )
    assert (values["not_decided"], values["accuracy_of_decided"]) == (1, None)
    assert ends["accuracy_of_decided"] is None


def test_the_mean_accuracy_of_decisions_counts_decided_images():
    cells = [
        {"ece": 0.1, "not_decided": 0.9, "accuracy_of_decided": 0.0},
        {"ece": 0.3, "not_decided": 0.1, "accuracy_of_decided": 1.0},
        {"ece": 0.2, "not_decided": 1.0, "accuracy_of_decided": None},
    ]
    assert mean_of(cells, "ece") == pytest.approx(0.2)
    assert mean_of(cells, "accuracy_of_decided") == pytest.approx(0.9)
    assert mean_of(cells[2:], "accuracy_of_decided") is None
