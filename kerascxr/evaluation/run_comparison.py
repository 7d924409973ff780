"""Finished runs against each other: differences of their test metrics, with uncertainty."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from kerascxr.evaluation.comparison import difference, holm, mcnemar
from kerascxr.evaluation.uncertainty import (
    LEVEL,
    SEGMENTATION_MEASURES,
    Resampled,
    classification_metrics,
    interval,
    segmentation_metrics,
)
from kerascxr.runs.atomic import write_json, write_text
from kerascxr.runs.reading import find_runs, read_predictions, truth_and_probabilities
from kerascxr.tables import (
    LABELS,
    Table,
    format_value,
    markdown_table,
    text_table,
    with_interval,
)

SIGNIFICANT = 0.05
_MEASURES = {"classification": ("accuracy", "f1", "auc"), "segmentation": SEGMENTATION_MEASURES}
_LESS_IS_BETTER = ("hd95", "assd")


@dataclass(frozen=True)
class Tested:
    """A run's test predictions.

    Attributes:
        path: The run folder.
        name: Its name for people.
        task: "classification" or "segmentation".
        data: The fingerprint of its images.
        classes: A classifier's classes.
        rows: predictions.csv, by image.
        grouped: Whether it says which images belong together.
    """

    path: Path
    name: str
    task: str
    data: str
    classes: tuple[str, ...]
    rows: dict[str, dict[str, str]]
    grouped: bool

    @property
    def truth(self) -> np.ndarray:
        """Returns the true class indices, int64 ``(n,)``."""
        return truth_and_probabilities(list(self.rows.values()), self.classes)[0]

    @property
    def probabilities(self) -> np.ndarray:
        """Returns the class probabilities, float64 ``(n, k)``."""
        return truth_and_probabilities(list(self.rows.values()), self.classes)[1]

    @property
    def right(self) -> np.ndarray:
        """Returns whether each image's class was recognised, bool ``(n,)``."""
        return self.probabilities.argmax(axis=1) == self.truth


def compare_runs(paths: Sequence[Path], to: Path | None = None) -> str:
    """Compares finished runs, each with each.

    Args:
        paths: Run folders, of one task, two or more; a folder of run folders stands for them all.
        to: A folder for compare.md and compare.json.

    Returns:
        What to print: notes and tables.

    Raises:
        ValueError: If runs are missing, damaged or of several data sets, or fewer than two are of
            one task with the same classes.
    """
    runs, notes = _of_one_kind(_named_apart([read_tested(path) for path in _run_folders(paths)]))
    paired, note = _pairing(runs)
    notes.append(note)
    if paired:
        runs = _same_order_and_groups(runs)
    without = [run.name for run in runs if not run.grouped]
    if without:
        notes.append(
            f"{'; '.join(without)}: predictions.csv has no groups, so each image counts as "
            "independent evidence; near-duplicates make the intervals too narrow."
        )
    metrics = [_metrics(run) for run in runs]
    differences = _differences(runs, metrics, paired)
    task = runs[0].task
    tables = [_scores_table(runs, metrics), _differences_table(differences)]
    notes.append(
        f"Brackets are {LEVEL:.0%} intervals. A difference is the second run's figure minus the "
        "first's; p is adjusted over the pairs (Holm). 'No difference shown' does not mean equal."
    )
    if task == "classification" and paired:
        notes.append("p of the accuracy is McNemar's (mid-p), which takes images as independent.")
    if to is not None:
        lines = ["# Comparison", *notes]
        for table in tables:
            lines += [f"## {table.title}", markdown_table(table.header, table.rows)]
        write_text(to / "compare.md", "\n\n".join(lines) + "\n")
        scores = [
            {"name": run.name, "path": str(run.path), "images": len(run.rows)}
            | {name: _score(name, metric) for name, metric in of.items()}
            for run, of in zip(runs, metrics, strict=True)
        ]
        content = {"task": task, "paired": paired, "level": LEVEL, "notes": notes}
        write_json(to / "compare.json", content | {"runs": scores, "differences": differences})
    shown = [f"{table.title}\n{text_table(table.header, table.rows)}" for table in tables]
    return "\n\n".join([*shown, *notes])


