"""Tests a finished run on its own test images, corrupted."""

import dataclasses
import functools
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from kerascxr.audits.robustness_scores import ClassifierTest, EnsembleTest, Score, segmenter_score
from kerascxr.cluster.workers import workers
from kerascxr.config import (
    ClassificationConfig,
    ResourcesConfig,
    SegmentationConfig,
    TrainingConfig,
)
from kerascxr.data.arrays import gathered
from kerascxr.data.corruptions import CORRUPTIONS, SEVERITIES, corrupt, trained_on
from kerascxr.data.ingest.folds import split_folds
from kerascxr.data.pipeline import Images
from kerascxr.data.roi import ROIS
from kerascxr.evaluation.ensembles import TEST, common_predictions, read_members
from kerascxr.evaluation.metrics import metric_title
from kerascxr.evaluation.robustness import (
    CLEAN,
    MEASURES,
    RESULT,
    by_severity,
    intervals_by_severity,
)
from kerascxr.evaluation.shares import LEVEL
from kerascxr.models.download import file_digest
from kerascxr.models.saved import load_saved
from kerascxr.models.segmenter import Segmenter
from kerascxr.parsing import load_config
from kerascxr.plots import robustness
from kerascxr.plots.robustness import Point
from kerascxr.progress import ProgressBar
from kerascxr.runs.folder import RunFolder
from kerascxr.runs.locks import locked
from kerascxr.runs.reading import Run, read_run
from kerascxr.tables import csv_text
from kerascxr.training.decisions import LogitsAndStatistics
from kerascxr.training.engines import EngineName, computed_by, likely_engine
from kerascxr.training.inputs import open_run_store, read_folds

logger = logging.getLogger(__name__)

_SHOWN = (1, 3, 5)


Cell = tuple[str, int]
"""A corruption, or ``CLEAN``, and its severity."""

AtOnce = tuple[str, ResourcesConfig]
"""A cluster, see ``connected``, and what each of its workers takes."""


def measure_robustness(path: Path, at_once: AtOnce | None = None) -> dict[str, Any]:
    """Tests a run under each corruption at each severity; goes on where it was cut off.

    Writes ``RUN/robustness/robustness.json`` and ``.csv``, and the figures ``robustness``
    and ``corruptions`` of the run. A second process waits, then finds all tests done.

    Args:
        path: A finished run folder.
        at_once: Where several tests are made at once; None for one after another.

    Returns:
        What robustness.json holds, see ``evaluation.robustness.read_robustness``.

    Raises:
        ValueError: If the run is not finished, or its images have changed or are not to be had.
    """
    run = read_run(path)
    with locked(path / ".robustness.lock", f"Another process tests {path}; waiting for it."):
        return _measure([run], path, at_once)


def measure_ensemble(
    paths: Sequence[Path], to: Path, at_once: AtOnce | None = None
) -> dict[str, Any]:
    """Tests an ensemble as ``measure_robustness`` tests a run.

    Args:
        paths: Finished classification runs that fit together; see ``check_members``.
        to: Where to: ``to/robustness/`` and ``to/figures/``.
        at_once: See ``measure_robustness``.

    Returns:
        What robustness.json holds.

    Raises:
        ValueError: If the runs do not fit together, have different regions of interest or were
            tested on different images, or these have changed or are not to be had.
    """
    runs = read_members(paths)
    if common_predictions(runs, TEST) is None:
        raise ValueError(
            "runs must have the same test images, or one was trained on images that another is "
            f"tested on. Got {', '.join(map(str, paths))}."
        )
    rois = dict.fromkeys(run.roi for run in runs)
    if len(rois) > 1:
        raise ValueError(
            "runs tested together on corrupted images must have the same region of interest. Got "
            f"roi={', '.join(rois)}; test each by itself."
        )
    to.mkdir(parents=True, exist_ok=True)
    with locked(to / ".robustness.lock", f"Another process tests in {to}; waiting for it."):
        return _measure(runs, to, at_once)


def _measure(runs: Sequence[Run], place: Path, at_once: AtOnce | None) -> dict[str, Any]:
    folder = RunFolder(place)
    with folder.log_file():
        test = _Test(runs)
        if at_once is None:
            result = _begun(folder, test.load())
            _fill(result, folder, len(test.images), test.cells)
        else:
            paths = tuple(run.path for run in runs)
            with workers(load_test, (paths,), *at_once, most=len(_plan())) as started:
                result = _begun(folder, started.about)
                _fill(result, folder, len(test.images), started.computed)
        _write(result, test.images, test.roi, folder)
        return result


