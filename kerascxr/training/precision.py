"""Mixed precision of the training step and of augmented copies. All else is in float32."""

import contextlib
import logging
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import keras
import tensorflow as tf

from kerascxr.config import ClassificationConfig, TrainingConfig
from kerascxr.training.engines import Precision
from kerascxr.training.workers import Workers

logger = logging.getLogger(__name__)

_BACKBONES = {
    ("efficientnetb0", 0),
    ("efficientnetb0", 1),
    ("efficientnetb0", 2),
    ("shufflenetv2", 1),
    ("shufflenetv2_x1_0", 1),
}
_COPIES = {"efficientnetb0"}

TOLERANCE = 0.05
"""Of the first batch's loss, relative to float32's, or absolute where that is below 1."""


@dataclass(frozen=True)
class StepPrecision:
    """The number type in which a training step computes.

    A model is built in float32, and stays so: its features, its validation, its test and the saved
    file are those of float32. Only while a training step runs do the layers that a mixed policy
    would give 16 bits have that policy. Variables are float32 under either.

    Attributes:
        policy: The Keras dtype policy's name.
        layers: The layers that take it. None in float32.
    """

    policy: str = "float32"
    layers: tuple[keras.layers.Layer, ...] = ()

    @classmethod
    def of(
        cls, model: keras.Model, build: Callable[[], keras.Model], policy: str
    ) -> "StepPrecision":
        """Finds the layers of a model that a policy would give 16 bits.

        Layers that were built with a type of their own, as a head's pooling in float32, keep it.

        Args:
            model: A model that was built in float32.
            build: Builds another one like it; called under the policy.
            policy: The Keras dtype policy's name.
        """
        if policy == "float32":
            return FLOAT32
        before = keras.config.dtype_policy(), random.getstate()
        keras.config.set_dtype_policy(policy)
        try:
            named = [layer.dtype_policy.name for layer in build().layers]
        finally:
            keras.config.set_dtype_policy(before[0])
            random.setstate(before[1])  # of which Keras draws seeds: other weights depend on it
        pairs = zip(model.layers, named, strict=True)
        return cls(policy, tuple(layer for layer, name in pairs if name == policy))

    def of_like(self, other: keras.Model) -> "StepPrecision":
        """Returns the same of a model whose layers have the same names, without building another.

        Args:
            other: A model that differs in its input's size alone.
        """
        names = {layer.name for layer in self.layers}
        return StepPrecision(
            self.policy, tuple(layer for layer in other.layers if layer.name in names)
        )

    @contextlib.contextmanager
    def step(self, model: keras.Model) -> Iterator[None]:
        """Gives the layers the policy, and the model too: Keras then scales a float16 loss.

        Args:
            model: The model that is trained; it shares the layers.
        """
        with self._set((*self.layers, model) if self.layers else (), self.policy):
            yield

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Gives the layers float32 again, within ``step``."""
        with self._set(self.layers, "float32"):
            yield

    @staticmethod
    @contextlib.contextmanager
    def _set(layers: tuple[keras.layers.Layer, ...], policy: str) -> Iterator[None]:
        before = [layer.dtype_policy for layer in layers]
        for layer in layers:
            layer.dtype_policy = policy
        try:
            yield
        finally:
            for layer, known in zip(layers, before, strict=True):
                layer.dtype_policy = known


FLOAT32 = StepPrecision()


def bfloat16_pays(config: TrainingConfig) -> bool:
    """Returns whether a training is worth bfloat16 on a CPU that computes in it.

    Measured: see docs/design/mixed-precision.md. A run must be a tenth shorter and more.
    """
    if not isinstance(config, ClassificationConfig):
        return True
    return config.features is not False and (config.backbone, config.depth) in _BACKBONES


def copies_precision(config: ClassificationConfig, policy: str) -> Precision:
    """Returns in what the features of augmented copies are computed, on a CPU that can.

    Args:
        config: The options; of the backbones, those count whose features bfloat16 makes faster.
        policy: The Keras dtype policy of the training step.
    """
    pays = policy == "mixed_bfloat16" and config.backbone in _COPIES
    return "bfloat16" if pays else "float32"


def check_step(
    precision: StepPrecision,
    model: keras.Model,
    batches: Callable[[int], tf.data.Dataset],
    loss: keras.losses.Loss,
    workers: Workers | None = None,
) -> StepPrecision:
    """Computes the first batch's loss in the step's precision and in float32.

    Args:
        precision: The precision.
        model: The model that is to be trained.
        batches: Returns batches (x, y[, weight]) from an epoch on.
        loss: The loss.
        workers: All workers, where several train together: the chief's batch decides for all.

    Returns:
        The precision if the loss is finite and near float32's; else float32, and a line says so.

    Raises:
        ValueError: If workers have other precisions, as machines with and without a GPU.
    """
    if workers is not None:
        workers.require_equal({"precision": precision.policy})
    if not precision.layers:
        return precision
    x, *targets = next(iter(batches(0)))
    expected = float(loss(targets[0], model(x, training=False), *targets[1:]))
    with precision.step(model):
        got = float(loss(targets[0], model(x, training=False), *targets[1:]))
    near = abs(got - expected) <= TOLERANCE * max(1.0, abs(expected))  # false for NaN
    if workers is not None:
        near = workers.of_chief(near)
    if near:
        logger.info(
            f"First batch: loss {got:.4f} in {precision.policy}, {expected:.4f} in float32."
        )
        return precision
    logger.info(
        f"The first batch has the loss {got:.4g} in {precision.policy} and {expected:.4g} in "
        "float32: training in float32."
    )
    return FLOAT32
