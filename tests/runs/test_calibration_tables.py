"""Calibration and operating points as a reader of metrics.md sees them."""

import re

import pytest

from kerascxr.runs.calibration_tables import (
    bound_note,
    calibration_markdown,
    calibration_table,
    operating_points_table,
)

POINT = {
    "threshold": 0.25,
    "sensitivity": 0.95,
    "sensitivity_interval": [0.9, 0.975],
    "positives": 1200,
    "specificity": 0.5,
    "specificity_interval": None,
    "negatives": 2,
}
UNDEFINED = {"threshold": None, "sensitivity": None, "positives": 0, "specificity": None}
CALIBRATION = {
    "temperature": 1.23456,
    "bounds": [0.1, 10.0],
    "fitted_on": "400 validation images",
    "sensitivity": 0.95,
    "before": {"ece": 0.1, "brier": 0.2, "nll": 0.3},
    "after": {"ece": 0.01, "brier": 0.02, "nll": 0.03},
    "definitions": {"ece": "of 15 bins", "brier": "a sum", "nll": "a mean"},
    "operating_points": {"a": POINT, "b": UNDEFINED | {"negatives": 5}},
}


def test_each_measure_is_beside_its_own_values():
    table = calibration_table(CALIBRATION)
    assert table.title == "Calibration: temperature 1.235"
    assert table.header == ["measure", "before", "after"]
    assert table.rows == [
        ["ECE", 0.1, 0.01],
        ["Brier score", 0.2, 0.02],
        ["negative log likelihood", 0.3, 0.03],
    ]


def test_each_class_has_its_threshold_shares_and_sizes():
    table = operating_points_table(CALIBRATION)
    assert table.title == "Operating points"
    assert table.header == ["class", "threshold", "sensitivity", "of", "specificity", "of"]
    sensitivity = "0.9500 [0.900, 0.975]"
    specificity = "0.5000 (too few images for an interval)"
    assert table.rows == [
        ["a", 0.25, sensitivity, 1200, specificity, 2],
        ["b", None, None, 0, None, 5],
    ]


@pytest.mark.parametrize(
    ("temperature", "bounds", "words"),
    [
        (10.0, [0.1, 10.0], r"10.000 is the upper bound .*\(0.1 to 10\): .* still higher one"),
        (0.1, [0.1, 10.0], r"0.100 is the lower bound .*\(0.1 to 10\): .* still lower one"),
        (2.0, [2.0, 2.5], "lower bound"),
    ],
)
def test_a_temperature_at_a_bound_is_said_to_be_one(temperature, bounds, words):
    found = CALIBRATION | {"temperature": temperature, "bounds": bounds, "at_bound": True}
    note = bound_note(found)
    assert re.search(words, note)
    assert f"400 validation images. {note}\n" in calibration_markdown(found)
    assert bound_note(found | {"at_bound": False}) is None and bound_note(CALIBRATION) is None


def test_the_markdown_has_both_tables_and_what_they_mean():
    text = calibration_markdown(CALIBRATION)
    assert text.startswith("\n## Calibration: temperature 1.235\n\n| measure")
    assert "The temperature was fitted on 400 validation images.\n\nMeasured on" in text
    assert "\n- ECE: of 15 bins\n- Brier score: a sum\n- negative log likelihood: a mean\n" in text
    assert text.index("## Operating points") > text.index("a mean")
    assert "finds 95% of the class's validation images" in text and text.endswith("or none.\n")