def load_test(
    paths: Sequence[Path],
) -> tuple[dict[str, Any], Callable[[Cell], dict[str, Any]]]:
    """Loads, in a worker of the cluster, what is tested."""
    test = _Test(read_members(paths) if len(paths) > 1 else [read_run(paths[0])])
    return test.load(), test.cell


class _Test:
    """The test of a run, or of an ensemble.

    Args:
        runs: The run, or the members.

    Attributes:
        images: The test images, before a part of them is hidden.
        roi: What of them the model gets.
    """

    def __init__(self, runs: Sequence[Run]):
        self._runs = runs
        self._configs = [_config(run) for run in runs]
        self._measures: tuple[str, ...] = ()
        run, config = runs[0], self._configs[0]
        self._store = open_run_store(run, config.data)
        self.roi = config.roi if isinstance(config, ClassificationConfig) else "none"
        self.images = read_folds(
            _before_hiding(config),
            self._store,
            split_folds(config.split)["test"],
            masks=run.task == "segmentation",
        )

    def load(self) -> dict[str, Any]:
        """Loads the models; returns what decides the numbers of the test."""
        self._score, about = self._ensemble() if len(self._runs) > 1 else self._run()
        used = {
            name
            for run, config in zip(self._runs, self._configs, strict=True)
            if run.metrics["regime"]["augmentation"]
            for name in trained_on(config.augment)
        }
        return about | {
            "task": self._runs[0].task,
            "images": len(self.images),
            "seed": self._seed,
            "level": LEVEL,
            "data": self._store.fingerprint["digest"],
            "strengths": {
                name: {"unit": corruption.unit, "values": list(corruption.strengths)}
                for name, corruption in CORRUPTIONS.items()
            },
            "trained_on": [name for name in CORRUPTIONS if name in used],
        }

    def cell(self, cell: Cell) -> dict[str, Any]:
        """Returns the scores under one corruption at one severity, as robustness.json has them."""
        name, severity = cell
        scores = self._score(corrupt_images(self.images, name, severity, self._seed, self.roi))
        intervals = scores["intervals"]
        ends = {key: intervals[key] for key in self._measures if key in intervals}
        values = {measure: scores[measure] for measure in self._measures}
        return {"corruption": name, "severity": severity} | values | {"intervals": ends}

    def cells(self, cells: Iterable[Cell]) -> Iterator[tuple[Cell, dict[str, Any]]]:
        """Yields tests with their scores, one after another."""
        for cell in cells:
            yield cell, self.cell(cell)

    @property
    def _seed(self) -> int:
        return self._configs[0].runtime.seed

    def _sample(self) -> np.ndarray:
        return corrupt_images(_first(self.images), CLEAN, 0, 0, self.roi).pixels

    def _run(self) -> tuple[Score, dict[str, Any]]:
        [run], [config] = self._runs, self._configs
        model = load_saved(run.path / "model.keras")
        score: Score
        engine: EngineName = "keras"
        self._measures = MEASURES[run.task]
        if isinstance(config, ClassificationConfig):
            likely = likely_engine(config.feature_engine)
            outputs = LogitsAndStatistics(model, likely, self._sample())
            score, engine = ClassifierTest(run, self._store, outputs), outputs.engine
            self._measures = score.measures
        else:
            score = segmenter_score(Segmenter(model, run.metrics["threshold"]), config.batch_size)
        return score, {
            "title": run.name,
            "measures": list(self._measures),
            "model": file_digest(run.path / "model.keras"),
            "computed_by": computed_by(engine),
        }

    def _ensemble(self) -> tuple[Score, dict[str, Any]]:
        score = EnsembleTest(self._runs, self._store, self._sample())
        self._measures = score.measures
        return score, {
            "title": f"Ensemble of {len(self._runs)} runs",
            "measures": list(self._measures),
            "runs": [str(run.path) for run in self._runs],
            "model": [file_digest(run.path / "model.keras") for run in self._runs],
            "computed_by": [computed_by(engine) for engine in score.engines],
        }


def _config(run: Run) -> TrainingConfig:
    path = run.path / "config.yaml"
    if run.task == "classification":
        return load_config(ClassificationConfig, path)
    return load_config(SegmentationConfig, path)


def _before_hiding(config: TrainingConfig) -> TrainingConfig:
    """Returns a config that reads images as they are before a part of them is hidden.

    What is hidden must stay so when the image is made brighter. A crop stays a crop: it has more
    pixels than could be cut out of the resized image.
    """
    if not isinstance(config, ClassificationConfig) or config.roi == "lung_crop":
        return config
    lungs_along = ROIS[config.roi].needs_lungs
    return dataclasses.replace(config, roi="lung_channel" if lungs_along else "none")


def _first(images: Images) -> Images:
    """Returns images of which only the first has pixels, and without masks."""
    return dataclasses.replace(images, pixels=images.pixels[:1], masks=None)


