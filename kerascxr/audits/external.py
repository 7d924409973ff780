"""Testing a finished run on another set, without training again."""

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

from kerascxr.config import (
    ClassificationConfig,
    DataConfig,
    SegmentationConfig,
    TrainingConfig,
)
from kerascxr.data.ingest.store import Store
from kerascxr.data.pipeline import Images
from kerascxr.data.roi import ROIS, check_roi
from kerascxr.evaluation.calibration import calibrate
from kerascxr.evaluation.classification import evaluate
from kerascxr.evaluation.transfer import compare_with_internal
from kerascxr.models.saved import load_saved
from kerascxr.models.segmenter import Segmenter
from kerascxr.parsing import load_config
from kerascxr.runs.atomic import replace_folder
from kerascxr.runs.folder import RunFolder
from kerascxr.runs.reading import read_predictions, read_run, truth_and_probabilities
from kerascxr.training import classification, segmentation
from kerascxr.training.figures import draw_test
from kerascxr.training.inputs import describe_lungs, open_data, read_everything
from kerascxr.training.learner import predict_probabilities
from kerascxr.training.lungs import choose_lungs, lungs_title, require_same_lungs

logger = logging.getLogger(__name__)

_SEEN = "training_images.csv"


def evaluate_run(run: Path, data: DataConfig, lungs: Path | None = None) -> dict[str, Any]:
    """Tests a run's model on a set; writes ``RUN/external/<set>/`` whole or not at all.

    Images that the model was trained or validated on, by the digests of their pixels, are left out.

    A classifier is scored on the classes that the set has, which must all be among its own, and
    with the temperature and the thresholds of its own validation images.

    Args:
        run: A finished run folder.
        data: The other set.
        lungs: A finished segmentation run that predicts the lung masks for a classifier that needs
            them. By default they come from where they came in training; where that was the
            source's masks and this set has not one for each image, from the package's lung model.

    Returns:
        What metrics.json holds. Its ``data`` says in ``lungs`` where a classifier's lung masks
        came from, if it needs them.

    Raises:
        ValueError: If the run is not finished, the set does not fit it, or the model was trained
            or validated on all of it.
    """
    for name in ("DONE", "metrics.json", "model.keras", "config.yaml", _SEEN):
        if not (run / name).exists():
            raise ValueError(f"{run} must be the folder of a finished run. It has no {name}.")
    known = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    task = known["task"]
    config: TrainingConfig
    if task == "classification":
        config = load_config(ClassificationConfig, run / "config.yaml")
        config = dataclasses.replace(config, lungs=lungs or config.lungs)
        check_roi(config.roi, config.lungs)
        if lungs is None:
            require_same_lungs(read_run(run))
    elif lungs is not None:
        raise ValueError(f"lungs must be left out for a U-Net. Got lungs={str(lungs)!r}.")
    else:
        config = load_config(SegmentationConfig, run / "config.yaml")
    config = dataclasses.replace(config, data=data)
    store = open_data(data)
    if isinstance(config, ClassificationConfig):
        _check_classes(store, known["test"]["classes"])
        if ROIS[config.roi].needs_lungs:
            config = dataclasses.replace(config, lungs=choose_lungs(config.lungs, store))
    every = read_everything(config, store, masks=task == "segmentation")
    images = _unseen(every, store, run)
    left_out = len(every) - len(images)
    place = run / "external" / store.path.name
    metrics: dict[str, Any] = {}

    def fill(partial: Path) -> None:
        metrics.update(_test(run, known, config, store, images, left_out, RunFolder(partial)))

    replace_folder(place, fill, "external test")
    logger.info(f"Written to {place}")
    return metrics


def _test(
    run: Path,
    known: dict[str, Any],
    config: TrainingConfig,
    store: Store,
    images: Images,
    left_out: int,
    folder: RunFolder,
) -> dict[str, Any]:
    """Tests a model and writes what metrics.json holds, which it returns, and the rest."""
    task = known["task"]
    model = load_saved(run / "model.keras")
    metrics: dict[str, Any] = {
        "task": task,
        "title": f"{known['title']}, on {store.path.name}",
        "run": str(run),
        "data": {
            "source": store.path.name,
            "layout": store.layout,
            "fingerprint": store.fingerprint["digest"],
            "images": {"test": len(images)},
            "left_out": left_out,
            **describe_lungs([images]),
        },
    }
    if isinstance(config, ClassificationConfig):
        if ROIS[config.roi].needs_lungs:
            metrics["data"]["lungs"] = lungs_title(config.lungs)
        classes = known["test"]["classes"]
        images = _relabelled(images, store, classes)
        probabilities = predict_probabilities(model, images, config.batch_size)
        metrics["weights"] = known["weights"]
        metrics["test"] = evaluate(images.labels, probabilities, classes)
        validation = run / "validation_predictions.csv"
        if validation.exists():
            known_images = truth_and_probabilities(read_predictions(validation), classes)
            metrics["calibration"] = calibrate(
                known_images, (images.labels, probabilities), classes, images.groups
            )
        classification.write_test(folder, metrics, images, probabilities, classes)
        _add_comparison(folder, metrics, known, ("accuracy", "f1", "auc"))
        draw_test(folder, metrics, images, probabilities, classes)
    else:
        metrics["threshold"] = known["threshold"]
        segmenter = Segmenter(model, known["threshold"])
        metrics |= segmentation.test(segmenter, images, config, folder)
        segmentation.write_test(folder, metrics)
        _add_comparison(folder, metrics, known, ("dice", "iou"))
    return metrics


def _add_comparison(
    folder: RunFolder, metrics: dict[str, Any], known: dict[str, Any], measures: tuple[str, ...]
) -> None:
    """Adds ``against_internal`` to metrics.json, once the intervals are known."""
    metrics["against_internal"] = compare_with_internal(known["test"], metrics["test"], measures)
    folder.write_json("metrics.json", metrics)


def _unseen(images: Images, store: Store, run: Path) -> Images:
    """Returns the images that a run's model was neither trained nor validated on."""
    seen = {row["digest"] for row in read_predictions(run / _SEEN)}
    digests = {row["id"]: row["digest"] for row in store.rows}
    kept = [index for index, image in enumerate(images.ids) if digests[image] not in seen]
    if not kept:
        raise ValueError(
            f"the set must hold images that {run} was not trained or validated on. Got "
            f"{store.path.name}, of which it was trained or validated on all {len(images):,}."
        )
    if len(kept) == len(images):
        return images
    logger.warning(
        f"Left out: {len(images) - len(kept):,} of {len(images):,} images, which the model was "
        "trained or validated on."
    )
    return images.only(kept)


def _check_classes(store: Store, classes: list[str]) -> None:
    unknown = set(store.classes) - set(classes)
    if unknown:
        raise ValueError(
            f"the set's classes must be among the run's, {', '.join(classes)}. "
            f"Got {', '.join(sorted(unknown))}; rename its folders, or use a CSV with labels."
        )


def _relabelled(images: Images, store: Store, classes: list[str]) -> Images:
    places = [classes.index(name) for name in store.classes]
    labels = images.labels.copy()
    for place, target in enumerate(places):
        labels[images.labels == place] = target
    return dataclasses.replace(images, labels=labels, classes=tuple(classes))
