"""What a robustness test measures, and its result read back from a run folder."""

import json
from pathlib import Path
from statistics import fmean
from typing import Any

RESULT = "robustness/robustness.json"
CLEAN = "none"
"""The corruption, at severity 0, of the unchanged images."""

SUMMARY_SEVERITIES = (1, 3)
"""The severities that ``summarise`` takes the mean over: mild, and clearly visible."""

MEASURES = {"classification": ("accuracy", "f1", "auc"), "segmentation": ("dice", "iou")}
"""The measures of a task; the figure shows the first."""


def read_robustness(run: Path) -> dict[str, Any] | None:
    """Reads a run's robustness.json.

    Args:
        run: The run folder.

    Returns:
        ``task``, ``title``, ``images`` (how many), ``seed``, ``level`` (of the intervals),
        ``computed_by`` (engine, device and versions), ``trained_on`` (corruptions that the
        training's augmentation makes as well), ``strengths`` (corruption -> unit and values),
        ``cells`` (one dict a test: corruption, severity, measures, ``intervals``) and what the test
        was made on; None where the run has no such test, or an unfinished one.
    """
    path = run / RESULT
    if not path.exists():
        return None
    result = json.loads(path.read_text(encoding="utf-8"))
    wanted = 1 + sum(len(strength["values"]) for strength in result["strengths"].values())
    return result if len(result["cells"]) == wanted else None


def by_severity(result: dict[str, Any], measure: str) -> tuple[float, dict[str, list[float]]]:
    """Returns a measure of the clean images, and of each corruption by rising severity."""
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


def summarise(result: dict[str, Any], measure: str) -> list[dict[str, Any]]:
    """Takes means over corruptions: over all, over those of the training, and over the others.

    Args:
        result: From ``read_robustness``.
        measure: One of the task's.

    Returns:
        One dict per group that has a corruption: ``group`` ("all", "in training", "held out"),
        ``corruptions``, ``mean`` over them at ``SUMMARY_SEVERITIES``, and ``mild``, at severity 1.
    """
    _, scores = by_severity(result, measure)
    groups = {
        "all": list(scores),
        "in training": [name for name in scores if name in result["trained_on"]],
        "held out": [name for name in scores if name not in result["trained_on"]],
    }
    return [
        {
            "group": group,
            "corruptions": names,
            "mean": fmean(
                scores[name][place - 1] for name in names for place in SUMMARY_SEVERITIES
            ),
            "mild": fmean(scores[name][0] for name in names),
        }
        for group, names in groups.items()
        if names
    ]
