"""Input ablations: the same model is trained again on inputs that lack part of the image.

Each ablation is an ordinary run in ``RUN/audit/``, so an interrupted audit resumes. An audit
with other options has numbered runs beside them.
"""

import contextlib
import dataclasses
import io
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from sklearn.ensemble import RandomForestClassifier

from kerascxr.audits.attention import measure_attention, read_test
from kerascxr.audits.origins import check_sources, origins_of
from kerascxr.cluster.parts import Part, run_all_parts
from kerascxr.config import ClassificationConfig, Depth, ResourcesConfig
from kerascxr.data.control_markers import CONTROL_MARKERS
from kerascxr.data.ingest.folds import split_folds
from kerascxr.data.ingest.store import Store
from kerascxr.data.pipeline import Images
from kerascxr.data.roi import ROIS, Ablation
from kerascxr.evaluation.ablation_verdicts import (
    overall_verdict,
    verdict_with_lungs,
    verdict_without_lungs,
    with_control,
)
from kerascxr.evaluation.classification import evaluate
from kerascxr.evaluation.comparison import difference
from kerascxr.evaluation.lung_masks import LungMaskCheck, lung_mask_faults
from kerascxr.evaluation.run_comparison import Tested, read_tested
from kerascxr.evaluation.uncertainty import classification_metrics
from kerascxr.models.classifier import build_classifier
from kerascxr.models.weights import load_weights
from kerascxr.parsing import load_config
from kerascxr.plots import input_ablations, samples
from kerascxr.runs.folder import RunFolder
from kerascxr.runs.locks import locked
from kerascxr.runs.reading import Run, read_run
from kerascxr.training import classification
from kerascxr.training.callbacks import ChangedIdentityError
from kerascxr.training.engines import engine_version
from kerascxr.training.feature_files import FeatureFolder
from kerascxr.training.inputs import open_run_store, read_splits
from kerascxr.training.lungs import (
    choose_lungs,
    lungs_digest,
    lungs_title,
    read_lungs,
    require_plausible,
)
from kerascxr.training.runtime import versions

logger = logging.getLogger(__name__)

FULL = "none"
HISTOGRAM = "histogram"
_HISTOGRAM = Ablation("grey histogram only", lungs_visible=False, without="any position")

DEPTH: Depth = 1
EPOCHS = 10
_MEASURES = ("accuracy", "f1", "auc")
_BINS = 64
_TREES = 500

_Planned = tuple[ClassificationConfig, Path]
_Cluster = tuple[str, ResourcesConfig]


def audit_run(
    path: Path,
    lungs: Path | None = None,
    depth: Depth | None = None,
    epochs: int = EPOCHS,
    cluster: str | None = None,
    resources: ResourcesConfig | None = None,
) -> dict[str, Any]:
    """Measures how well the class can be predicted without the disease.

    Writes ``RUN/audit/audit.json``, and the figures ``input_ablations`` and
    ``input_ablation_samples`` of the run. A second process waits, then finds all models trained.

    Args:
        path: A finished classification run.
        lungs: A finished segmentation run that finds the lungs; by default that of the run's own
            training, if it had one, else the source's own masks, or the package's lung model where
            some of these are missing.
        depth: What is trainable in the ablations' models, and in the full image's model that they
            are compared with; by default the run's depth, at most ``DEPTH``.
        epochs: Epochs of each model.
        cluster: Where several models are trained at once, see ``connected``; None for none.
        resources: What each of them takes there.

    Returns:
        What audit.json holds: ``ablations`` (name -> title, lungs_visible, without, measures with
        intervals, verdict and positive control), ``verdict`` (see ``overall_verdict``) and how the
        audit was made.

    Raises:
        ValueError: If the run is none, its images have changed or are not to be had, or too many
            lung masks are implausible.
    """
    run = read_run(path, "classification")
    with locked(path / ".audit.lock", f"Another process audits {path}; waiting for it."):
        at_once = (cluster, resources or ResourcesConfig()) if cluster else None
        return _audit(run, lungs, depth, epochs, at_once)


