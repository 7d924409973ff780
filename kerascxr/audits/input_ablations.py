"""Input ablations: the same model is trained again on inputs that lack part of the image.

Each ablation is an ordinary run in ``RUN/audit/``, so an interrupted audit resumes. An audit
with other options has numbered runs beside them.
"""

import contextlib
import dataclasses
import io
import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from sklearn.ensemble import RandomForestClassifier

from kerascxr.audits.origins import check_sources, origins_of
from kerascxr.config import ClassificationConfig, Depth
from kerascxr.data.images import resize_mask, to_backbone_input
from kerascxr.data.ingest.folds import split_folds
from kerascxr.data.ingest.store import Store
from kerascxr.data.pipeline import Images, read_images
from kerascxr.data.roi import ROIS, Ablation
from kerascxr.evaluation.ablation_verdicts import (
    overall_verdict,
    verdict_with_lungs,
    verdict_without_lungs,
)
from kerascxr.evaluation.classification import evaluate
from kerascxr.evaluation.comparison import difference
from kerascxr.evaluation.lung_masks import LungMaskCheck, lung_mask_faults
from kerascxr.evaluation.run_comparison import read_tested
from kerascxr.evaluation.uncertainty import classification_metrics
from kerascxr.models.classifier import build_classifier
from kerascxr.models.gradcam import GradCAM
from kerascxr.models.saved import load_saved
from kerascxr.models.weights import load_weights
from kerascxr.parsing import load_config
from kerascxr.plots import input_ablations, samples
from kerascxr.runs.folder import RunFolder
from kerascxr.runs.reading import Run, read_run
from kerascxr.training import classification
from kerascxr.training.inputs import open_run_store, read_splits
from kerascxr.training.lungs import choose_lungs, lungs_title, read_lungs

logger = logging.getLogger(__name__)

FULL = "none"
HISTOGRAM = "histogram"
_HISTOGRAM = Ablation("grey histogram only", lungs_visible=False, without="any position")

DEPTH: Depth = 1
EPOCHS = 10
_MEASURES = ("accuracy", "f1", "auc")
_BINS = 64
_TREES = 500
_BATCH = 32


def audit_run(
    path: Path,
    lungs: Path | None = None,
    depth: Depth | None = None,
    epochs: int = EPOCHS,
) -> dict[str, Any]:
    """Measures how well the class can be predicted without the disease.

    Writes ``RUN/audit/audit.json``, and the figures ``input_ablations`` and
    ``input_ablation_samples`` of the run.

    Args:
        path: A finished classification run.
        lungs: A finished segmentation run that finds the lungs; by default that of the run's own
            training, if it had one, else the source's own masks, or the package's lung model where
            some of these are missing.
        depth: What is trainable in the ablations' models, and in the full image's model that they
            are compared with; by default the run's depth, at most ``DEPTH``.
        epochs: Epochs of each model.

    Returns:
        What audit.json holds: ``ablations`` (name -> title, lungs_visible, without, measures with
        intervals, verdict), ``verdict`` (see ``overall_verdict``) and how the audit was made.

    Raises:
        ValueError: If the run is none, its images have changed or are not to be had, or too many
            lung masks are implausible.
    """
    started = time.perf_counter()
    run = read_run(path, "classification")
    config = load_config(ClassificationConfig, path / "config.yaml")
    store = open_run_store(run, config.data)
    if depth is None:
        depth = config.depth if config.depth == 0 else DEPTH
    lungs = choose_lungs(lungs or config.lungs, store)
    folder = RunFolder(path)
    with folder.log_file():
        found, lung_masks = _find_lungs(config, store, lungs)
        names = [name for name, roi in ROIS.items() if roi.ablation]
        base = dataclasses.replace(
            config,
            depth=depth,
            epochs=epochs,
            patience=epochs,
            overwrite=False,
            features="auto",
            augmented_copies=1,
            runtime=dataclasses.replace(config.runtime, tensorboard=False),
        )
        predicted: dict[str, np.ndarray] = {}
        truth, groups, classes = np.empty(0), [], run.metrics["test"]["classes"]
        for number, name in enumerate(names, 1):
            logger.info(f"{number} of {len(names)}: {_ablation(name).title}")
            part = dataclasses.replace(
                base,
                roi=name,
                lungs=lungs if ROIS[name].needs_lungs else None,
                name=f"{path.name}-{name}",
                runs=path / "audit",
            )
            place = RunFolder.free_path(part, path / "audit" / name)
            tested = read_tested(_train(part, place))
            predicted[name] = tested.probabilities
            truth, groups = tested.truth, [row["group"] for row in tested.rows.values()]
        images = read_splits(dataclasses.replace(base, roi="none", lungs=None), store)
        predicted[HISTOGRAM] = _from_histograms(images, config.runtime.seed)
        ablations = _compare(predicted, truth, groups, classes)
        result: dict[str, Any] = {
            "title": run.name,
            "depth": depth,
            "epochs": epochs,
            "images": len(truth),
            "data": store.fingerprint["digest"],
            "lungs": lungs_title(lungs),
            "lung_masks": lung_masks.to_dict(),
            "chance": float(np.bincount(truth).max() / len(truth)),
            "run": {measure: run.metrics["test"][measure] for measure in _MEASURES},
            "ablations": ablations,
            "verdict": overall_verdict(ablations),
            "origins": _origins(config, images, store, folder),
            "attention": _attention(run, config, store, images["test"], found),
        }
        _draw(result, config, store, found, folder)
        result["seconds"] = time.perf_counter() - started
        folder.write_json("audit/audit.json", result)
        return result


