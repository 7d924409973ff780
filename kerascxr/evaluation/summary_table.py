"""The table of a folder of folds or seeds: a row per run, their mean and their joint scores."""

from collections.abc import Mapping
from typing import Any

from kerascxr.evaluation.metrics import metric_title
from kerascxr.tables import Table, format_value, with_interval

_SHOWN = {
    "classification": ("accuracy", "precision", "recall", "f1", "auc"),
    "segmentation": ("dice", "iou", "hd95", "assd", "pooled_dice"),
}


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
    header = ["run", "images", *(metric_title(summary["task"], measure) for measure in measures)]
    return Table(f"{summary['title']}: {len(summary['runs'])} {summary['kind']}", header, rows)