def _audit(
    run: Run, lungs: Path | None, depth: Depth | None, epochs: int, at_once: _Cluster | None
) -> dict[str, Any]:
    started, path = time.perf_counter(), run.path
    config = load_config(ClassificationConfig, path / "config.yaml")
    store = open_run_store(run, config.data)
    data = store.fingerprint["digest"]
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
            # The run's choice; a depth without cached features has none.
            linear_probe="auto" if config.linear_probe else False,
            augmented_copies=1,
            runtime=dataclasses.replace(config.runtime, tensorboard=False),
        )
        predicted: dict[str, np.ndarray] = {}
        truth, groups, classes = np.empty(0), [], run.metrics["test"]["classes"]

        def planned(name: str, control_marker: str | None = None) -> _Planned:
            part = dataclasses.replace(
                base,
                roi=name,
                lungs=lungs if ROIS[name].needs_lungs else None,
                control_marker=control_marker or config.control_marker,
                runs=path / "audit",
            )
            folder_name = f"{name}-control" if control_marker else name
            part = dataclasses.replace(part, name=f"{path.name}-{folder_name}")
            return part, RunFolder.free_path(part, path / "audit" / folder_name)

        def tested_on(name: str, control_marker: str | None = None) -> Tested:
            return read_tested(_train(*planned(name, control_marker), data))

        if at_once:
            _train_at_once([planned(name) for name in names], data, *at_once)
        for number, name in enumerate(names, 1):
            logger.info(f"{number} of {len(names)}: {_ablation(name).title}")
            tested = tested_on(name)
            predicted[name] = tested.probabilities
            truth, groups = tested.truth, [row["group"] for row in tested.rows.values()]
        whole = dataclasses.replace(base, roi="none", lungs=None)
        images = read_splits(whole, store)
        predicted[HISTOGRAM] = _from_histograms(images, config.runtime.seed)
        ablations = _compare(predicted, truth, groups, classes)

        def marked(name: str, control_marker: str) -> np.ndarray:
            if name != HISTOGRAM:
                return tested_on(name, control_marker).probabilities
            config_marked = dataclasses.replace(whole, control_marker=control_marker)
            return _from_histograms(read_splits(config_marked, store), config.runtime.seed)

        before_controls = time.perf_counter()
        if at_once:
            needed = [of for of in ablations.items() if _needs_control(of[1]) and of[0] in ROIS]
            marked_runs = [planned(name, of["control_marker"]) for name, of in needed]
            _train_at_once(marked_runs, data, *at_once)
        ablations = _add_controls(ablations, marked, truth, groups, classes)
        control_seconds = time.perf_counter() - before_controls
        result: dict[str, Any] = {
            "title": run.name,
            "depth": depth,
            "epochs": epochs,
            "images": len(truth),
            "data": data,
            "lungs": lungs_title(lungs),
            "lung_masks": lung_masks.to_dict(),
            "chance": float(np.bincount(truth).max() / len(truth)),
            "run": {measure: run.metrics["test"][measure] for measure in _MEASURES},
            "ablations": ablations,
            "verdict": overall_verdict(ablations),
            "origins": _origins(config, images, store, folder),
            "attention": measure_attention(run, config, store, images["test"], found),
        }
        _draw(result, config, store, found, folder)
        result["control_seconds"] = control_seconds
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
        name: read_lungs(store, folds, run, config.image_size, FeatureFolder.of(config.data))
        for name, folds in split_folds(config.split).items()
    }
    faults = [lung_mask_faults(mask[..., 0]) for masks in found.values() for mask in masks]
    return found["test"], require_plausible(faults, run)


def _origins(
    config: ClassificationConfig, images: dict[str, Images], store: Store, folder: RunFolder
) -> dict[str, Any]:
    keras.utils.set_random_seed(config.runtime.seed)  # of which random weights are drawn
    model = build_classifier(config.backbone, len(store.classes), image_size=config.image_size)
    weights = load_weights(model, config.backbone, config.weights)
    classification.require_recorded_weights(config, weights)
    return check_sources(model, images, origins_of(store), config)


def _ablation(name: str) -> Ablation:
    found = _HISTOGRAM if name == HISTOGRAM else ROIS[name].ablation
    assert found is not None
    return found