def _find_lungs(
    config: ClassificationConfig, store: Store, run: Path | None
) -> tuple[np.ndarray, LungMaskCheck]:
    """Returns the lungs in the test images, and the check of those in all images.

    Raises:
        ValueError: If too many masks are implausible.
    """
    found = {
        name: read_lungs(store, folds, run, config.image_size, config.data.features)
        for name, folds in split_folds(config.split).items()
    }
    faults = [lung_mask_faults(mask[..., 0]) for masks in found.values() for mask in masks]
    check = LungMaskCheck.of(faults)
    check.require_plausible(lungs_title(run))
    logger.info(check)
    return found["test"], check


def _origins(
    config: ClassificationConfig, images: dict[str, Images], store: Store, folder: RunFolder
) -> dict[str, Any]:
    model = build_classifier(config.backbone, len(store.classes), image_size=config.image_size)
    load_weights(model, config.backbone, config.weights)
    return check_sources(model, images, origins_of(store), config)


def _ablation(name: str) -> Ablation:
    found = _HISTOGRAM if name == HISTOGRAM else ROIS[name].ablation
    assert found is not None
    return found


def _train(config: ClassificationConfig, path: Path) -> Path:
    """Trains an ablation's run, or resumes it; its messages go to its own log only."""
    with RunFolder.start_at(config, path) as folder:
        if not folder.finished:
            with folder.log_file(), contextlib.redirect_stdout(io.StringIO()):
                classification.train(config, folder, draw=False)
    return path


def _from_histograms(images: dict[str, Images], seed: int) -> np.ndarray:
    """Predicts the test images by a random forest on their grey levels' histograms alone."""

    def histograms(of: Images) -> np.ndarray:
        edges = np.linspace(0, 256, _BINS + 1)
        return np.stack([np.histogram(pixels, edges)[0] / pixels.size for pixels in of.pixels])

    model = RandomForestClassifier(_TREES, min_samples_leaf=2, random_state=seed)
    model.fit(histograms(images["train"]), images["train"].labels)
    return model.predict_proba(histograms(images["test"]))


def _compare(
    predicted: dict[str, np.ndarray], truth: np.ndarray, groups: list[str], classes: list[str]
) -> dict[str, Any]:
    """Evaluates each ablation: measures with intervals, differences to the full image, verdict."""
    resampled = {
        name: classification_metrics(truth, probabilities, groups)[0]
        for name, probabilities in predicted.items()
    }
    ablations: dict[str, Any] = {}
    for name, probabilities in predicted.items():
        scores = evaluate(truth, probabilities, classes)
        of: dict[str, Any] = dataclasses.asdict(_ablation(name))
        for measure in _MEASURES:
            gap = difference(resampled[FULL][measure], resampled[name][measure], paired=True)
            of[measure] = {
                "value": scores[measure],
                "interval": resampled[name][measure].interval,
                "difference": gap and gap.value,
                "difference_interval": gap and (gap.low, gap.high),
            }
        if name != FULL and of["lungs_visible"]:
            of |= verdict_with_lungs(of["auc"])
        elif name != FULL:
            of |= verdict_without_lungs(of["auc"], ablations[FULL]["auc"]["value"], len(truth))
        ablations[name] = of
    return ablations


