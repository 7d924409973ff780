"""The means over corruptions, those of the training and those held out."""

import pytest

from kerascxr.evaluation.robustness import summarise


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