def _train(config: ClassificationConfig, path: Path, data: str) -> Path:
    """Trains an ablation's run, or resumes it; its messages go to its own log only.

    One is trained again if its images, its lung model or the package versions have changed since:
    all ablations of an audit are compared with each other.

    Args:
        config: The ablation's config.
        path: Where to.
        data: Digest of the images' fingerprint.
    """
    again = dataclasses.replace(config, overwrite=True)
    try:
        if (path / "DONE").exists() and _outdated(config, read_run(path), data):
            raise ChangedIdentityError
        _train_or_resume(config, path)
    except ChangedIdentityError:
        logger.info(f"{path}: its images, lung model or packages have changed; training it again.")
        _train_or_resume(again, path)
    return path


def _train_at_once(
    runs: Sequence[_Planned], data: str, cluster: str, resources: ResourcesConfig
) -> None:
    """Trains those of the ablations' runs that ``_train`` would train, on a cluster."""

    def part(config: ClassificationConfig, path: Path) -> Part:
        return Part(path.name, path, lambda: (train_in_worker, (config, path, data)), quiet=True)

    parts = [
        part(config, path)
        for config, path in runs
        if not (path / "DONE").exists() or _outdated(config, read_run(path), data)
    ]
    run_all_parts(parts, cluster, resources)


def train_in_worker(config: ClassificationConfig, path: Path, data: str) -> None:
    """Trains an ablation's run in a worker of the cluster."""
    _train(config, path, data)


def _train_or_resume(config: ClassificationConfig, path: Path) -> None:
    with RunFolder.start_at(config, path) as folder:
        if not folder.finished:
            with folder.log_file(), contextlib.redirect_stdout(io.StringIO()):
                classification.train(config, folder, draw=False, decide=False)


def _outdated(config: ClassificationConfig, run: Run, data: str) -> bool:
    lungs = lungs_digest(config.lungs) if ROIS[config.roi].needs_lungs else ""
    now = versions() | engine_version(run.metrics["regime"]["feature_engine"])
    packages = run.environment["packages"] | {"kerascxr": run.environment["kerascxr"]}
    known = {name: packages.get(name.lower()) for name in now}
    of = run.metrics["data"]
    return known != now or (of["fingerprint"], of.get("lungs_sha256", "")) != (data, lungs)


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


def _needs_control(ablation: dict[str, Any]) -> bool:
    return not ablation["lungs_visible"] and ablation["verdict"] != "shown"


def _add_controls(
    ablations: dict[str, Any],
    marked: Callable[[str, str], np.ndarray],
    truth: np.ndarray,
    groups: list[str],
    classes: list[str],
) -> dict[str, Any]:
    """Trains a positive control for each ablation without the lungs that shows no shortcut.

    Args:
        ablations: From ``_compare``.
        marked: Returns the test images' probabilities, float (n, k), by the model of an ablation
            that is trained and tested on images with a control marker.
        truth: int (n,).
        groups: Each test image's group.
        classes: The k classes.

    Returns:
        The ablations, see ``with_control``.
    """
    full = ablations[FULL]["auc"]["value"]
    checked = dict(ablations)
    for name, of in ablations.items():
        if not _needs_control(of):
            continue
        marker = of["control_marker"]
        logger.info(f"{of['title']} shows no shortcut; positive control: {marker}")
        probabilities = marked(name, marker)
        resampled = classification_metrics(truth, probabilities, groups)[0]["auc"]
        control = {
            "marker": marker,
            "description": CONTROL_MARKERS[marker].description,
            "auc": {
                "value": evaluate(truth, probabilities, classes)["auc"],
                "interval": resampled.interval,
            },
        }
        checked[name] = with_control(of, control, full, len(truth))
    return checked


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
        images = read_test(config, store, name, found)
        chosen = [int(np.flatnonzero(images.labels == k)[0]) for k in np.unique(images.labels)]
        rows[_ablation(name).title] = [images.pixels[index, ..., 0] for index in chosen]
    with folder.figure("input_ablation_samples") as path:
        samples.class_samples(rows, path)
