"""Models for prediction, read from a run's folder or from an export."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerascxr.data.roi import ROIS
from kerascxr.models.saved import load_saved
from kerascxr.runs.reading import read_run
from kerascxr.serving.graph import Classifier
from kerascxr.training.lungs import load_segmenter


@dataclass(frozen=True)
class Predictor:
    """A model that gives class probabilities.

    Attributes:
        name: What it was read from.
        classes: Its class names.
        size: The (height, width) that it takes.
        probabilities: float32 (n, *size, 1), 0..255, to float (n, n_classes), after the run's
            temperature.
        keras_model: The Keras model, where there is one; Grad-CAM needs it.
        takes_files: Whether ``probabilities`` takes PNG files, string (n,), in the place of pixels:
            a part of an image is cut out of the image at its own size.
    """

    name: str
    classes: tuple[str, ...]
    size: tuple[int, int]
    probabilities: Callable[[tf.Tensor], np.ndarray]
    keras_model: keras.Model | None = None
    takes_files: bool = False


@dataclass(frozen=True)
class LungFinder:
    """A U-Net's share of lung in an image."""

    name: str
    size: tuple[int, int]
    fractions: Callable[[tf.Tensor], np.ndarray]


def load_predictor(path: Path) -> Predictor:
    """Reads a finished run, or an export (its folder or one version of it).

    Raises:
        ValueError: If it is neither.
    """
    if (path / "DONE").exists():
        run = read_run(path, "classification")
        if run.config.get("roi", "none") != "none":
            raise ValueError(
                f"{path} sees a part of each image alone (roi {run.config['roi']}); export it, "
                "and predict with the export, which finds that part."
            )
        model = load_saved(path / "model.keras")
        classes = tuple(run.metrics["test"]["classes"])
        classifier = Classifier(model, classes, temperature=run.temperature)
        answer = tf.function(classifier.answer, reduce_retracing=True)
        return Predictor(
            str(path),
            classes,
            model.input_shape[1:3],
            lambda images: answer(images)["probabilities"].numpy(),
            model,
        )
    versions = sorted(
        (item for item in path.glob("*") if item.name.isdigit()), key=lambda item: int(item.name)
    )
    place = versions[-1] if versions else path
    if not (place / "saved_model.pb").exists() or not (place / "labels.txt").exists():
        raise ValueError(
            f"the model must be a finished run's folder or an export. Got {path}, which is neither."
        )
    loaded = tf.saved_model.load(str(place))
    size = loaded.signatures["pixels"].structured_input_signature[1]["images"].shape[1:3]
    whole = ROIS["none"].description
    description = json.loads((place / "metadata.json").read_text(encoding="utf-8"))
    takes_files = description.get("sees", whole) != whole
    signature = loaded.signatures["serving_default" if takes_files else "pixels"]

    def probabilities(images: tf.Tensor, keep: Any = loaded) -> np.ndarray:
        del keep  # a signature alone would let its variables go
        return signature(images=images)["probabilities"].numpy()

    classes = tuple((place / "labels.txt").read_text(encoding="utf-8").splitlines())
    return Predictor(
        str(place), classes, (size[0], size[1]), probabilities, takes_files=takes_files
    )


def load_lung_finder(path: Path) -> LungFinder:
    """Reads a finished segmentation run.

    Raises:
        ValueError: If it is none.
    """
    segmenter = load_segmenter(path)

    @tf.function(reduce_retracing=True)
    def fractions(images: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(tf.cast(segmenter.masks(images) > 0, tf.float32), axis=(1, 2, 3))

    return LungFinder(str(path), segmenter.size, lambda images: fractions(images).numpy())