def read_tested(path: Path) -> Tested:
    """Reads what a run's test left.

    Raises:
        ValueError: If the run is not finished, or a file is damaged.
    """
    try:
        metrics = json.loads((path / "metrics.json").read_text(encoding="utf-8"))
        task = metrics["task"]
        rows = {row["id"]: row for row in read_predictions(path / "predictions.csv")}
        grouped = all("group" in row for row in rows.values())
        return Tested(
            path,
            metrics["title"],
            task,
            metrics["data"]["fingerprint"],
            tuple(metrics["test"].get("classes", ())),
            {name: row if grouped else row | {"group": name} for name, row in rows.items()},
            grouped,
        )
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"{path} must be a finished run's folder with metrics.json and predictions.csv. "
            f"They cannot be read ({error})."
        ) from None


def _run_folders(paths: Sequence[Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        # A test on another set, RUN/external/SET, has no DONE of its own.
        inside = [path] if (path / "metrics.json").exists() else find_runs([path])
        found += [run for run in inside if run not in found]
    if len(found) < 2:
        raise ValueError(f"runs must be two or more to compare. Got {len(found)}.")
    return found


def _named_apart(runs: list[Tested]) -> list[Tested]:
    often = Counter(run.name for run in runs)
    return [
        replace(run, name=f"{run.name} ({run.path.name})") if often[run.name] > 1 else run
        for run in runs
    ]


def _of_one_kind(runs: list[Tested]) -> tuple[list[Tested], list[str]]:
    """Keeps the runs of the most frequent task and classes; notes name those left out."""
    (kind, count), *_ = Counter((run.task, run.classes) for run in runs).most_common()
    if count < 2:
        first, other = runs[:2]
        raise ValueError(
            "runs must be of one task and the same classes. Got "
            f"{first.name}: {', '.join((first.task, *first.classes))}; "
            f"{other.name}: {', '.join((other.task, *other.classes))}."
        )
    kept = [run for run in runs if (run.task, run.classes) == kind]
    notes = [
        f"{run.name} is left out: its task and classes are "
        f"{', '.join((run.task, *run.classes))}, not {', '.join((kind[0], *kind[1]))}."
        for run in runs
        if (run.task, run.classes) != kind
    ]
    return kept, notes


def _pairing(runs: Sequence[Tested]) -> tuple[bool, str]:
    """Says whether all runs were tested on the same images, and in words what follows."""
    shared = set(runs[0].rows).intersection(*(run.rows for run in runs))
    counts = " and ".join(f"{len(run.rows):,}" for run in runs)
    if len({run.data for run in runs}) > 1:
        digests = ", ".join(f"{run.name}: {run.data[:12]}" for run in runs)
        raise ValueError(
            "runs must be tested on the same images, or on splits of one set. Got data "
            f"fingerprints {digests}, and test sets of {counts} images with {len(shared):,} shared "
            "names."
        )
    if all(len(run.rows) == len(shared) for run in runs):
        return True, f"The same {len(shared):,} test images; differences are paired."
    return False, (
        f"The test sets differ ({counts} images, {len(shared):,} shared): the runs split one set "
        "in different ways. So differences are unpaired, with wider intervals, and no McNemar test."
    )


def _same_order_and_groups(runs: Sequence[Tested]) -> list[Tested]:
    """Gives all runs the first one's order of images, and the groups of the first that has any."""
    first = runs[0]
    known = next((run for run in runs if run.grouped), first)
    ordered = []
    for run in runs:
        rows = {name: run.rows[name] | {"group": known.rows[name]["group"]} for name in first.rows}
        ordered.append(replace(run, rows=rows, grouped=known.grouped))
    if first.task == "classification":
        for run in ordered[1:]:
            differing = int((run.truth != ordered[0].truth).sum())
            if differing:
                raise ValueError(
                    "runs must agree on the true classes. "
                    f"Got {differing} images that {first.name} and {run.name} label differently."
                )
    return ordered


def _metrics(run: Tested) -> dict[str, Resampled]:
    rows = list(run.rows.values())
    if run.task == "classification":
        groups = [row["group"] for row in rows]
        overall, _ = classification_metrics(run.truth, run.probabilities, groups)
        return {name: overall[name] for name in _MEASURES[run.task]}
    text = ("id", "group", "label")
    return segmentation_metrics(
        [
            {
                key: value if key in text else (float(value) if value else None)
                for key, value in row.items()
            }
            for row in rows
        ]
    )


def _differences(
    runs: Sequence[Tested], metrics: Sequence[dict[str, Resampled]], paired: bool
) -> list[dict[str, Any]]:
    """Returns one dict a pair and measure, pair by pair, p adjusted over the pairs."""
    found: list[dict[str, Any]] = []
    for measure in _MEASURES[runs[0].task]:
        of_measure: list[dict[str, Any]] = []
        for (one, first), (two, second) in combinations(zip(runs, metrics, strict=True), 2):
            item: dict[str, Any] = {"first": one.name, "second": two.name, "measure": measure}
            change = difference(first[measure], second[measure], paired)
            if change is None:
                continue
            item |= {"difference": change.value, "interval": [change.low, change.high]}
            item["p"] = change.p
            if measure == "accuracy" and paired:
                test = mcnemar(one.right, two.right)
                item |= {"p": test.p, "only_first": test.only_first}
                item["only_second"] = test.only_second
            of_measure.append(item)
        for item, p in zip(of_measure, holm([item["p"] for item in of_measure]), strict=True):
            item["p_adjusted"] = p
            item["verdict"] = _verdict(item)
        found += of_measure
    pairs = [(one.name, two.name) for one, two in combinations(runs, 2)]
    return sorted(found, key=lambda item: pairs.index((item["first"], item["second"])))


def _verdict(item: dict[str, Any]) -> str:
    low, high = item["interval"]
    if low <= 0 <= high or item["p_adjusted"] >= SIGNIFICANT:
        return "no difference shown"
    second = (item["difference"] > 0) != (item["measure"] in _LESS_IS_BETTER)
    return f"{item['second' if second else 'first']} is better"


def _score(name: str, metric: Resampled) -> dict[str, Any]:
    return {"value": metric.value, "interval": interval(metric, name in _LESS_IS_BETTER)}


def _scores_table(runs: Sequence[Tested], metrics: Sequence[dict[str, Resampled]]) -> Table:
    measures = _MEASURES[runs[0].task]
    rows = [
        [run.name, len(run.rows), len({row["group"] for row in run.rows.values()})]
        + [with_interval(**_score(name, of[name])) for name in measures]
        for run, of in zip(runs, metrics, strict=True)
    ]
    header = ["run", "images", "groups", *(LABELS.get(name, name) for name in measures)]
    return Table("Runs", header, rows)


def _differences_table(differences: Sequence[dict[str, Any]]) -> Table:
    rows = []
    for item in differences:
        low, high = item["interval"]
        only = f"{item['only_first']} : {item['only_second']}" if "only_first" in item else None
        rows.append(
            [
                item["first"],
                item["second"],
                LABELS.get(item["measure"], item["measure"]),
                f"{item['difference']:+.4f} [{low:+.3f}, {high:+.3f}]",
                only,
                format_value(item["p_adjusted"]),
                item["verdict"],
            ]
        )
    header = ["first", "second", "measure", "difference", "only one right", "p", "verdict"]
    return Table("Differences", header, rows)
