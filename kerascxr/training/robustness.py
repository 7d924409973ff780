"""Testing a finished run on its own test images, made worse on purpose."""

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from kerascxr.config import ClassificationConfig, SegmentationConfig, TrainingConfig
from kerascxr.data.corruptions import SEVERITIES, STRENGTHS, corrupt
from kerascxr.data.folds import split_folds
from kerascxr.data.pipeline import Images, read_images
from kerascxr.evaluation import classification, segmentation
from kerascxr.models.saved import load_saved
from kerascxr.parsing import load_config
from kerascxr.report import robustness_figures
from kerascxr.report.robustness import (
    CLEAN,
    MEASURES,
    RESULT,
    by_severity,
    robustness_markdown,
    robustness_text,
)
from kerascxr.report.runs import read_run
from kerascxr.report.tables import csv_text
from kerascxr.run_folder import RunFolder
from kerascxr.training.engines import likely_engine
from kerascxr.training.inputs import open_run_store
from kerascxr.training.learner import by_features
from kerascxr.training.segmentation import predict_probabilities
from kerascxr.training.trunk_features import TrunkFeatures

_SHOWN = (1, 3, 5)

Score = Callable[[Images], dict[str, Any]]


def measure_robustness(path: Path) -> dict[str, Any]:
    """Tests a run under each corruption at each severity; goes on where it was cut off.

    Writes ``RUN/robustness/robustness.json``, ``.md`` and ``.csv``, and the figures ``robustness``
    and ``corruptions`` of the run.

    Args:
        path: A finished run folder.

    Returns:
        What robustness.json holds, see ``report.robustness.read_robustness``.

    Raises:
        ValueError: If the run is not finished, or its images have changed or are not to be had.
    """
    run = read_run(path)
    config: TrainingConfig
    if run.task == "classification":
        config = load_config(ClassificationConfig, path / "config.yaml")
    else:
        config = load_config(SegmentationConfig, path / "config.yaml")
    store = open_run_store(run, config.data)
    model = load_saved(path / "model.keras")
    folder = RunFolder(path)
    images = read_images(
        store,
        split_folds(config.split)["test"],
        config.image_size,
        masks=run.task == "segmentation",
        cache=config.data.cache,
    )
    result = _begun(
        folder,
        {
            "task": run.task,
            "title": run.name,
            "images": len(images),
            "seed": config.runtime.seed,
            "model": hashlib.sha256((path / "model.keras").read_bytes()).hexdigest(),
            "data": store.fingerprint["digest"],
            "strengths": {
                name: {"unit": strength.unit, "values": list(strength.values)}
                for name, strength in STRENGTHS.items()
            },
        },
    )
    if isinstance(config, ClassificationConfig):
        score = _classifier_score(model, config, folder)
    else:
        score = _segmenter_score(model, config, run.metrics["threshold"])
    _fill(result, images, score, folder)
    _write(result, images, folder)
    return result


def _begun(folder: RunFolder, about: dict[str, Any]) -> dict[str, Any]:
    """Takes up an earlier result about the same model, images and strengths, or begins one."""
    if (folder.path / RESULT).exists():
        known = folder.read_json(RESULT)
        if known == about | {"cells": known["cells"]}:
            return known
    return about | {"cells": []}


def _fill(result: dict[str, Any], images: Images, score: Score, folder: RunFolder) -> None:
    """Makes the tests that are missing, and keeps each as soon as it is made."""
    seed, measures = result["seed"], MEASURES[result["task"]]
    plan = [(CLEAN, 0), *((name, severity) for name in STRENGTHS for severity in SEVERITIES)]
    done = len(result["cells"])
    folder.say(
        f"Testing {result['title']} on {len(images):,} test images, as they are and under "
        f"{len(STRENGTHS)} corruptions at {len(SEVERITIES)} severities."
        + (f" {done} of {len(plan)} tests are there already." if done else "")
    )
    with tqdm(total=len(plan), initial=done, desc="Robustness", unit="test") as bar:
        for name, severity in plan[done:]:
            worse = images
            if name != CLEAN:
                pixels, masks = corrupt(name, images.pixels, severity, seed, images.masks)
                worse = dataclasses.replace(images, pixels=pixels, masks=masks)
            scores = score(worse)
            cell = {"corruption": name, "severity": severity}
            result["cells"].append(cell | {measure: scores[measure] for measure in measures})
            folder.write_json(RESULT, result)
            bar.update()


def _classifier_score(model: Any, config: ClassificationConfig, folder: RunFolder) -> Score:
    engine = likely_engine(config.feature_engine)
    features = TrunkFeatures(model, 2, config.data.features, engine=engine, say=folder.say)
    predict = by_features(model, features)
    return lambda images: classification.evaluate(images.labels, predict(images), images.classes)


def _segmenter_score(model: Any, config: SegmentationConfig, threshold: float) -> Score:
    def score(images: Images) -> dict[str, Any]:
        assert images.masks is not None
        size = config.batch_size
        probabilities = (
            one
            for begin in range(0, len(images), size)
            for one in predict_probabilities(
                model, images.pixels[begin : begin + size], config.test_time_augmentation
            )
        )
        return segmentation.evaluate(images.masks[..., 0], probabilities, threshold)[1]

    return score


def _write(result: dict[str, Any], images: Images, folder: RunFolder) -> None:
    folder.write_text("robustness/robustness.csv", csv_text(result["cells"]))
    folder.write_text("robustness/robustness.md", robustness_markdown(result))
    measure, label = next(iter(MEASURES[result["task"]].items()))
    with folder.figure("robustness") as path:
        robustness_figures.severity_curves(
            *by_severity(result, measure),
            path,
            what=label,
            title=f"{result['title']}: {label} on images made worse",
        )
    first = images.pixels[:1]
    with folder.figure("corruptions") as path:
        robustness_figures.corruption_grid(
            first[0, ..., 0],
            {
                name: {
                    severity: corrupt(name, first, severity, result["seed"])[0][0, ..., 0]
                    for severity in _SHOWN
                }
                for name in STRENGTHS
            },
            path,
        )
    folder.say(f"\n{result['title']}\n\n{robustness_text(result)}\n")
    folder.say(f"Written to {folder.path / 'robustness'}")
