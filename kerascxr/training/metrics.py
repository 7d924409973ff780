"""Dice during training: a thin Keras metric on logits. Reported figures come from NumPy."""

import math
from typing import Any

import keras
from keras import ops


def dice_per_image(
    mask: keras.KerasTensor, logits: keras.KerasTensor, threshold: float = 0.5
) -> keras.KerasTensor:
    """Returns ``2|A and B| / (|A| + |B|)`` of each image; two empty masks give 1.

    Args:
        mask: (batch, height, width, 1), any number type, 0 or 1.
        logits: (batch, height, width, 1), any float type.
        threshold: A pixel at or above this probability is lung, 0..1.

    Returns:
        float32 (batch,), 0..1.

    Source:
        Dice, Ecology 1945.
    """
    # Float32 counts exactly up to 16.7 million pixels, a 4096x4096 image; float16 would overflow at
    # a 256x256 one. sigmoid(z) >= threshold is tested on z itself: no rounding near 0 and 1.
    cut = math.log(threshold / (1.0 - threshold))
    batch = ops.shape(logits)[0]
    a = ops.reshape(ops.cast(ops.cast(logits, "float32") >= cut, "float32"), (batch, -1))
    b = ops.reshape(ops.cast(ops.cast(mask, "float32") > 0.5, "float32"), (batch, -1))
    overlap, size = ops.sum(a * b, axis=1), ops.sum(a, axis=1) + ops.sum(b, axis=1)
    return ops.where(size > 0, 2.0 * overlap / ops.maximum(size, 1.0), 1.0)


@keras.saving.register_keras_serializable(package="kerascxr")
class Dice(keras.metrics.Mean):
    """The mean of the images' Dice; every image weighs the same, however batches fall."""

    def __init__(self, threshold: float = 0.5, name: str = "dice") -> None:
        """Keeps the threshold.

        Args:
            threshold: See ``dice_per_image``.
            name: The metric's name in the history.

        Raises:
            ValueError: If the threshold is not between 0 and 1.
        """
        if not 0 < threshold < 1:
            raise ValueError(
                f"The threshold must be a probability between 0 and 1. Got threshold={threshold}."
            )
        super().__init__(name=name, dtype="float32")
        self.threshold = threshold
        self._direction = "up"

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch of masks and logits, both (batch, height, width, 1)."""
        super().update_state(dice_per_image(y_true, y_pred, self.threshold), sample_weight)

    def get_config(self) -> dict[str, Any]:
        """Returns what builds an equal metric."""
        return {"name": self.name, "threshold": self.threshold}
