"""Dice while training: thin Keras metrics on logits. Reported figures come later, from NumPy."""

import math
from typing import Any

import keras
from keras import ops


def _check_threshold(threshold: float) -> None:
    if not 0 < threshold < 1:
        raise ValueError(
            f"The threshold must be a probability between 0 and 1. Got threshold={threshold}."
        )


def _overlap_and_size(mask: Any, logits: Any, threshold: float) -> tuple[Any, Any]:
    """Returns ``|A and B|`` and ``|A| + |B|`` of each image, float32 (batch,).

    Float32 counts exactly up to 16.7 million pixels, a 4096x4096 image; float16 would overflow at a
    256x256 one.
    """
    # sigmoid(z) >= threshold, asked of z itself: no rounding near 0 and 1.
    logits = ops.cast(logits, "float32")
    cut = math.log(threshold / (1.0 - threshold))
    batch = ops.shape(logits)[0]
    a = ops.reshape(ops.cast(logits >= cut, "float32"), (batch, -1))
    b = ops.reshape(ops.cast(ops.cast(mask, "float32") > 0.5, "float32"), (batch, -1))
    return ops.sum(a * b, axis=1), ops.sum(a, axis=1) + ops.sum(b, axis=1)


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
    overlap, size = _overlap_and_size(mask, logits, threshold)
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
        _check_threshold(threshold)
        super().__init__(name=name, dtype="float32")
        self.threshold = threshold
        self._direction = "up"

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch of masks and logits, both (batch, height, width, 1)."""
        super().update_state(dice_per_image(y_true, y_pred, self.threshold), sample_weight)

    def get_config(self) -> dict[str, Any]:
        """Returns what builds an equal metric."""
        return {"name": self.name, "threshold": self.threshold}


@keras.saving.register_keras_serializable(package="kerascxr")
class PooledDice(keras.metrics.Metric):
    """Dice of all images' pixels taken together; 1 where there is no lung, true or found."""

    def __init__(self, threshold: float = 0.5, name: str = "pooled_dice") -> None:
        """Keeps the threshold.

        Args:
            threshold: See ``dice_per_image``.
            name: The metric's name in the history.

        Raises:
            ValueError: If the threshold is not between 0 and 1.
        """
        _check_threshold(threshold)
        super().__init__(name=name, dtype="float32")
        self.threshold = threshold
        self._direction = "up"
        # Summed in float64: a set of 256 images of 256x256 already passes what float32 can count.
        self.overlap = self.add_variable((), "zeros", dtype="float64", name="overlap")
        self.size = self.add_variable((), "zeros", dtype="float64", name="size")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch of masks and logits, both (batch, height, width, 1).

        Args:
            y_true: Masks, 0 or 1.
            y_pred: Logits.
            sample_weight: (batch,) weights of the images, or None.
        """
        overlap, size = _overlap_and_size(y_true, y_pred, self.threshold)
        overlap, size = ops.cast(overlap, "float64"), ops.cast(size, "float64")
        if sample_weight is not None:
            weight = ops.reshape(ops.cast(sample_weight, "float64"), (-1,))
            overlap, size = overlap * weight, size * weight
        self.overlap.assign_add(ops.sum(overlap))
        self.size.assign_add(ops.sum(size))

    def result(self) -> keras.KerasTensor:
        """Returns the Dice so far, a float32 scalar 0..1."""
        tiny = ops.cast(self.size == 0, "float64")  # 0 / 0 becomes 1 / 1
        return ops.cast((2.0 * self.overlap + tiny) / (self.size + tiny), "float32")

    def get_config(self) -> dict[str, Any]:
        """Returns what builds an equal metric."""
        return {"name": self.name, "threshold": self.threshold}
