"""A classification run's figures, drawn into its folder."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from kerascxr.data.images import to_backbone_input
from kerascxr.data.pipeline import Images
from kerascxr.evaluation.calibration import apply_temperature
from kerascxr.evaluation.classification import precision_recall_curves, roc_curves
from kerascxr.evaluation.examples import confident_errors, typical_images
from kerascxr.models.gradcam import GradCAM
from kerascxr.plots import classification, curves, heat, samples
from kerascxr.plots.calibration import reliability
from kerascxr.runs.folder import RunFolder

_SAMPLES = 12
_SAMPLES_OF_CLASS = 6


def draw_training(
    folder: RunFolder, metrics: dict[str, Any], rows: list[dict[str, Any]], training: Images
) -> None:
    """Draws the learning curves, the calibration, and samples of the training images.

    Args:
        folder: Where to.
        metrics: What metrics.json holds.
        rows: The history, a row an epoch.
        training: The training images.
    """
    with folder.figure("reliability") as path:
        reliability(metrics["calibration"], path)
    for what in ("accuracy", "loss"):
        with folder.figure(what) as path:
            curves.training_curves(
                rows,
                path,
                what=what,
                best_epoch=metrics["best_epoch"],
                title=f"{metrics['title']}: {what}",
            )
    with folder.figure("data_samples") as path:
        samples.class_samples(_samples_by_class(training), path)


def draw_evidence(
    folder: RunFolder,
    model: keras.Model,
    metrics: dict[str, Any],
    images: Images,
    probabilities: np.ndarray,
    classes: Sequence[str],
) -> None:
    """Draws Grad-CAM for the predicted class: of each class a typical image, and its worst error.

    Args:
        folder: Where to.
        model: The classifier.
        metrics: What metrics.json holds.
        images: The test images.
        probabilities: float (n, k), uncalibrated; the figure has them as they are served.
        classes: The k class names.
    """
    probabilities = _served(metrics, probabilities)
    predicted = probabilities.argmax(axis=1)
    chosen = {
        "correct": typical_images(images.labels, probabilities),
        "wrong": confident_errors(images.labels, probabilities),
    }
    shown = [index for of in chosen.values() for index in of if index is not None]
    # All at once: a model that is not traced takes most of its time for the call.
    inputs = to_backbone_input(images.pixels[shown]).numpy()
    maps = dict(zip(shown, GradCAM(model)(inputs, predicted[shown]), strict=True))

    def example(index: int | None) -> heat.Evidence | None:
        if index is None:
            return None
        truth, named = classes[images.labels[index]], classes[predicted[index]]
        title = f"truth: {truth}\npredicted: {named} {probabilities[index].max():.0%}"
        return heat.Evidence(images.pixels[index, ..., 0], maps[index], title)

    rows = {name: [example(index) for index in of] for name, of in chosen.items()}
    with folder.figure("grad_cam") as path:
        heat.evidence_grid(rows, path)


def draw_test(
    folder: RunFolder,
    metrics: dict[str, Any],
    images: Images,
    probabilities: np.ndarray,
    classes: Sequence[str],
) -> None:
    """Draws the confusion matrix, the curves, and samples of the predictions.

    Args:
        folder: Where to.
        metrics: What metrics.json holds.
        images: The images tested; their labels count in ``classes``.
        probabilities: float (n, k), uncalibrated; the samples have them as they are served.
        classes: The model's k classes.
    """
    predicted = probabilities.argmax(axis=1)
    with folder.figure("confusion_matrix") as path:
        matrix = metrics["test"]["confusion_matrix"]
        classification.confusion_matrix(matrix, classes, path, title=metrics["title"])
    with folder.figure("roc_and_precision_recall") as path:
        curves = (images.labels, probabilities, classes)
        classification.roc_and_pr(roc_curves(*curves), precision_recall_curves(*curves), path)
    served = _served(metrics, probabilities)
    chosen = np.linspace(0, len(images) - 1, min(_SAMPLES, len(images))).astype(np.int64)
    with folder.figure("sample_predictions") as path:
        classification.sample_predictions(
            images.pixels[chosen, ..., 0],
            [classes[images.labels[index]] for index in chosen],
            [classes[predicted[index]] for index in chosen],
            [float(served[index].max()) for index in chosen],
            path,
        )


def _served(metrics: dict[str, Any], probabilities: np.ndarray) -> np.ndarray:
    """Returns calibrated probabilities, where there is a calibration."""
    temperature = metrics.get("calibration", {}).get("temperature", 1.0)
    return apply_temperature(probabilities, temperature)


def _samples_by_class(images: Images) -> dict[str, list[np.ndarray]]:
    """Returns some images of each class, spread over the set."""
    samples = {}
    for label, name in enumerate(images.classes):
        members = np.flatnonzero(images.labels == label)
        chosen = members[np.linspace(0, len(members) - 1, _SAMPLES_OF_CLASS).astype(np.int64)]
        samples[name] = [images.pixels[index, ..., 0] for index in chosen]
    return samples
