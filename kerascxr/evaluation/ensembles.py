"""An ensemble: several finished classification runs as one model, the mean of their probabilities.

Which runs can be one, and what its probabilities are on images that none of its members was trained
on, from saved predictions.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kerascxr.evaluation.calibration import expected_calibration_error, reliability_curve
from kerascxr.runs.inflated_scores import require_fair_scores
from kerascxr.runs.reading import CALIBRATED, Run, read_predictions, read_run
from kerascxr.tables import Table, with_interval

VALIDATION, TEST = "validation_predictions.csv", "predictions.csv"


@dataclass(frozen=True)
class CommonPredictions:
    """What all members of an ensemble predict for the same n images.

    Attributes:
        rows: For each of the m members, its rows of a table of predictions, in the same order.
        truth: True class indices, int64 (n,).
        probabilities: float64 (m, n, k), calibrated.
    """

    rows: list[list[dict[str, str]]]
    truth: np.ndarray
    probabilities: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """The ensemble's probabilities, float64 (n, k)."""
        return self.probabilities.mean(axis=0)

    @property
    def ood_scores(self) -> np.ndarray:
        """Each member's out-of-distribution scores, float64 (m, n)."""
        return np.array([[float(row["ood_score"]) for row in rows] for rows in self.rows])

    @property
    def groups(self) -> list[str]:
        """The images' groups, n names."""
        return [row["group"] for row in self.rows[0]]


def read_members(paths: Sequence[Path]) -> list[Run]:
    """Reads the runs of an ensemble.

    Raises:
        ValueError: If one is no finished classification run, or they do not fit together; see
            ``check_members``.
    """
    for path in paths:
        if not (path / "DONE").exists():
            raise ValueError(f"an ensemble must be of finished runs' folders. Got {path}.")
    runs = [read_run(path) for path in paths]
    check_members(runs)
    return runs


def check_members(runs: Sequence[Run]) -> None:
    """Checks that runs can be one ensemble.

    Args:
        runs: Two or more finished runs.

    Raises:
        ValueError: If one is no classifier, is given twice, ignored groups in its split or was
            trained on images with a planted marker, or if their classes (and the order of these),
            image sizes or lung models differ.
    """
    first, *others = runs
    for run in runs:
        if run.task != "classification":
            raise ValueError(f"{run.path} must be a classification run. Got a {run.task} run.")
        require_fair_scores(run)
    if len({os.path.realpath(run.path) for run in runs}) < len(runs):
        paths = ", ".join(str(run.path) for run in runs)
        raise ValueError(f"runs of an ensemble must be different ones. Got {paths}.")
    for run in others:
        _require_equal("classes, in the same order", _classes, first, run)
        _require_equal("image_size", _image_size, first, run)
    with_lungs = [run for run in runs if "lung_masks" in run.metrics["data"]]
    for run in with_lungs[1:]:
        _require_equal("lung model", _lungs, with_lungs[0], run)


def _classes(run: Run) -> Any:
    return run.metrics["test"]["classes"]


def _image_size(run: Run) -> Any:
    return list(run.config["image_size"])


def _lungs(run: Run) -> Any:
    return run.metrics["data"].get("lungs_sha256", "the masks of its source")


def _require_equal(what: str, known: Callable[[Run], Any], one: Run, other: Run) -> None:
    if known(one) != known(other):
        raise ValueError(
            f"runs of an ensemble must have the same {what}. Got {known(one)} in {one.path} and "
            f"{known(other)} in {other.path}."
        )


def common_predictions(runs: Sequence[Run], name: str) -> CommonPredictions | None:
    """Reads what an ensemble's members predict for images that all of them held out.

    Args:
        runs: The members.
        name: ``VALIDATION`` or ``TEST``.

    Returns:
        None unless all have the same images, in the same folds for the same purpose: as seeds of
        one configuration have, and folds of a cross-validation have not.
    """
    first = runs[0]
    for run in runs:
        if not (run.path / name).exists() or _split(run) != _split(first):
            return None
    classes = first.metrics["test"]["classes"]
    tables = [{row["id"]: row for row in read_predictions(run.path / name)} for run in runs]
    truths = [{image: row["truth"] for image, row in table.items()} for table in tables]
    if any(truth != truths[0] for truth in truths):
        return None
    rows = [[table[image] for image in tables[0]] for table in tables]
    columns = [f"{CALIBRATED} {kind}" for kind in classes]
    if columns[0] not in rows[0][0]:
        return None
    return CommonPredictions(
        rows,
        np.array([classes.index(row["truth"]) for row in rows[0]], np.int64),
        np.array([[[float(row[column]) for column in columns] for row in of] for of in rows]),
    )


def _split(run: Run) -> tuple[Any, ...]:
    return run.metrics["data"]["fingerprint"], run.config.get("split")


def score_members(found: CommonPredictions) -> list[dict[str, float]]:
    """Returns accuracy and ECE of each member's calibrated probabilities, then of the mean."""
    return [_scores(found.truth, one) for one in (*found.probabilities, found.mean)]


def _scores(truth: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    return {
        "accuracy": float((probabilities.argmax(axis=1) == truth).mean()),
        "ece": expected_calibration_error(reliability_curve(truth, probabilities)),
    }


def ensemble_table(about: Mapping[str, Any]) -> Table:
    """Lays out an ensemble beside its members.

    Args:
        about: ``members`` (dicts with ``run`` and ``test``) and ``test``: scores of
            ``score_members`` with ``not_decided`` and ``accuracy_of_decided``, shares as in
            ``evaluation.abstention``, or None; ``cost``, the ``milliseconds`` of all together and
            the list ``milliseconds_of_members``, if they were measured.
    """
    taken: list[Any] = [None] * (len(about["members"]) + 1)
    if "cost" in about:
        taken = [*about["cost"]["milliseconds_of_members"], about["cost"]["milliseconds"]]
        taken = [each / taken[0] for each in taken]
    named = [(member["run"], member["test"]) for member in about["members"]]
    rows: list[list[Any]] = [
        [name, *_cells(test), cost]
        for (name, test), cost in zip([*named, ("ensemble", about["test"])], taken, strict=True)
    ]
    header = ["model", "accuracy", "ECE", "not decided", "accuracy of the decisions", "cost"]
    return Table(f"Ensemble, {about['test']['n']:,} common test images", header, rows)


def _cells(test: Mapping[str, Any]) -> list[Any]:
    shares = (test.get("not_decided"), test.get("accuracy_of_decided"))
    accuracy = with_interval(test["accuracy"], test.get("interval"))
    return [accuracy, test["ece"], *(share and share["value"] for share in shares)]