def corrupt_images(images: Images, name: str, severity: int, seed: int, roi: str) -> Images:
    """Makes images worse, lungs and masks moving with them, and then looks at them.

    Args:
        images: Images before a part of them is hidden; a second channel has the lungs.
        name: A corruption, or ``CLEAN``.
        severity: 1 to 5.
        seed: Seed of the draws.
        roi: What of each image is seen, a key of ``ROIS``; of a crop, the images are that already.
    """
    grey, lungs = images.pixels[..., :1], images.pixels[..., 1:]
    along = lungs if lungs.shape[-1] else images.masks
    if name != CLEAN:
        grey, along = corrupt(name, grey, severity, seed, along, images.folder)
    if roi in ("none", "lung_crop"):
        return dataclasses.replace(images, pixels=grey, masks=along)
    size = grey.shape[1:3]
    if along is None:
        along = np.zeros((len(grey), 1, 1, 1), np.uint8)
    seen = (_looking(roi)(*pair, size).numpy()[None] for pair in zip(grey, along, strict=True))
    cache = "memory" if images.folder is None else "auto"
    pixels = gathered(seen, len(grey), cache, images.folder or Path())
    return dataclasses.replace(images, pixels=pixels)


def _begun(folder: RunFolder, about: dict[str, Any]) -> dict[str, Any]:
    """Takes up an earlier result about the same, computed in the same way, or begins one."""
    if (folder.path / RESULT).exists():
        known = folder.read_json(RESULT)
        changed = [key for key in about if known.get(key) != about[key]]
        if not changed:
            return known
        named = ", ".join(key.replace("_", " ") for key in changed)
        logger.info(f"{folder.path / RESULT} is of other conditions ({named}); testing again.")
    return about | {"cells": []}


@functools.cache
def _looking(roi: str) -> Any:
    return tf.function(ROIS[roi].apply, autograph=False)


def _plan() -> list[Cell]:
    return [(CLEAN, 0), *((name, severity) for name in CORRUPTIONS for severity in SEVERITIES)]


def _fill(
    result: dict[str, Any],
    folder: RunFolder,
    images: int,
    compute: Callable[[list[Cell]], Iterable[tuple[Cell, dict[str, Any]]]],
) -> None:
    """Makes the tests that are missing, in any order, and keeps each as soon as it is made."""
    plan = _plan()
    cells = {(cell["corruption"], cell["severity"]): cell for cell in result["cells"]}
    left = [cell for cell in plan if cell not in cells]
    logger.info(
        f"Testing {result['title']} on {images:,} test images, as they are and under "
        f"{len(CORRUPTIONS)} corruptions at {len(SEVERITIES)} severities."
        + (f" {len(cells)} of {len(plan)} tests are there already." if cells else "")
    )
    with ProgressBar(total=len(plan), initial=len(cells), desc="Robustness", unit="test") as bar:
        for cell, scores in compute(left):
            cells[cell] = scores
            result["cells"] = [cells[known] for known in plan if known in cells]
            folder.write_json(RESULT, result)
            bar.update()


def _flat(cell: dict[str, Any]) -> dict[str, Any]:
    """Returns a test as a row of robustness.csv: each measure with its interval's ends."""
    row = {}
    for key, value in cell.items():
        if key != "intervals":
            row[key] = value
        if key in cell["intervals"]:
            row[f"{key}_low"], row[f"{key}_high"] = cell["intervals"][key] or (None, None)
    return row


def _points(result: dict[str, Any], measure: str) -> tuple[Point, dict[str, list[Point]]]:
    clean, scores = by_severity(result, measure)
    clean_ends, ends = intervals_by_severity(result, measure)
    return Point(clean, clean_ends), {
        name: [Point(*pair) for pair in zip(values, ends[name], strict=True)]
        for name, values in scores.items()
    }


def _write(result: dict[str, Any], images: Images, roi: str, folder: RunFolder) -> None:
    folder.write_text("robustness/robustness.csv", csv_text([*map(_flat, result["cells"])]))
    measure = MEASURES[result["task"]][0]
    label = metric_title(result["task"], measure)
    with folder.figure("robustness") as path:
        robustness.severity_curves(
            *_points(result, measure),
            path,
            what=label,
            title=f"{result['title']}: {label} on corrupted images",
        )
    first = _first(images)

    def shown(name: str, severity: int) -> np.ndarray:
        return corrupt_images(first, name, severity, result["seed"], roi).pixels[0, ..., 0]

    with folder.figure("corruptions") as path:
        robustness.corruption_grid(
            shown(CLEAN, 0),
            {
                name: {severity: shown(name, severity) for severity in _SHOWN}
                for name in CORRUPTIONS
            },
            path,
        )
