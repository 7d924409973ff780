"""Calibration in the report: a comparison of runs, and a run's figure and operating points."""

from collections.abc import Mapping, Sequence
from typing import Any

from kerascxr.report.blocks import Block, Figure, Section, Tabulated
from kerascxr.runs.calibration_tables import (
    MEASURES,
    bound_note,
    operating_points_note,
    operating_points_table,
)
from kerascxr.runs.reading import Run
from kerascxr.tables import Table


def overview(runs: Sequence[Run]) -> list[Section]:
    """Compares the calibration of classifiers; nothing where no run has any.

    Args:
        runs: Finished classification runs.

    Returns:
        One section or none.
    """
    rows: list[list[Any]] = []
    at_bounds: dict[str, list[str]] = {}
    for run in runs:
        found = run.metrics.get("calibration")
        if found:
            scores = [found[side][key] for key in MEASURES for side in ("before", "after")]
            rows.append([run.name, found["temperature"], *scores])
            at_bound = bound_note(found)
            if at_bound:
                at_bounds.setdefault(at_bound, []).append(run.name)
    if not rows:
        return []
    names = ("ECE", "Brier", "NLL")
    header = ["model", "temperature", *(f"{name} {side}" for name in names for side in _SIDES)]
    text = (
        "A model is calibrated if 80 of 100 images that it assigns to a class with a probability "
        "of 80% belong to that class. Its logits are divided by one number, the temperature, which "
        "is fitted on the validation images: above 1 the model was overconfident, below 1 "
        "underconfident. The temperature changes no predicted class. All other metrics are of the "
        "probabilities before it; exports and predictions return those after it."
    )
    note = (
        "On the test images; lower is better. ECE: the mean distance between confidence and "
        "accuracy, over bins of confidence; with few images it exceeds 0 by chance alone. Brier: "
        "squared error of the probabilities, summed over classes. NLL: negative log likelihood."
    )
    table = Tabulated(Table("Calibration", header, rows), "calibration", note)
    warnings = [f"{'; '.join(names)}: {at_bound}" for at_bound, names in at_bounds.items()]
    return [Section("Calibration", [text, table, *warnings])]


def blocks_of(run: Run, label: str) -> list[Block]:
    """Returns a classifier's reliability figure and operating points; nothing for an older run.

    Args:
        run: A finished classification run.
        label: Prefix of the labels of its tables and figures, unique in the report.
    """
    found = run.metrics.get("calibration")
    if not found:
        return []
    blocks: list[Block] = []
    path = run.figure("reliability")
    if path:
        blocks.append(Figure(path, f"{label}-reliability", _alt(run.name, found), _CAPTION))
    points = operating_points_table(found)
    note = operating_points_note(found)
    return [*blocks, Tabulated(points, f"{label}-operating-points", note, beside=True)]


_SIDES = ("before", "after")
_CAPTION = (
    "Reliability: the share of correctly classified test images by confidence, with 95% "
    "intervals. Below the dashed line the model is overconfident. Bars: images in each bin."
)


def _alt(name: str, calibration: Mapping[str, Any]) -> str:
    sides = []
    for side in _SIDES:
        last = next(part for part in reversed(calibration[side]["bins"]) if part["images"])
        sides.append(
            f"{side} the temperature of {calibration['temperature']:.2f} the expected calibration "
            f"error is {calibration[side]['ece']:.3f}, and of the {last['images']} most confident "
            f"images (mean confidence {last['confidence']:.3f}) {last['accuracy']:.1%} are right"
        )
    return f"{name}. Accuracy over confidence: {'; '.join(sides)}."
