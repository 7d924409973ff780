"""Finished runs, read back from their folders."""

import csv
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from kerascxr.names import with_folders
from kerascxr.parsing import read_yaml

CALIBRATED = "probability"
UNCALIBRATED = "uncalibrated probability"
"""The columns of a table of predictions, each followed by a class: after, and before, the run's
temperature. Metrics are computed from uncalibrated probabilities; operating points, ``predict`` and
exports use calibrated ones."""

MAY_DIFFER = ("devices", "workers")
"""What of a regime may differ between runs that are trained in one way."""

PACKAGES = {
    "TensorFlow": "tensorflow",
    "Keras": "keras",
    "keras-cv": "keras-cv",
    "NumPy": "numpy",
    "SciPy": "scipy",
    "scikit-learn": "scikit-learn",
}
"""The packages whose version may change a run's numbers: their names for people, and for pip."""

TEXT_COLUMNS = ("id", "group", "given_group", "label")
"""The columns of a U-Net's table of predictions that are no scores."""


@dataclass(frozen=True)
class Run:
    """What a finished run folder says.

    Attributes:
        path: The folder.
        metrics: metrics.json.
        history: history.json, one dict an epoch.
        coarse_history: coarse_history.json of a U-Net that began at half the size, else [].
        environment: environment.json.
        config: config.yaml: the options, with what was derived from the machine.
        seconds: How long it took.
        name: Its name for people, e.g. "EfficientNet-B0, depth 1".
    """

    path: Path
    metrics: dict[str, Any]
    history: list[dict[str, Any]]
    coarse_history: list[dict[str, Any]]
    environment: dict[str, Any]
    config: dict[str, Any]
    seconds: float
    name: str

    @property
    def task(self) -> str:
        """Returns "classification" or "segmentation"."""
        return self.metrics["task"]

    @property
    def source(self) -> str:
        """Returns the name of the run's images, without the digest of where they lay."""
        return re.sub(r"-[0-9a-f]{8}$", "", self.metrics["data"]["source"])

    @property
    def drawn(self) -> bool:
        """Returns whether the run's images are drawn ones, of the phantom."""
        return self.metrics["data"].get("layout") == "phantom"

    @property
    def temperature(self) -> float:
        """Returns what a classifier's logits are divided by; 1 for runs without calibration."""
        return float(self.metrics.get("calibration", {}).get("temperature", 1.0))

    @property
    def roi(self) -> str:
        """Returns the region of interest that a classifier takes; "none" is the whole image."""
        return str(self.config.get("roi", "none"))

    def figure(self, name: str) -> Path | None:
        """Returns figures/<name>.png, or None where the run has none."""
        path = self.path / "figures" / f"{name}.png"
        return path if path.exists() else None


def find_runs(paths: Sequence[Path]) -> list[Path]:
    """Returns the finished run folders among and below some folders, sorted, each once.

    Left out are runs inside of runs, which are those of an audit, and hidden folders, such as that
    of a run that is being replaced.

    Raises:
        ValueError: If a folder does not exist or holds no finished run.
    """
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            raise ValueError(f"runs must be folders. Got {path}, which is none.")
        below = sorted(
            done.parent for done in path.rglob("DONE") if not _inside_or_hidden(done.parent, path)
        )
        if not below:
            raise ValueError(
                f"{path} must hold a finished run (one with a DONE in its folder). Got none."
            )
        found += below
    return each_once(found)


def each_once(folders: Sequence[Path]) -> list[Path]:
    """Returns folders in order, one that is named in several ways by its first name alone."""
    found: dict[Path, Path] = {}
    for folder in folders:
        found.setdefault(folder.resolve(), folder)
    return list(found.values())


def _inside_or_hidden(run: Path, folder: Path) -> bool:
    """Returns whether a run below a folder is hidden there or inside of another one there."""
    names = run.relative_to(folder).parts
    above = [run.parents[place] for place in range(len(names))]
    return any(name.startswith(".") for name in names) or any(
        (parent / "DONE").exists() for parent in above
    )


def read_run(path: Path, task: str | None = None) -> Run:
    """Reads a finished run.

    Args:
        path: Its folder.
        task: The task that it must be of; None takes any.

    Raises:
        ValueError: If a file is missing or damaged, or the task is another.
    """

    def read(name: str, otherwise: Any = None) -> Any:
        file = path / name
        if otherwise is not None and not file.exists():
            return otherwise
        try:
            return json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ValueError(
                f"{file} must be a finished run's. It cannot be read ({error}); train again with "
                "--overwrite true."
            ) from None

    if not (path / "DONE").exists():
        raise ValueError(f"{path} must be the folder of a finished run. It has no DONE.")
    config = path / "config.yaml"
    metrics = read("metrics.json")
    if task not in (None, metrics["task"]):
        raise ValueError(f"{path} must be a {task} run. Got a {metrics['task']} run.")
    return Run(
        path=path,
        metrics=metrics,
        history=read("history.json"),
        coarse_history=read("coarse_history.json", []),
        environment=read("environment.json"),
        config=read_yaml(config) if config.exists() else {},
        seconds=read("timing.json", {}).get("seconds", 0.0),
        name=metrics["title"],
    )


def read_runs(paths: Sequence[Path]) -> list[Run]:
    """Reads finished runs: classifiers first, in the order of their names.

    Runs of the same name are distinguished by their folders.

    Raises:
        ValueError: If a file is missing or damaged.
    """
    runs = [read_run(path) for path in paths]
    names = with_folders([run.name for run in runs], [run.path for run in runs])
    runs = [replace(run, name=name) for run, name in zip(runs, names, strict=True)]
    return sorted(runs, key=lambda run: (run.task, run.name, str(run.path)))


def read_predictions(path: Path) -> list[dict[str, str]]:
    """Returns the rows of a file of predictions, as they stand there."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def mask_scores(rows: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
    """Returns rows of a U-Net's file of predictions with its scores as numbers, None where empty.

    Args:
        rows: From ``read_predictions``.
    """
    return [
        {
            name: value if name in TEXT_COLUMNS else float(value) if value else None
            for name, value in row.items()
        }
        for row in rows
    ]


def truth_and_probabilities(
    rows: Sequence[Mapping[str, str]], classes: Sequence[str], column: str = UNCALIBRATED
) -> tuple[np.ndarray, np.ndarray]:
    """Returns what a classifier's metrics are computed from.

    Args:
        rows: From ``read_predictions``.
        classes: The k classes.
        column: ``UNCALIBRATED``, or ``CALIBRATED`` for an ensemble, whose definition this is.

    Returns:
        True class indices, int64 (n,), and probabilities, float64 (n, k).
    """
    truth = np.array([classes.index(row["truth"]) for row in rows], np.int64)
    columns = [f"{column} {name}" for name in classes]
    return truth, np.array([[float(row[name]) for name in columns] for row in rows])
