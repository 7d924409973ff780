"""Models that find lungs, read from a U-Net's run or from its export."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from kerascxr.config import PACKAGED
from kerascxr.models.segmenter import Segmenter, mask_at
from kerascxr.serving.model_folder import find_model
from kerascxr.serving.predictors import digest_of, export_digest
from kerascxr.training.lungs import load_segmenter

Find = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
"""Images float32 (n, height, width, 1), 0..255, to the probabilities of the two largest components,
float32 of the same shape, and each image's number of components before, int32 (n,)."""


@dataclass(frozen=True)
class MaskPredictor:
    """A model that finds lungs.

    Attributes:
        name: Where it was read from.
        identity: A digest of what decides its masks.
        size: The (height, width) of its input, in pixels.
        threshold: Pixels with at least this probability are lung, 0..1.
        find: The model, with the small components removed.
    """

    name: str
    identity: str
    size: tuple[int, int]
    threshold: float
    find: Find

    def mask_at(self, probabilities: tf.Tensor, size: tuple[int, int]) -> np.ndarray:
        """Returns an image's lungs at its own size.

        Args:
            probabilities: Of one image, float32 (*self.size, 1), from ``find``.
            size: The image's (height, width).

        Returns:
            bool (*size,).
        """
        mask: np.ndarray = mask_at(probabilities, tf.constant(size), self.threshold).numpy()
        return mask[..., 0] > 0


def load_mask_predictor(path: Path) -> MaskPredictor:
    """Reads a finished segmentation run, or its export (its folder or one version of it).

    Args:
        path: The folder, or ``PACKAGED``.

    Raises:
        ValueError: If it is neither.
    """
    if path == PACKAGED:
        return predictor_of(load_segmenter(path), "the lung model that comes with kerascxr")
    task, place = find_model(path)
    if task != "segmentation":
        raise ValueError(f"{path} must be a U-Net's. Got a {task} model.")
    if (place / "DONE").exists():
        return predictor_of(load_segmenter(place), str(place))
    loaded = tf.saved_model.load(str(place))
    threshold = json.loads((place / "metadata.json").read_text(encoding="utf-8"))["threshold"]
    signature = loaded.signatures["pixels"]
    height, width = signature.structured_input_signature[1]["images"].shape[1:3]

    def find(images: tf.Tensor, keep: object = loaded) -> tuple[tf.Tensor, tf.Tensor]:
        del keep  # without a reference to it, the signature's variables would be freed
        outputs = signature(images=images)
        return outputs["lung_probabilities"], outputs["components"]

    return MaskPredictor(str(place), export_digest(place), (height, width), threshold, find)


def predictor_of(segmenter: Segmenter, name: str) -> MaskPredictor:
    """Returns the predictor of a U-Net that is in memory.

    Args:
        segmenter: The U-Net and its threshold.
        name: What to call it in messages.
    """
    model = segmenter.model

    spec = tf.TensorSpec((None, *segmenter.size, 1), tf.float32)

    @tf.function(input_signature=[spec], autograph=False)
    def find(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return segmenter.lungs_and_components(segmenter.probabilities(images))

    weights = [
        hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        for value in model.get_weights()
    ]
    identity = digest_of([model.to_json(), segmenter.threshold, weights])
    return MaskPredictor(name, identity, segmenter.size, segmenter.threshold, find)
