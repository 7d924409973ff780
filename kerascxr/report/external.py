"""Tests of a run on other sets, beside its own test, as blocks of the report."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kerascxr.evaluation.metrics import metric_title
from kerascxr.plots.external import Score, internal_and_external
from kerascxr.report.blocks import Figure, Section, Tabulated
from kerascxr.runs.reading import Run
from kerascxr.tables import Table, with_interval

_MEASURES = {
    "classification": ("accuracy", "f1", "precision", "recall", "auc"),
    "segmentation": ("dice", "iou", "hd95", "assd", "pooled_dice"),
}
_NOTE = (
    "One model, not trained again. Internal: the test images of the set that it was trained on. In "
    "brackets: 95% intervals. Classes that a set does not have are not averaged. Left out: images "
    "of a set that the model was trained or validated on, recognised by their pixels."
)


def read_external(run: Path) -> dict[str, dict[str, Any]]:
    """Returns the metrics.json of each external test of a run, by the set's folder name."""
    return {
        path.parent.name: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(run.glob("external/[!.]*/metrics.json"))
    }


def external_sections(run: Run, prefix: str, drawn: Path) -> list[Section]:
    """Returns a section with a table and a figure; none without an external test.

    Args:
        run: A finished run.
        prefix: What names of the figure and the table begin with.
        drawn: The folder to draw the figure in.
    """
    found = read_external(run.path)
    if not found:
        return []
    measures = _MEASURES[run.task]
    tests = {f"internal: {run.source}": run.metrics["test"]}
    tests |= {f"external: {name}": of["test"] for name, of in found.items()}
    left_out = {f"external: {name}": of["data"]["left_out"] for name, of in found.items()}
    header = [
        "set",
        "images",
        "left out",
        *(metric_title(run.task, measure) for measure in measures),
    ]
    rows = [
        [name, test["n"], left_out.get(name), *_cells(test, measures)]
        for name, test in tests.items()
    ]
    table = Tabulated(
        Table("Internal and external tests", header, rows), f"{prefix}-external", _NOTE
    )
    measure = measures[0]
    scores = [
        Score(name, test[measure], test.get("intervals", {}).get(measure), index > 0)
        for index, (name, test) in enumerate(tests.items())
    ]
    path = drawn / f"{prefix}-external.png"
    label = metric_title(run.task, measure)
    internal_and_external(scores, label, path)
    values = ", ".join(f"{score.name} {score.value:.3f}" for score in scores)
    alt = f"{run.name}. {label} on each set, with its 95% interval: {values}."
    figure = Figure(path, f"{prefix}-external", alt, f"{label} on each set.")
    return [Section(f"External tests: {run.name}", [table, figure], level=3)]


def _cells(test: Mapping[str, Any], measures: tuple[str, ...]) -> list[Any]:
    ends = test.get("intervals", {})
    return [with_interval(test[measure], ends.get(measure)) for measure in measures]
