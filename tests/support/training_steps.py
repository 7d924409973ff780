"""A training step as the package takes it, on random data: what two of the tools measure."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerascxr.models.classifier import build_classifier, fine_tune, split_at_depth
from kerascxr.models.unet import build_unet
from kerascxr.training.losses import LOSSES
from kerascxr.training.precision import StepPrecision

_CLASSES = 4


@dataclass(frozen=True)
class Size:
    """The size of a step.

    Attributes:
        image: Side of the images, in pixels.
        batch: Images a step.
        filters: Base filters of a U-Net.
    """

    image: int
    batch: int
    filters: int = 16


class TrainingStep:
    """A compiled model and a batch. The first step, which traces, is taken at once.

    Attributes:
        first_loss: The loss of that step.

    Args:
        model: "unet", or a backbone and a depth, as "efficientnetb0:2". At depth 0, 1 and 2 its
            trainable layers are trained on features, at depth "all" it is on images.
        policy: The Keras dtype policy of the step.
        size: Its size.
        optimizer: The optimizer.
        xla: Whether XLA compiles the step.
        random_layers: Whether dropout and stochastic depth are on.
    """

    def __init__(
        self,
        model: str,
        policy: str,
        size: Size,
        optimizer: keras.optimizers.Optimizer,
        *,
        xla: bool = False,
        random_layers: bool = True,
    ):
        backbone, _, depth = model.partition(":")
        sides = (size.image, size.image)

        def build() -> keras.Model:
            if model == "unet":
                return build_unet(sides, size.filters)
            return build_classifier(backbone, _CLASSES, image_size=sides)

        whole = self._trained = build()
        precision = StepPrecision.of(whole, build, policy)
        random = np.random.default_rng(0)
        loss: keras.losses.Loss
        if model == "unet":
            x = random.uniform(0, 255, (size.batch, *sides, 1))
            y, loss = (x > 128).astype(np.float32), LOSSES["bce_dice"]()
        else:
            y = np.eye(_CLASSES, dtype=np.float32)[random.integers(0, _CLASSES, size.batch)]
            loss = keras.losses.CategoricalCrossentropy(from_logits=True)
            if depth == "all":
                x = random.uniform(0, 255, (size.batch, *sides, 3))
            else:
                given: Any = int(depth)
                fine_tune(whole, given)
                frozen, self._trained = split_at_depth(whole, given)
                x = np.abs(random.normal(size=(size.batch, *frozen.output_shape[1:])))
        if not random_layers:
            for layer in whole.layers:
                if isinstance(layer, keras.layers.Dropout):
                    layer.rate = 0.0  # of stochastic depth too
        self._batch = tf.constant(x, tf.float32), tf.constant(y)
        with precision.step(self._trained):
            self._trained.compile(optimizer, loss, jit_compile=xla)
            self.first_loss = self()

    def __call__(self) -> float:
        """Takes a step, waits for its end, and returns its loss."""
        return float(self._trained.train_on_batch(*self._batch))
