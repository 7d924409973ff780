"""What a robustness test measures, and its result read back from a run folder."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kerascxr.evaluation.calibration import expected_calibration_error, reliability_curve
from kerascxr.evaluation.shares import share_interval

RESULT = "robustness/robustness.json"
CLEAN = "none"
"""The corruption, at severity 0, of the unchanged images."""

SUMMARY_SEVERITIES = (1, 3)
"""The severities that ``summarise`` takes the mean over: mild, and clearly visible."""

MEASURES = {"classification": ("accuracy", "f1", "auc"), "segmentation": ("dice", "iou")}
"""The measures of a task; the figure shows the first."""

ECE, NOT_DECIDED, OF_DECIDED = "ece", "not_decided", "accuracy_of_decided"
RELIABILITY = (ECE, NOT_DECIDED, OF_DECIDED)
"""What ``measure_reliability`` gives; the last two only of a run with a decision rule."""


def read_robustness(run: Path) -> dict[str, Any] | None:
    """Reads a run's robustness.json.

    Args:
        run: The run folder.

    Returns:
        ``task``, ``title``, ``images`` (how many), ``seed``, ``level`` (of the intervals),
        ``measures`` (those of each cell, in order; an earlier version's result has ``MEASURES``),
        ``computed_by`` (engine, device and versions), ``trained_on`` (corruptions that the
        training's augmentation makes as well), ``strengths`` (corruption -> unit and values),
        ``cells`` (one dict a test: corruption, severity, measures, ``intervals``) and what the test
        was made on; None where the run has no such test, or an unfinished one.
    """
    path = run / RESULT
    if not path.exists():
        return None
    result = json.loads(path.read_text(encoding="utf-8"))
    result.setdefault("measures", list(MEASURES[result["task"]]))
    wanted = 1 + sum(len(strength["values"]) for strength in result["strengths"].values())
    return result if len(result["cells"]) == wanted else None


def measure_reliability(
    truth: np.ndarray,
    probabilities: np.ndarray,
    groups: Sequence[str],
    decided: np.ndarray | None = None,
) -> tuple[dict[str, float | None], dict[str, list[float] | None]]:
    """Measures whether a classifier's confidence is right and how often it answers.

    Args:
        truth: True class indices, int (n,), 0..k-1.
        probabilities: float (n, k), calibrated.
        groups: The images' groups, n names.
        decided: Whether each image has a decision, bool (n,); None without a decision rule.

    Returns:
        The values of ``RELIABILITY``: ``ece`` and, with a rule, ``not_decided`` (share of images)
        and ``accuracy_of_decided`` (None where nothing is decided). Then the 95 % intervals of the
        last two; the ECE has none, see docs/design/intervals.md.
    """
    values: dict[str, float | None] = {
        ECE: expected_calibration_error(reliability_curve(truth, probabilities))
    }
    if decided is None:
        return values, {}
    names = np.asarray(groups, dtype=str)
    right = (probabilities.argmax(axis=1) == truth)[decided]
    ends = (share_interval(~decided, names), share_interval(right, names[decided]))
    values |= {
        NOT_DECIDED: float((~decided).mean()),
        OF_DECIDED: float(right.mean()) if len(right) else None,
    }
    pairs = zip((NOT_DECIDED, OF_DECIDED), ends, strict=True)
    return values, {measure: limits and list(limits) for measure, limits in pairs}


def mean_of(cells: Sequence[Mapping[str, Any]], measure: str) -> float | None:
    """Returns the mean of a measure over tests.

    Each test counts the same. Only the accuracy of the decisions counts each decided image the
    same, so that a test in which hardly anything is decided does not count as much as another.

    Args:
        cells: Some of a result's cells.
        measure: One of the result's.

    Returns:
        The mean; None where no test has a value.
    """
    found = [
        (cell[measure], 1 - cell[NOT_DECIDED] if measure == OF_DECIDED else 1.0)
        for cell in cells
        if cell[measure] is not None
    ]
    total = sum(weight for _, weight in found)
    return sum(value * weight for value, weight in found) / total if total else None


def by_severity(result: dict[str, Any], measure: str) -> tuple[Any, dict[str, list[Any]]]:
    """Returns a measure of the clean images, and of each corruption by rising severity.

    Each is a float, or None where the measure is undefined.
    """
    cells = {(cell["corruption"], cell["severity"]): cell[measure] for cell in result["cells"]}
    return cells[CLEAN, 0], {
        name: [cells[name, place] for place in range(1, len(strength["values"]) + 1)]
        for name, strength in result["strengths"].items()
    }


def intervals_by_severity(
    result: dict[str, Any], measure: str
) -> tuple[list[float] | None, dict[str, list[list[float] | None]]]:
    """Returns the 95 % intervals of what ``by_severity`` returns; None where there is none."""
    cells = {
        (cell["corruption"], cell["severity"]): cell.get("intervals", {}).get(measure)
        for cell in result["cells"]
    }
    return cells[CLEAN, 0], {
        name: [cells[name, place] for place in range(1, len(strength["values"]) + 1)]
        for name, strength in result["strengths"].items()
    }


def cells_of(
    result: dict[str, Any], names: Sequence[str], severities: Sequence[int]
) -> list[dict[str, Any]]:
    """Returns the tests of some corruptions at some severities."""
    return [
        cell
        for cell in result["cells"]
        if cell["corruption"] in names and cell["severity"] in severities
    ]


def summarise(result: dict[str, Any], measure: str) -> list[dict[str, Any]]:
    """Takes means over corruptions: over all, over those of the training, and over the others.

    Args:
        result: From ``read_robustness``.
        measure: One of the result's.

    Returns:
        One dict per group that has a corruption: ``group`` ("all", "in training", "held out"),
        ``corruptions``, ``mean`` over them at ``SUMMARY_SEVERITIES``, and ``mild``, at severity 1;
        see ``mean_of``.
    """
    groups = {
        "all": list(result["strengths"]),
        "in training": [name for name in result["strengths"] if name in result["trained_on"]],
        "held out": [name for name in result["strengths"] if name not in result["trained_on"]],
    }
    return [
        {
            "group": group,
            "corruptions": names,
            "mean": mean_of(cells_of(result, names, SUMMARY_SEVERITIES), measure),
            "mild": mean_of(cells_of(result, names, (1,)), measure),
        }
        for group, names in groups.items()
        if names
    ]
