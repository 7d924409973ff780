"""Losses for binary masks, from logits, reduced in float32 whatever the precision policy.

A loss here gives one number an image; Keras takes the mean over the batch. Reducing each image by
itself keeps a small lung's error as heavy as a large one's, and makes the result independent of how
images fall into batches.
"""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops


def _per_image(mask: keras.KerasTensor, logits: keras.KerasTensor) -> tuple[Any, Any]:
    """Flattens both to float32 (batch, pixels).

    The cast comes before any sum: a float16 sum over a 256x256 mask of ones would be 65,536, which
    is over float16's largest number, 65,504.
    """
    mask = ops.cast(mask, "float32")
    logits = ops.cast(logits, "float32")
    batch = ops.shape(logits)[0]
    return ops.reshape(mask, (batch, -1)), ops.reshape(logits, (batch, -1))


def soft_dice_loss(
    mask: keras.KerasTensor, logits: keras.KerasTensor, smooth: float = 1.0
) -> keras.KerasTensor:
    """Returns one minus the Dice of the probabilities, an image at a time.

    ``1 - (2 sum(p t) + smooth) / (sum(p) + sum(t) + smooth)``. With an empty mask the loss is
    ``sum(p) / (sum(p) + smooth)``: 0 for an empty prediction, towards 1 as false pixels come.

    Args:
        mask: (batch, height, width, 1), any number type, 0 or 1.
        logits: (batch, height, width, 1), any float type.
        smooth: Pixels added to both parts of the quotient; above 0, so that two empty masks are
            defined.

    Returns:
        float32 (batch,), 0..1.

    Source:
        Milletari, Navab and Ahmadi, 3DV 2016, section 3, with plain sums for the squared ones.
    """
    t, z = _per_image(mask, logits)
    p = ops.sigmoid(z)
    overlap = ops.sum(p * t, axis=1)
    size = ops.sum(p, axis=1) + ops.sum(t, axis=1)
    return 1.0 - (2.0 * overlap + smooth) / (size + smooth)


def cross_entropy(mask: keras.KerasTensor, logits: keras.KerasTensor) -> keras.KerasTensor:
    """Returns the mean binary cross-entropy of an image's pixels, in nats.

    It is computed from logits, so it neither overflows nor takes the logarithm of 0.

    Args:
        mask: (batch, height, width, 1), any number type, 0 or 1.
        logits: (batch, height, width, 1), any float type.

    Returns:
        float32 (batch,), at least 0.
    """
    t, z = _per_image(mask, logits)
    return ops.mean(ops.binary_crossentropy(t, z, from_logits=True), axis=1)


def tversky_index(
    mask: keras.KerasTensor,
    logits: keras.KerasTensor,
    false_negative_weight: float = 0.7,
    smooth: float = 1.0,
) -> keras.KerasTensor:
    """Returns the Tversky index of the probabilities, an image at a time.

    ``(TP + smooth) / (TP + a FN + (1 - a) FP + smooth)`` with ``a = false_negative_weight``. At 0.5
    that is Dice. Two empty masks give 1.

    Args:
        mask: (batch, height, width, 1), any number type, 0 or 1.
        logits: (batch, height, width, 1), any float type.
        false_negative_weight: ``a``, 0..1; above 0.5 it leans to sensitivity.
        smooth: Pixels added to both parts of the quotient, above 0.

    Returns:
        float32 (batch,), 0..1.

    Source:
        Salehi, Erdogmus and Gholipour, MLMI 2017, equation 3.
    """
    t, z = _per_image(mask, logits)
    p = ops.sigmoid(z)
    tp = ops.sum(p * t, axis=1)
    fn = ops.sum((1.0 - p) * t, axis=1)
    fp = ops.sum(p * (1.0 - t), axis=1)
    missed = false_negative_weight * fn + (1.0 - false_negative_weight) * fp
    return (tp + smooth) / (tp + missed + smooth)


