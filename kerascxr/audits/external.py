"""Testing a finished run on another set, without training again."""

import dataclasses
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import keras
import numpy as np

from kerascxr.audits.answers import write_answers
from kerascxr.audits.unseen import SEEN, LeftOut, unseen
from kerascxr.config import (
    ClassificationConfig,
    DataConfig,
    SegmentationConfig,
    TrainingConfig,
)
from kerascxr.data.ingest.store import Store
from kerascxr.data.pipeline import Images
from kerascxr.data.roi import ROIS, check_roi
from kerascxr.evaluation.calibration import apply_temperature, calibrate
from kerascxr.evaluation.classification import evaluate
from kerascxr.evaluation.transfer import compare_with_internal, of_common_classes
from kerascxr.models.decision_rule import FILE, DecisionRule
from kerascxr.models.saved import load_saved
from kerascxr.models.segmenter import Segmenter
from kerascxr.parsing import load_config
from kerascxr.runs.atomic import replace_folder
from kerascxr.runs.folder import RunFolder
from kerascxr.runs.reading import read_predictions, read_run, truth_and_probabilities
from kerascxr.training import classification, segmentation
from kerascxr.training.decisions import LogitsAndStatistics, apply_rule
from kerascxr.training.engines import EngineChoice, likely_engine
from kerascxr.training.figures import draw_test
from kerascxr.training.inputs import describe_lungs, open_data, read_everything
from kerascxr.training.learner import softmax
from kerascxr.training.lungs import choose_lungs, lungs_title, require_same_lungs

logger = logging.getLogger(__name__)

Config = TypeVar("Config", bound=TrainingConfig)


def evaluate_run(run: Path, data: DataConfig, lungs: Path | None = None) -> dict[str, Any]:
    """Tests a run's model on a set; writes ``RUN/external/<set>/`` whole or not at all.

    Images that the model was trained or validated on, and near-duplicates of them, are left out:
    see ``unseen.unseen``.

    A classifier is scored on the classes that the set has, and with the temperature, the thresholds
    and the decision rule of its own validation images. If one of the classes is not among its own,
    or the set has none, the test is of what it answers there: see ``answers.write_answers``.

    Args:
        run: A finished run folder.
        data: The other set.
        lungs: A finished segmentation run that predicts the lung masks for a classifier that needs
            them. By default they come from where they came in training; where that was the
            source's masks and this set has not one for each image, from the package's lung model.

    Returns:
        What metrics.json, or answers.json, holds. Its ``data`` says in ``lungs`` where a
        classifier's lung masks came from, if it needs them.

    Raises:
        ValueError: If the run is not finished, the set does not fit it, or the model was trained
            or validated on all of it.
    """
    for name in ("DONE", "metrics.json", "model.keras", "config.yaml", SEEN):
        if not (run / name).exists():
            raise ValueError(f"{run} must be the folder of a finished run. It has no {name}.")
    known = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    task = known["task"]
    config: TrainingConfig
    if task == "classification":
        config = config_elsewhere(run, data, lungs)
    elif lungs is not None:
        raise ValueError(f"lungs must be left out for a U-Net. Got lungs={str(lungs)!r}.")
    else:
        config = dataclasses.replace(
            load_config(SegmentationConfig, run / "config.yaml"), data=data
        )
    config, store, images, left_out = read_unseen([run], config)
    place = run / "external" / store.path.name
    unknown = []
    if task == "classification":
        unknown = unknown_classes(store, known["test"]["classes"])
    metrics: dict[str, Any] = {}

    def fill(partial: Path) -> None:
        folder = RunFolder(partial)
        if unknown and isinstance(config, ClassificationConfig):
            metrics.update(_ask(run, known, config, store, images, left_out, folder))
        else:
            metrics.update(_test(run, known, config, store, images, left_out, folder))

    replace_folder(place, fill, "external test")
    logger.info(f"Written to {place}")
    return metrics


def config_elsewhere(run: Path, data: DataConfig, lungs: Path | None) -> ClassificationConfig:
    """Returns a classifier's config for images of another set, in which no marker is planted.

    Raises:
        ValueError: If its lung masks are not to be had, or its lung model has changed.
    """
    config = load_config(ClassificationConfig, run / "config.yaml")
    config = dataclasses.replace(
        config, lungs=lungs or config.lungs, data=data, control_marker=None
    )
    check_roi(config.roi, config.lungs)
    if lungs is None:
        require_same_lungs(read_run(run))
    return config


def with_lung_model(config: Config, store: Store) -> Config:
    """Returns a config with what finds the lungs, where its region of interest needs them."""
    if isinstance(config, ClassificationConfig) and ROIS[config.roi].needs_lungs:
        return dataclasses.replace(config, lungs=choose_lungs(config.lungs, store))
    return config


def read_unseen(runs: Sequence[Path], config: Config) -> tuple[Config, Store, Images, LeftOut]:
    """Reads the images of a set that no run was trained or validated on.

    Args:
        runs: Finished runs' folders.
        config: How images are read, and of which set.

    Returns:
        The config with its lung model, the set's store, the images, and what was left out.

    Raises:
        ValueError: If there are none.
    """
    is_classifier = isinstance(config, ClassificationConfig)
    store = open_data(config.data, only_tested=is_classifier)
    config = with_lung_model(config, store)
    every = read_everything(config, store, masks=not is_classifier)
    images, left_out = unseen(every, store, runs)
    return config, store, images, left_out


