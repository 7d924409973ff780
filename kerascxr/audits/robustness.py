"""Tests a finished run on its own test images, corrupted."""

import dataclasses
import functools
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from kerascxr.audits.robustness_scores import ClassifierTest, EnsembleTest, Score, segmenter_score
from kerascxr.config import ClassificationConfig, SegmentationConfig, TrainingConfig
from kerascxr.data.corruptions import CORRUPTIONS, SEVERITIES, corrupt, trained_on
from kerascxr.data.ingest.folds import split_folds
from kerascxr.data.ingest.store import Store
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


def measure_robustness(path: Path) -> dict[str, Any]:
    """Tests a run under each corruption at each severity; goes on where it was cut off.

    Writes ``RUN/robustness/robustness.json`` and ``.csv``, and the figures ``robustness``
    and ``corruptions`` of the run. A second process waits, then finds all tests done.

    Args:
        path: A finished run folder.

    Returns:
        What robustness.json holds, see ``evaluation.robustness.read_robustness``.

    Raises:
        ValueError: If the run is not finished, or its images have changed or are not to be had.
    """
    run = read_run(path)
    with locked(path / ".robustness.lock", f"Another process tests {path}; waiting for it."):
        return _measure(run)


def measure_ensemble(paths: Sequence[Path], to: Path) -> dict[str, Any]:
    """Tests an ensemble as ``measure_robustness`` tests a run.

    Args:
        paths: Finished classification runs that fit together; see ``check_members``.
        to: Where to: ``to/robustness/`` and ``to/figures/``.

    Returns:
        What robustness.json holds.

    Raises:
        ValueError: If the runs do not fit together or were tested on different images, or these
            have changed or are not to be had.
    """
    runs = read_members(paths)
    if common_predictions(runs, TEST) is None:
        raise ValueError(
            "runs must have the same test images, or one was trained on images that another is "
            f"tested on. Got {', '.join(map(str, paths))}."
        )
    to.mkdir(parents=True, exist_ok=True)
    with locked(to / ".robustness.lock", f"Another process tests in {to}; waiting for it."):
        return _measure_ensemble(runs, to)


def _measure_ensemble(runs: Sequence[Run], to: Path) -> dict[str, Any]:
    configs = [load_config(ClassificationConfig, run.path / "config.yaml") for run in runs]
    config, folder = configs[0], RunFolder(to)
    store = open_run_store(runs[0], config.data)
    with folder.log_file():
        images = read_folds(_before_hiding(config), store, split_folds(config.split)["test"])
        seen = corrupt_images(_first(images), CLEAN, 0, 0, config.roi)
        score = EnsembleTest(runs, store, seen.pixels)
        used = {
            name
            for run, one in zip(runs, configs, strict=True)
            if run.metrics["regime"]["augmentation"]
            for name in trained_on(one.augment)
        }
        about = _about(config, store, images, score.measures) | {
            "task": "classification",
            "title": f"Ensemble of {len(runs)} runs",
            "runs": [str(run.path) for run in runs],
            "model": [file_digest(run.path / "model.keras") for run in runs],
            "computed_by": [computed_by(engine) for engine in score.engines],
            "trained_on": [name for name in CORRUPTIONS if name in used],
        }
        result = _begun(folder, about)
        _fill(result, images, config.roi, score, folder)
        _write(result, images, config.roi, folder)
        return result


def _about(
    config: TrainingConfig, store: Store, images: Images, measures: Sequence[str]
) -> dict[str, Any]:
    return {
        "images": len(images),
        "seed": config.runtime.seed,
        "level": LEVEL,
        "measures": list(measures),
        "data": store.fingerprint["digest"],
        "strengths": {
            name: {"unit": corruption.unit, "values": list(corruption.strengths)}
            for name, corruption in CORRUPTIONS.items()
        },
    }


def _measure(run: Run) -> dict[str, Any]:
    path = run.path
    config: TrainingConfig
    if run.task == "classification":
        config = load_config(ClassificationConfig, path / "config.yaml")
    else:
        config = load_config(SegmentationConfig, path / "config.yaml")
    store = open_run_store(run, config.data)
    model = load_saved(path / "model.keras")
    folder = RunFolder(path)
    with folder.log_file():
        roi = config.roi if isinstance(config, ClassificationConfig) else "none"
        images = read_folds(
            _before_hiding(config),
            store,
            split_folds(config.split)["test"],
            masks=run.task == "segmentation",
        )
        augmented = run.metrics["regime"]["augmentation"]
        score: Score
        engine: EngineName = "keras"
        measures = MEASURES[run.task]
        if isinstance(config, ClassificationConfig):
            seen = corrupt_images(_first(images), CLEAN, 0, 0, roi)
            outputs = LogitsAndStatistics(model, likely_engine(config.feature_engine), seen.pixels)
            score, engine = ClassifierTest(run, store, outputs), outputs.engine
            measures = score.measures
        else:
            score = segmenter_score(Segmenter(model, run.metrics["threshold"]), config.batch_size)
        result = _begun(
            folder,
            _about(config, store, images, measures)
            | {
                "task": run.task,
                "title": run.name,
                "model": file_digest(path / "model.keras"),
                "computed_by": computed_by(engine),
                "trained_on": trained_on(config.augment) if augmented else [],
            },
        )
        _fill(result, images, roi, score, folder)
        _write(result, images, roi, folder)
        return result


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
        grey, along = corrupt(name, grey, severity, seed, along)
    if roi in ("none", "lung_crop"):
        return dataclasses.replace(images, pixels=grey, masks=along)
    size = grey.shape[1:3]
    if along is None:
        along = np.zeros((len(grey), 1, 1, 1), np.uint8)
    seen = [_looking(roi)(*pair, size).numpy() for pair in zip(grey, along, strict=True)]
    return dataclasses.replace(images, pixels=np.stack(seen))


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
    return tf.function(ROIS[roi].apply)


def _fill(
    result: dict[str, Any], images: Images, roi: str, score: Score, folder: RunFolder
) -> None:
    """Makes the tests that are missing, and keeps each as soon as it is made."""
    seed, measures = result["seed"], result["measures"]
    plan = [(CLEAN, 0), *((name, severity) for name in CORRUPTIONS for severity in SEVERITIES)]
    done = len(result["cells"])
    logger.info(
        f"Testing {result['title']} on {len(images):,} test images, as they are and under "
        f"{len(CORRUPTIONS)} corruptions at {len(SEVERITIES)} severities."
        + (f" {done} of {len(plan)} tests are there already." if done else "")
    )
    with ProgressBar(total=len(plan), initial=done, desc="Robustness", unit="test") as bar:
        for name, severity in plan[done:]:
            scores = score(corrupt_images(images, name, severity, seed, roi))
            cell = {"corruption": name, "severity": severity}
            ends = {
                measure: scores["intervals"][measure]
                for measure in measures
                if measure in scores["intervals"]
            }
            values = {measure: scores[measure] for measure in measures}
            result["cells"].append(cell | values | {"intervals": ends})
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
