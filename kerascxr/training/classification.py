"""Classification: one run from config to run folder."""

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from kerascxr.atomic import replacing
from kerascxr.config import ClassificationConfig
from kerascxr.data.images import to_trunk_input
from kerascxr.data.pipeline import (
    Images,
    steps_per_epoch,
)
from kerascxr.evaluation.calibration import calibrate
from kerascxr.evaluation.classification import (
    evaluate,
    precision_recall_curves,
    roc_curves,
)
from kerascxr.evaluation.uncertainty import classification_intervals
from kerascxr.models.backbones import BACKBONES
from kerascxr.models.classifier import build_classifier, fine_tune
from kerascxr.models.gradcam import GradCAM
from kerascxr.models.parameters import format_parameter_table, parameter_summary
from kerascxr.models.weights import load_weights
from kerascxr.names import look_up
from kerascxr.report import classification_figures, data_figures, figures, heat
from kerascxr.report.calibration import calibration_markdown
from kerascxr.report.calibration_figures import reliability
from kerascxr.report.tables import csv_text, metrics_markdown, metrics_text
from kerascxr.run_folder import RunFolder
from kerascxr.training.fitting import fit
from kerascxr.training.inputs import check_classes, open_data, read_splits
from kerascxr.training.learner import Learner
from kerascxr.training.runtime import environment, set_up

_SHOWN = ("loss", "accuracy", "val_loss", "val_accuracy", "val_f1", "val_auc")
_SAMPLES = 12
_SAMPLES_OF_CLASS = 6


def train(config: ClassificationConfig, folder: RunFolder) -> dict[str, Any]:
    """Trains, evaluates and writes a run; takes up one that was cut off.

    Args:
        config: What to do.
        folder: The run folder, from ``RunFolder.start``.

    Returns:
        What metrics.json holds.

    Raises:
        ValueError: If the config asks for what the data or this machine does not have.
        NonFiniteLossError: If the loss becomes NaN or infinite.
    """
    started = time.perf_counter()
    backbone = look_up(BACKBONES, config.backbone, "backbone")
    runtime = set_up(config.runtime, folder.say)
    store = open_data(config.data, folder.say)
    splits = read_splits(config, store)
    check_classes(splits)
    # Again, right before weights are drawn: an ingest on the way here may have drawn numbers too.
    keras.utils.set_random_seed(config.runtime.seed)
    with runtime.scope():
        model = build_classifier(
            config.backbone,
            len(store.classes),
            image_size=config.image_size,
            dropout=config.dropout,
        )
        weights = load_weights(model, config.backbone, config.weights)
        fine_tune(model, config.depth, update_statistics=config.update_statistics == "on")
    folder.say(f"Weights: {weights.description}")
    parameters = parameter_summary(model)
    title = f"{backbone.study_name}, depth {config.depth}"
    folder.say(format_parameter_table({title: parameters}))
    folder.write_json(
        "environment.json",
        environment(runtime, config.runtime.seed)
        | {"weights": dataclasses.asdict(weights), "data_fingerprint": store.fingerprint},
    )
    learner = Learner.build(model, splits, config, runtime, folder)
    progress = fit(
        learner.model,
        learner.training_pairs,
        steps_per_epoch(splits["train"], config.batch_size),
        learner.validation_figures,
        loss=keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=config.label_smoothing
        ),
        metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
        shown=_SHOWN,
        identity=store.fingerprint["digest"],
        config=config,
        runtime=runtime,
        folder=folder,
    )
    with replacing(folder.path / "model.keras") as partial:
        model.save(partial)
    for_calibration = learner.probabilities(splits["validation"])
    write_predictions(
        folder, "validation_predictions.csv", splits["validation"], for_calibration, store.classes
    )
    probabilities = learner.probabilities(splits["test"])
    metrics: dict[str, Any] = {
        "task": "classification",
        "title": title,
        "backbone": backbone.name,
        "depth": config.depth,
        "weights": weights.description,
        "data": {
            "source": store.path.name,
            "fingerprint": store.fingerprint["digest"],
            "images": {name: len(images) for name, images in splits.items()},
        },
        "parameters": parameters,
        "best_epoch": progress.best_epoch + 1,
        "epochs": len(progress.rows),
        "validation": _without_time(progress.rows[progress.best_epoch]),
        "test": evaluate(splits["test"].labels, probabilities, store.classes),
        "calibration": calibrate(
            (splits["validation"].labels, for_calibration),
            (splits["test"].labels, probabilities),
            store.classes,
        ),
    }
    with folder.figure("reliability") as path:
        reliability(metrics["calibration"], path)
    for what in ("accuracy", "loss"):
        with folder.figure(what) as path:
            figures.training_curves(
                progress.rows,
                path,
                what=what,
                best_epoch=metrics["best_epoch"],
                title=f"{title}: {what}",
            )
    with folder.figure("data_samples") as path:
        data_figures.class_samples(_samples_by_class(splits["train"]), path)
    _draw_evidence(model, splits["test"], probabilities, store.classes, folder)
    write_test(folder, metrics, splits["test"], probabilities, store.classes)
    folder.write_json("timing.json", {"seconds": time.perf_counter() - started})
    folder.finish()
    return metrics


