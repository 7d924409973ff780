"""Tests of a run on other sets, beside its own test, as blocks of the report."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kerascxr.evaluation.metric_tables import added_measures
from kerascxr.evaluation.metrics import metric_title
from kerascxr.names import listed
from kerascxr.report.blocks import Section, Tabulated
from kerascxr.runs.abstention_tables import answers_table
from kerascxr.runs.reading import Run
from kerascxr.tables import Table, percent_with_interval, with_interval

_MEASURES = {
    "classification": ("accuracy", "f1", "precision", "recall", "auc"),
    "segmentation": ("dice", "iou", "hd95", "assd", "pooled_dice"),
}
_NOTE = (
    "One model, not trained again. Internal: the test images of the set that it was trained on. In "
    "brackets: 95% intervals. Classes that a set does not have are not averaged, so it is compared "
    "with the internal test images of the classes that it has. Left out: images of a set that the "
    "model was trained or validated on, recognised by their pixels, and near-duplicates of them; "
    "these are not looked for where the store of the training is gone."
)

_COMMON = "internal_of_common_classes"

_HALF_WIDTH = 4
"""Columns that fit half a printed page."""

_ANSWERS_NOTE = (
    "Shares of each set's images, with 95% intervals. The model knows none of the classes of these "
    "sets, or not all: an answer can be right only by chance."
)


def read_external(run: Path) -> dict[str, dict[str, Any]]:
    """Returns the metrics.json of each external test of a run, by the set's folder name."""
    return {
        path.parent.name: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(run.glob("external/[!.]*/metrics.json"))
    }


def read_answers(run: Path) -> dict[str, dict[str, Any]]:
    """Returns the answers.json of each set of other classes that a run was tested on, by folder."""
    return {
        path.parent.name: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(run.glob("external/[!.]*/answers.json"))
    }


def external_name(folder: str) -> str:
    """Returns a set's name, without the digest of where it lay."""
    return re.sub(r"-[0-9a-f]{8}$", "", folder)


def external_sections(runs: Sequence[Run]) -> list[Section]:
    """Returns a section with a table for each run; none without an external test.

    Args:
        runs: Finished runs.
    """
    tables = [_table(run, number) for number, run in enumerate(runs, 1) if read_external(run.path)]
    tables += [
        _answers(run, number) for number, run in enumerate(runs, 1) if read_answers(run.path)
    ]
    return [Section("External tests", [*tables])] if tables else []


def answers_text(run: Run) -> list[str]:
    """Returns a sentence for each set of other classes that a run was tested on."""
    said = []
    for folder, of in read_answers(run.path).items():
        found = of["answers"]
        undecided = found["not_decided"]
        least = found["confident_from"]
        shares = {name: of["confident_and_decided"] for name, of in found["answers"].items()}
        name = max(shares, key=lambda kind: shares[kind]["value"])
        said.append(
            f"{run.name} does not decide on "
            f"{percent_with_interval(undecided['value'], undecided['interval'])} of the "
            f"{found['n']:,} images of {external_name(folder)} (other or unknown classes); its "
            f"commonest decision at a probability of {least} or more is {name}, on "
            f"{percent_with_interval(shares[name]['value'], shares[name]['interval'])}."
        )
    return said


def common_classes(internal: Mapping[str, Any]) -> list[str]:
    """Returns the classes of "internal_of_common_classes" of an external test's metrics.json."""
    return [name for name in internal["classes"] if name not in internal["absent_classes"]]


def _answers(run: Run, number: int) -> Tabulated:
    """Lays out what a model answers on sets of other classes, beside its own test images."""
    found = read_answers(run.path)
    sets = {external_name(folder): of["answers"] for folder, of in found.items()}
    own = {"own test images": run.metrics["abstention"]} if "abstention" in run.metrics else {}
    table = answers_table(own | sets, next(iter(found.values()))["classes"])
    titled = table._replace(title=f"{run.name} on sets of other or unknown classes")
    fits = len(table.header) <= _HALF_WIDTH
    return Tabulated(titled, f"answers-{number}", _ANSWERS_NOTE, beside=fits)


def _table(run: Run, number: int) -> Tabulated:
    found = read_external(run.path)
    own = [of[_COMMON] for of in found.values() if _COMMON in of]
    parts = {f"internal: {listed(common_classes(of))}": of for of in own}
    tests = [
        (f"internal: {run.source}", None, run.metrics["test"]),
        *((name, None, of) for name, of in parts.items()),
        *(
            (f"external: {external_name(name)}", _left_out(of["data"]), of["test"])
            for name, of in found.items()
        ),
    ]
    measures = list(_MEASURES[run.task])
    if run.task == "classification":
        measures += added_measures([test for _, _, test in tests], measures)
    header = [
        "set",
        "images",
        "left out",
        *(metric_title(run.task, measure) for measure in measures),
    ]
    rows = [[name, test["n"], left_out, *_cells(test, measures)] for name, left_out, test in tests]
    note = _NOTE
    if run.task == "segmentation":
        counts = "; ".join(f"{name}: {test['undefined_distances']:,}" for name, _, test in tests)
        note += f" HD95 and ASSD leave out images where one mask is empty ({counts})."
    return Tabulated(Table(f"{run.name} on each set", header, rows), f"external-{number}", note)


def _left_out(data: Mapping[str, Any]) -> Any:
    if data.get("near_duplicates_checked", True):
        return data["left_out"]
    return f"{data['left_out']:,}, near-duplicates not looked for"


def _cells(test: Mapping[str, Any], measures: Sequence[str]) -> list[Any]:
    ends = test.get("intervals", {})
    return [with_interval(test.get(measure), ends.get(measure)) for measure in measures]
