"""Finished runs against each other: differences of their test metrics, with uncertainty."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from kerascxr.evaluation.comparison import difference, holm, mcnemar
from kerascxr.evaluation.metrics import METRICS, less_is_better
from kerascxr.evaluation.segmentation import DISTANCES, MM_MEASURES
from kerascxr.evaluation.uncertainty import (
    LEVEL,
    Resampled,
    classification_metrics,
    segmentation_metrics,
)
from kerascxr.names import listed, with_folders
from kerascxr.parsing import read_yaml
from kerascxr.runs.inflated_scores import why_inflated_by
from kerascxr.runs.reading import (
    each_once,
    find_runs,
    mask_scores,
    read_predictions,
    truth_and_probabilities,
)

SIGNIFICANT = 0.05
FIRST_BETTER, SECOND_BETTER, NOT_SHOWN = "first better", "second better", "not shown"
"""The verdicts on a pair of runs. Not shown does not mean equal."""


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
        inflated: Why its scores say too much, the rest of a sentence; None if they do not.
    """

    path: Path
    name: str
    task: str
    data: str
    classes: tuple[str, ...]
    rows: dict[str, dict[str, str]]
    grouped: bool
    inflated: str | None = None

    @property
    def truth(self) -> np.ndarray:
        """Returns the true class indices, int64 ``(n,)``."""
        return truth_and_probabilities(list(self.rows.values()), self.classes)[0]

    @property
    def probabilities(self) -> np.ndarray:
        """Returns the class probabilities, float64 ``(n, k)``."""
        return truth_and_probabilities(list(self.rows.values()), self.classes)[1]

    @property
    def groups(self) -> np.ndarray:
        """Returns the images' groups, str ``(n,)``."""
        return np.array([row["group"] for row in self.rows.values()], dtype=str)

    @property
    def right(self) -> np.ndarray:
        """Returns whether each image's class was recognised, bool ``(n,)``."""
        return self.probabilities.argmax(axis=1) == self.truth


def compare_runs(paths: Sequence[Path]) -> dict[str, Any]:
    """Compares finished runs, each with each.

    Args:
        paths: Run folders, of one task, two or more; a folder of run folders stands for them all.

    Returns:
        Ready for JSON: ``task``, ``classes``, ``paired``, ``shared`` (test images of all runs),
        ``level`` (of the intervals), ``runs`` (name, path, images, groups, and ``metrics``: metric
        -> value and interval), ``differences`` (one dict a pair and metric, with a verdict),
        ``left_out`` (runs of another task or other classes), ``without_groups`` (names of runs
        whose predictions.csv has no groups), ``undefined_distances`` (name of a U-Net's run -> test
        images of which either mask alone is empty), ``inflated`` (name of a run -> why its scores
        say too much).

    Raises:
        ValueError: If runs are missing, damaged or of several data sets, or fewer than two are of
            one task with the same classes.
    """
    runs, left_out = _of_one_kind(_named_apart([read_tested(path) for path in _run_folders(paths)]))
    shared = _shared_images(runs)
    paired = all(len(run.rows) == shared for run in runs)
    undefined = {run.name: len(_without_distance(run)) for run in runs}
    if paired:
        runs = _of_common_distances(_same_order_and_groups(runs))
    task, metrics = runs[0].task, [_metrics(run) for run in runs]
    return {
        "task": task,
        "classes": list(runs[0].classes),
        "paired": paired,
        "shared": shared,
        "level": LEVEL,
        "runs": [
            {
                "name": run.name,
                "path": str(run.path),
                "images": len(run.rows),
                "groups": len({row["group"] for row in run.rows.values()}),
                "metrics": {name: _score(metric) for name, metric in of.items()},
            }
            for run, of in zip(runs, metrics, strict=True)
        ],
        "differences": _differences(runs, metrics, paired),
        "left_out": [
            {"name": run.name, "task": run.task, "classes": list(run.classes)} for run in left_out
        ],
        "without_groups": [run.name for run in runs if not run.grouped],
        "undefined_distances": {name: count for name, count in undefined.items() if count},
        "inflated": {run.name: run.inflated for run in runs if run.inflated},
    }


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
        config = path / "config.yaml"  # which an external test does not have
        options = read_yaml(config) if config.exists() else {}
        return Tested(
            path,
            metrics["title"],
            task,
            metrics["data"]["fingerprint"],
            tuple(metrics["test"].get("classes", ())),
            {name: row if grouped else row | {"group": name} for name, row in rows.items()},
            grouped,
            why_inflated_by(options) or _through_starting_weights(metrics),
        )
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"{path} must be a finished run's folder with metrics.json and predictions.csv. "
            f"They cannot be read ({error})."
        ) from None


def _through_starting_weights(metrics: Mapping[str, Any]) -> str | None:
    leak = metrics.get("leak", {})
    count = leak.get("through_starting_weights")
    if not count:
        return None
    return (
        f"started from weights that were trained or validated on {count:,} of its "
        f"{leak['test_images']:,} test images, or on others of their groups."
    )