def _ask(
    run: Path,
    known: dict[str, Any],
    config: ClassificationConfig,
    store: Store,
    images: Images,
    left_out: LeftOut,
    folder: RunFolder,
) -> dict[str, Any]:
    """Writes what a classifier answers on images of other classes, which it returns."""
    model = load_saved(run / "model.keras")
    classes = known["test"]["classes"]
    if not (run / FILE).exists():
        raise ValueError(f"{run} must have a decision rule. It has no {FILE}; train it again.")
    rule = DecisionRule.load(run / FILE)
    uncalibrated, statistics = outputs_of(model, config, images)
    probabilities = apply_temperature(uncalibrated, known["calibration"]["temperature"])
    about = {
        "task": known["task"],
        "title": f"{known['title']}, on {store.path.name}",
        "run": str(run),
        "weights": known["weights"],
        "classes": classes,
        "data": about_data(config, store, images, left_out),
    }
    decisions = apply_rule(rule, store, images, probabilities, classes, statistics)
    result, table = write_answers(
        folder, about, images, probabilities, decisions, known["abstention"]
    )
    logger.info(f"\n{about['title']}\n\n{table}\n")
    return result


def outputs_of(
    model: keras.Model, config: ClassificationConfig, images: Images
) -> tuple[np.ndarray, np.ndarray]:
    """Returns uncalibrated probabilities, float64 (n, k), and layer statistics, of n images.

    The engine is that of the run's features, where it is installed.
    """
    wanted: EngineChoice = "auto" if config.feature_engine == "openvino" else config.feature_engine
    outputs = LogitsAndStatistics(model, likely_engine(wanted), images.pixels)
    logits, statistics = outputs.of(images.pixels)
    return softmax(logits), statistics


def about_data(
    config: TrainingConfig, store: Store, images: Images, left_out: LeftOut
) -> dict[str, Any]:
    """Returns the entry ``data`` of what a test on another set gives."""
    about = {
        "source": store.path.name,
        "layout": store.layout,
        "fingerprint": store.fingerprint["digest"],
        "images": {"test": len(images)},
        "left_out": left_out.images,
        "near_duplicates_checked": left_out.near_duplicates_checked,
        **describe_lungs([images]),
    }
    if isinstance(config, ClassificationConfig) and ROIS[config.roi].needs_lungs:
        about["lungs"] = lungs_title(config.lungs)
    if isinstance(config, SegmentationConfig):
        about["without_usable_mask"] = segmentation.report_pairs(store)
    return about


def _test(
    run: Path,
    known: dict[str, Any],
    config: TrainingConfig,
    store: Store,
    images: Images,
    left_out: LeftOut,
    folder: RunFolder,
) -> dict[str, Any]:
    """Tests a model and writes what metrics.json holds, which it returns, and the rest."""
    task = known["task"]
    model = load_saved(run / "model.keras")
    metrics: dict[str, Any] = {
        "task": task,
        "title": f"{known['title']}, on {store.path.name}",
        "run": str(run),
        "data": about_data(config, store, images, left_out),
    }
    if isinstance(config, ClassificationConfig):
        classes = known["test"]["classes"]
        images = relabelled(images, store, classes)
        probabilities, statistics = outputs_of(model, config, images)
        metrics["weights"] = known["weights"]
        metrics["test"] = evaluate(images.labels, probabilities, classes)
        validation = run / "validation_predictions.csv"
        decisions = None
        if validation.exists():
            known_images = truth_and_probabilities(read_predictions(validation), classes)
            metrics["calibration"] = calibrate(
                known_images, (images.labels, probabilities), classes, images.groups
            )
            temperature = metrics["calibration"]["temperature"]
            if (run / FILE).exists():
                rule = DecisionRule.load(run / FILE)
                calibrated = apply_temperature(probabilities, temperature)
                decisions = apply_rule(rule, store, images, calibrated, classes, statistics)
        classification.write_test(folder, metrics, images, probabilities, classes, decisions)
        own = read_predictions(run / "predictions.csv")
        groups = [row.get("group", row["id"]) for row in own]
        common = of_common_classes(
            *truth_and_probabilities(own, classes), classes, groups, metrics["test"]
        )
        if common:
            metrics["internal_of_common_classes"] = common
        _add_comparison(folder, metrics, common or known["test"], ("accuracy", "f1", "auc"))
        draw_test(folder, metrics, images, probabilities, classes)
    else:
        metrics["threshold"] = known["threshold"]
        segmenter = Segmenter(model, known["threshold"])
        metrics |= segmentation.test(segmenter, images, config, folder)
        segmentation.write_test(folder, metrics)
        _add_comparison(folder, metrics, known["test"], ("dice", "iou"))
    return metrics


def _add_comparison(
    folder: RunFolder, metrics: dict[str, Any], internal: dict[str, Any], measures: tuple[str, ...]
) -> None:
    """Adds ``against_internal`` to metrics.json, once the intervals are known."""
    metrics["against_internal"] = compare_with_internal(internal, metrics["test"], measures)
    folder.write_json("metrics.json", metrics)


def unknown_classes(store: Store, classes: Sequence[str]) -> list[str]:
    """Returns the classes of a set that a classifier does not know, which a line names."""
    unknown = sorted(set(store.classes) - set(classes))
    if unknown:
        logger.warning(
            f"{store.path.name} has no classes of its own, or others than the model's "
            f"({', '.join(unknown)}): there are answers, and no scores."
        )
    return unknown


def relabelled(images: Images, store: Store, classes: Sequence[str]) -> Images:
    """Returns images with labels that count in a classifier's classes."""
    places = [classes.index(name) for name in store.classes]
    labels = images.labels.copy()
    for place, target in enumerate(places):
        labels[images.labels == place] = target
    return dataclasses.replace(images, labels=labels, classes=tuple(classes))