def _attention(
    run: Run, config: ClassificationConfig, store: Store, test: Images, found: np.ndarray
) -> dict[str, Any]:
    """Returns, by true class, the share of Grad-CAM's mass in the lungs, and theirs of the area.

    The share is None for a class on whose images Grad-CAM is 0 everywhere.

    Grad-CAM is that of the run's own model, for the class that it predicts, on the input that the
    model was trained on. The lungs get the run's region of interest too, so that both have the
    coordinates of that input.
    """
    model = load_saved(run.path / "model.keras")
    maps = tf.function(GradCAM(model).maps, reduce_retracing=True)
    own, seen = found, test
    if config.roi != "none":
        if ROIS[config.roi].needs_lungs:
            folds = split_folds(config.split)["test"]
            own = read_lungs(store, folds, config.lungs, config.image_size, config.data.features)
        seen = _test_images(config, store, config.roi, own)
    visible = tf.function(lambda lungs, own: _visible_lungs(config, lungs, own))
    logits = tf.function(lambda x: model(x, training=False), reduce_retracing=True)
    shares, areas = [], []
    for begin in range(0, len(test), _BATCH):
        x = to_backbone_input(seen.pixels[begin : begin + _BATCH])
        heat = maps(x, tf.argmax(logits(x), axis=1, output_type=tf.int32)).numpy()
        inside = np.stack(
            [
                visible(*pair).numpy()
                for pair in zip(found[begin:][:_BATCH], own[begin:][:_BATCH], strict=True)
            ]
        )
        total = heat.sum(axis=(1, 2))
        with np.errstate(invalid="ignore"):  # no heat at all: left out of the means
            shares.append((heat * inside).sum(axis=(1, 2)) / total)
        areas.append(inside.mean(axis=(1, 2)))
    share, area = np.concatenate(shares), np.concatenate(areas)
    by_class: dict[str, Any] = {}
    for index, name in enumerate(test.classes):
        chosen = test.labels == index
        defined = share[chosen & np.isfinite(share)]
        by_class[name] = {
            "images": int(chosen.sum()),
            "inside": float(defined.mean()) if len(defined) else None,
            "area": float(area[chosen].mean()),
        }
    return by_class


def _visible_lungs(config: ClassificationConfig, lungs: tf.Tensor, own: tf.Tensor) -> tf.Tensor:
    """Returns where a classifier's input shows the lungs.

    Args:
        config: The classifier's image size and region of interest.
        lungs: uint8 (h, w, 1), 0 or 255, of the full image.
        own: The lung mask that the region of interest is computed from, likewise.

    Returns:
        bool (*image_size).
    """
    if config.roi == "none":
        return resize_mask(lungs, config.image_size)[..., 0] > 0
    return ROIS[config.roi].apply(lungs, own, config.image_size)[..., 0] >= 128


def _test_images(
    config: ClassificationConfig, store: Store, roi: str, found: np.ndarray | None
) -> Images:
    folds = split_folds(config.split)["test"]
    return read_images(
        store, folds, config.image_size, roi=roi, lungs=found, cache=config.data.cache
    )


def _draw(
    result: dict[str, Any],
    config: ClassificationConfig,
    store: Store,
    found: np.ndarray,
    folder: RunFolder,
) -> None:
    with folder.figure("input_ablations") as path:
        input_ablations.scores(result, path)
    rows: dict[str, list[np.ndarray]] = {}
    for name in result["ablations"]:
        if name == HISTOGRAM:
            continue
        images = _test_images(config, store, name, found)
        chosen = [int(np.flatnonzero(images.labels == k)[0]) for k in np.unique(images.labels)]
        rows[_ablation(name).title] = [images.pixels[index, ..., 0] for index in chosen]
    with folder.figure("input_ablation_samples") as path:
        samples.class_samples(rows, path)