def _run_folders(paths: Sequence[Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        # A test on another set, RUN/external/SET, has no DONE of its own.
        found += [path] if (path / "metrics.json").exists() else find_runs([path])
    runs = each_once(found)
    if len(runs) < 2:
        raise ValueError(f"runs must be two or more to compare. Got {len(runs)}.")
    return runs


def _named_apart(runs: list[Tested]) -> list[Tested]:
    names = with_folders([run.name for run in runs], [run.path for run in runs])
    return [replace(run, name=name) for run, name in zip(runs, names, strict=True)]


def _of_one_kind(runs: list[Tested]) -> tuple[list[Tested], list[Tested]]:
    """Divides the runs into those of the most frequent task and classes, and the others."""
    (kind, count), *_ = Counter((run.task, run.classes) for run in runs).most_common()
    if count < 2:
        first, other = runs[:2]
        raise ValueError(
            "runs must be of one task and the same classes. Got "
            f"{first.name}: {', '.join((first.task, *first.classes))}; "
            f"{other.name}: {', '.join((other.task, *other.classes))}."
        )
    kept = [run for run in runs if (run.task, run.classes) == kind]
    return kept, [run for run in runs if (run.task, run.classes) != kind]


def _shared_images(runs: Sequence[Tested]) -> int:
    """Counts the test images that all runs have; all must be tested on one set."""
    shared = set(runs[0].rows).intersection(*(run.rows for run in runs))
    if len({run.data for run in runs}) > 1:
        digests = ", ".join(f"{run.name}: {run.data[:12]}" for run in runs)
        counts = listed(f"{len(run.rows):,}" for run in runs)
        raise ValueError(
            "runs must be tested on the same images, or on splits of one set. Got data "
            f"fingerprints {digests}, and test sets of {counts} images with {len(shared):,} shared "
            "names."
        )
    return len(shared)


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


def _without_distance(run: Tested) -> set[str]:
    """Returns the images without a distance: either the true or the predicted mask is empty."""
    if run.task == "classification":
        return set()
    return {name for name, row in run.rows.items() if not row.get("hd95")}


def _of_common_distances(runs: Sequence[Tested]) -> list[Tested]:
    """Takes from all runs the distances of images where one of them has none.

    Otherwise a run that misses the most difficult lungs would have the smaller mean distance.
    """
    left_out = set().union(*map(_without_distance, runs))
    none = dict.fromkeys((*DISTANCES, *MM_MEASURES), "")
    return [
        replace(
            run,
            rows={name: row | none if name in left_out else row for name, row in run.rows.items()},
        )
        for run in runs
    ]


def _metrics(run: Tested) -> dict[str, Resampled]:
    rows = list(run.rows.values())
    if run.task == "classification":
        overall, _ = classification_metrics(run.truth, run.probabilities, run.groups.tolist())
        return {name: overall[name] for name, metric in METRICS.items() if metric.compared}
    return segmentation_metrics(mask_scores(rows))


def _differences(
    runs: Sequence[Tested], metrics: Sequence[dict[str, Resampled]], paired: bool
) -> list[dict[str, Any]]:
    """Returns one dict a pair and metric, pair by pair, p adjusted over the pairs."""
    found: list[dict[str, Any]] = []
    for measure in (name for name in metrics[0] if all(name in known for known in metrics)):
        of_measure: list[dict[str, Any]] = []
        for (one, first), (two, second) in combinations(zip(runs, metrics, strict=True), 2):
            item: dict[str, Any] = {"first": one.name, "second": two.name, "measure": measure}
            change = difference(first[measure], second[measure], paired)
            if change is None:
                continue
            item |= {"difference": change.value, "interval": [change.low, change.high]}
            item["p"] = change.p
            if measure == "accuracy" and paired:
                test = mcnemar(one.right, two.right, one.groups)
                item |= {"p": test.p, "only_first": test.only_first}
                item["only_second"] = test.only_second
            of_measure.append(item)
        for item, p in zip(of_measure, holm([item["p"] for item in of_measure]), strict=True):
            item["p_adjusted"] = p
            item["verdict"] = _verdict(runs[0].task, item)
        found += of_measure
    pairs = [(one.name, two.name) for one, two in combinations(runs, 2)]
    return sorted(found, key=lambda item: pairs.index((item["first"], item["second"])))


def _verdict(task: str, item: dict[str, Any]) -> str:
    low, high = item["interval"]
    if low <= 0 <= high or item["p_adjusted"] >= SIGNIFICANT:
        return NOT_SHOWN
    second = (item["difference"] > 0) != less_is_better(task, item["measure"])
    return SECOND_BETTER if second else FIRST_BETTER


def _score(metric: Resampled) -> dict[str, Any]:
    return {"value": metric.value, "interval": metric.interval}