def _samples_by_class(images: Images) -> dict[str, list[np.ndarray]]:
    """Returns some images of each class, spread over the set."""
    samples = {}
    for label, name in enumerate(images.classes):
        members = np.flatnonzero(images.labels == label)
        chosen = members[np.linspace(0, len(members) - 1, _SAMPLES_OF_CLASS).astype(np.int64)]
        samples[name] = [images.pixels[index, ..., 0] for index in chosen]
    return samples


def _draw_evidence(
    model: keras.Model,
    images: Images,
    probabilities: np.ndarray,
    classes: Sequence[str],
    folder: RunFolder,
) -> None:
    """Draws, for each class, Grad-CAM of the test image of it that is surest recognised."""
    chosen = []
    for label in range(len(classes)):
        of_class = np.flatnonzero(images.labels == label)
        chosen.append(int(of_class[probabilities[of_class, label].argmax()]))
    pixels = images.pixels[chosen]
    heats = GradCAM(model)(to_trunk_input(pixels).numpy(), np.arange(len(classes)))
    titles = [
        f"{name} {probabilities[index, label]:.0%}"
        for label, (name, index) in enumerate(zip(classes, chosen, strict=True))
    ]
    with folder.figure("grad_cam") as path:
        heat.evidence_grid(list(pixels[..., 0]), list(heats), titles, path)


def _without_time(row: dict[str, float]) -> dict[str, float]:
    return {key: value for key, value in row.items() if key != "seconds"}


def write_predictions(
    folder: RunFolder,
    name: str,
    images: Images,
    probabilities: np.ndarray,
    classes: Sequence[str],
) -> None:
    """Writes one row an image: id, group, truth, predicted, and each class's probability."""
    rows = [
        {
            "id": image,
            "group": group,
            "truth": classes[truth],
            "predicted": classes[row.argmax()],
        }
        | {f"probability {kind}": value for kind, value in zip(classes, row, strict=True)}
        for image, group, truth, row in zip(
            images.ids, images.groups, images.labels, probabilities, strict=True
        )
    ]
    folder.write_text(name, csv_text(rows))


def write_test(
    folder: RunFolder,
    metrics: dict[str, Any],
    images: Images,
    probabilities: np.ndarray,
    classes: Sequence[str],
) -> None:
    """Writes metrics, predictions and figures of a test, and prints the table.

    Args:
        folder: Where to.
        metrics: What metrics.json is to hold: "test" from ``evaluate``, which gets ``intervals``,
            "title", "weights", "data" and, if there is one, "calibration" from ``calibrate``.
        images: The images tested; their labels count in ``classes``.
        probabilities: float (n, k).
        classes: The model's k classes.
    """
    predicted = probabilities.argmax(axis=1)
    title = metrics["title"]
    metrics["test"]["intervals"] = classification_intervals(
        images.labels, probabilities, classes, images.groups
    )
    folder.write_json("metrics.json", metrics)
    note = f"\nWeights: {metrics['weights']}\n\nData: {metrics['data']['source']}, test images.\n"
    calibrated = calibration_markdown(metrics["calibration"]) if "calibration" in metrics else ""
    folder.write_text("metrics.md", metrics_markdown(metrics["test"], title) + calibrated + note)
    write_predictions(folder, "predictions.csv", images, probabilities, classes)
    with folder.figure("confusion_matrix") as path:
        matrix = metrics["test"]["confusion_matrix"]
        classification_figures.confusion_matrix(matrix, classes, path, title=title)
    with folder.figure("roc_and_precision_recall") as path:
        curves = (images.labels, probabilities, classes)
        classification_figures.roc_and_pr(
            roc_curves(*curves), precision_recall_curves(*curves), path
        )
    chosen = np.linspace(0, len(images) - 1, min(_SAMPLES, len(images))).astype(np.int64)
    with folder.figure("sample_predictions") as path:
        classification_figures.sample_predictions(
            images.pixels[chosen, ..., 0],
            [classes[images.labels[index]] for index in chosen],
            [classes[predicted[index]] for index in chosen],
            [float(probabilities[index].max()) for index in chosen],
            path,
        )
    folder.say(f"\nTest, {title}\nWeights: {metrics['weights']}\n")
    folder.say(f"{metrics_text(metrics['test'])}\n\nWritten to {folder.path}")