@keras.saving.register_keras_serializable(package="kerascxr")
class BCEDice(keras.losses.Loss):
    """Weighted sum of binary cross-entropy and soft Dice loss.

    Cross-entropy gives every pixel a steady gradient from the first step; Dice is what is reported,
    and does not mind how much of the image is background.

    Source:
        Isensee et al., Nature Methods 2021, online methods: cross-entropy plus Dice, equal weights.
    """

    def __init__(
        self,
        bce_weight: float = 1.0,
        dice_weight: float = 1.0,
        smooth: float = 1.0,
        name: str = "bce_dice",
        reduction: str = "sum_over_batch_size",
    ) -> None:
        """Keeps the weights.

        Args:
            bce_weight: Of the cross-entropy, at least 0.
            dice_weight: Of the Dice loss, at least 0; not both 0.
            smooth: See ``soft_dice_loss``.
            name: The loss's name in the history.
            reduction: As in ``keras.losses.Loss``.

        Raises:
            ValueError: If a weight is negative, both are 0, or ``smooth`` is not above 0.
        """
        if min(bce_weight, dice_weight) < 0 or bce_weight + dice_weight == 0:
            raise ValueError(
                "Loss weights must be at least 0, and one of them above 0. "
                f"Got bce_weight={bce_weight}, dice_weight={dice_weight}."
            )
        _check_smooth(smooth)
        super().__init__(name=name, reduction=reduction, dtype="float32")
        self.bce_weight = bce_weight
        self.dice_weight = dice_weight
        self.smooth = smooth

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """Returns float32 (batch,) for masks and logits of shape (batch, height, width, 1)."""
        bce = cross_entropy(y_true, y_pred)
        return self.bce_weight * bce + self.dice_weight * soft_dice_loss(
            y_true, y_pred, self.smooth
        )

    def get_config(self) -> dict[str, Any]:
        """Returns what builds an equal loss."""
        return {
            **super().get_config(),
            "bce_weight": self.bce_weight,
            "dice_weight": self.dice_weight,
            "smooth": self.smooth,
        }


@keras.saving.register_keras_serializable(package="kerascxr")
class FocalTversky(keras.losses.Loss):
    """``(1 - Tversky index) ** (1 / gamma)``: an image nearly right still learns.

    Source:
        Abraham and Khan, ISBI 2019, equation 4; 0.7 and 4/3 are their best.
    """

    # x ** 0.75 has an infinite slope at 0, which backward would turn into NaN on a perfect image.
    _SMALLEST = 1e-6

    def __init__(
        self,
        false_negative_weight: float = 0.7,
        gamma: float = 4 / 3,
        smooth: float = 1.0,
        name: str = "focal_tversky",
        reduction: str = "sum_over_batch_size",
    ) -> None:
        """Keeps the weights.

        Args:
            false_negative_weight: 0..1; false positives weigh the rest.
            gamma: At least 1, where it is the Tversky loss itself.
            smooth: See ``tversky_index``.
            name: The loss's name in the history.
            reduction: As in ``keras.losses.Loss``.

        Raises:
            ValueError: If one of the three is out of its range.
        """
        if not 0 <= false_negative_weight <= 1:
            raise ValueError(
                "The weight of false negatives must be between 0 and 1. "
                f"Got false_negative_weight={false_negative_weight}."
            )
        if gamma < 1:
            raise ValueError(f"The focus must be at least 1. Got gamma={gamma}.")
        _check_smooth(smooth)
        super().__init__(name=name, reduction=reduction, dtype="float32")
        self.false_negative_weight = false_negative_weight
        self.gamma = gamma
        self.smooth = smooth

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """Returns float32 (batch,) for masks and logits of shape (batch, height, width, 1)."""
        index = tversky_index(y_true, y_pred, self.false_negative_weight, self.smooth)
        return ops.power(ops.maximum(1.0 - index, self._SMALLEST), 1.0 / self.gamma)

    def get_config(self) -> dict[str, Any]:
        """Returns what builds an equal loss."""
        return {
            **super().get_config(),
            "false_negative_weight": self.false_negative_weight,
            "gamma": self.gamma,
            "smooth": self.smooth,
        }


def _check_smooth(smooth: float) -> None:
    if smooth <= 0:
        raise ValueError(
            f"Smoothing must be above 0, or two empty masks give 0 / 0. Got smooth={smooth}."
        )


LOSSES: dict[str, Callable[..., keras.losses.Loss]] = {
    "bce_dice": BCEDice,
    "focal_tversky": FocalTversky,
}
