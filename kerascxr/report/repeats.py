"""What cross-validation or repeated seeds say together, for their summary and for the report."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from kerascxr.report.blocks import Section, Tabulated
from kerascxr.runs.reading import Run
from kerascxr.tables import LABELS, Table, format_value, with_interval

_SHOWN = {
    "classification": ("accuracy", "precision", "recall", "f1", "auc"),
    "segmentation": ("dice", "iou", "hd95", "assd", "pooled_dice"),
}


def repeat_sections(runs: Sequence[Run]) -> list[Section]:
    """Returns a section for each folder of folds or seeds that the runs lie in.

    Args:
        runs: Finished runs, of which some may be parts of such a folder.
    """
    parts = []
    for folder in dict.fromkeys(run.path.parent for run in runs):
        path = folder / "summary.json"
        if not path.exists():
            continue
        summary = json.loads(path.read_text(encoding="utf-8"))
        shown = {run.path.name for run in runs if run.path.parent == folder}
        if shown == {part["run"] for part in summary["runs"]}:
            table = summary_table(summary)
            note = " ".join(summary["notes"])
            parts.append(Section(table.title, [Tabulated(table, f"repeats-{folder.name}", note)]))
    return parts


def summary_table(summary: Mapping[str, Any]) -> Table:
    """Lays a summary out: a row a run, their mean ± deviation, and what they are together."""
    measures = _SHOWN[summary["task"]]
    rows = [
        [run["run"], run["test"]["n"], *(run["test"][measure] for measure in measures)]
        for run in summary["runs"]
    ]
    means = []
    for measure in measures:
        over = summary["spread"].get(measure)
        means.append(over and f"{format_value(over['mean'])} ± {format_value(over['std'])}")
    rows.append(["mean ± SD", None, *means])
    for name in ("pooled", "ensemble"):
        if name in summary:
            test = summary[name]
            ends = test.get("intervals", {})
            together = [with_interval(test[measure], ends.get(measure)) for measure in measures]
            rows.append([name, test["n"], *together])
    header = ["run", "images", *(LABELS.get(measure, measure) for measure in measures)]
    return Table(f"{summary['title']}: {len(summary['runs'])} {summary['kind']}", header, rows)
