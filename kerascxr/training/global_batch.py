"""Layers that compute on the global batch, while a worker runs its share of it.

BatchNorm normalises by the mean and variance of all workers' images, and dropout takes its rows of
the mask that a single worker would draw. So the number of workers changes nothing but the order of
sums.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from kerascxr.models.layers import FusedBatchNormalization
from kerascxr.training.workers import all_sum


def check_layers(model: keras.Model) -> None:
    """Checks that several workers can train a model.

    Raises:
        ValueError: If a layer draws at random and is no dropout, or is a BatchNorm with
            renormalisation: those would be drawn, or measured, on each worker's own images.
    """
    odd = [
        layer.name
        for layer in _layers(model)
        if (hasattr(layer, "seed_generator") and not isinstance(layer, keras.layers.Dropout))
        or getattr(layer, "renorm", False)
    ]
    if odd:
        raise ValueError(
            "several workers must have a model whose random layers are dropout, and whose "
            f"BatchNorm has no renorm. Got layers={', '.join(odd[:4])}."
        )


@contextlib.contextmanager
def on_global_batch(model: keras.Model, begin: tf.Tensor, total: tf.Tensor) -> Iterator[None]:
    """Lets a model's layers compute on the global batch; within ``strategy.run``.

    Args:
        model: The model.
        begin: The place of this worker's first image in the global batch, an int32 scalar.
        total: The size of the global batch, an int32 scalar.
    """
    replaced = []
    for layer in _layers(model):
        if isinstance(layer, keras.layers.BatchNormalization):
            call = _synchronized(layer, layer.call, total)
        elif isinstance(layer, keras.layers.Dropout):
            call = _of_global_mask(layer, layer.call, begin, total)
        else:
            continue
        layer.call = call
        replaced.append(layer)
    try:
        yield
    finally:
        for layer in replaced:
            del layer.call  # the class's own is there again


def _layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    yield from model._flatten_layers(include_self=False)


def _synchronized(
    layer: keras.layers.BatchNormalization, call: Callable[..., Any], total: tf.Tensor
) -> Callable[..., Any]:
    """Returns a BatchNorm's call with the statistics of all workers' images in training.

    Keras has ``synchronized=True`` for its own call, as the mean of squares minus the square of the
    mean, which loses digits. Here the variance is that of the differences to the mean.
    """

    def synchronized(inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        learns = training and layer.trainable and getattr(layer, "update_statistics", True)
        if not learns or mask is not None:
            return call(inputs, training=training, mask=mask)
        x = ops.cast(inputs, "float32")
        axes = [axis for axis in range(len(x.shape)) if axis != layer.axis % len(x.shape)]
        places = tf.reduce_prod([tf.shape(x)[axis] for axis in axes[1:]] or [1])
        n = tf.cast(total * places, tf.float32)
        mean = all_sum(tf.reduce_sum(x, axes)) / n
        shape = [1] * len(x.shape)
        shape[layer.axis] = -1
        differences = x - tf.reshape(mean, shape)
        variance = all_sum(tf.reduce_sum(tf.square(differences), axes)) / n
        y = ops.batch_normalization(
            x, mean, variance, layer.axis, layer.beta, layer.gamma, layer.epsilon
        )
        moved = variance
        if isinstance(layer, FusedBatchNormalization):  # its kernel's is the unbiased one
            moved = variance * (n / tf.maximum(n - 1.0, 1.0))
        for moving, now in ((layer.moving_mean, mean), (layer.moving_variance, moved)):
            moving.assign(moving * layer.momentum + now * (1.0 - layer.momentum))
        return ops.cast(y, layer.compute_dtype)

    return synchronized


def _of_global_mask(
    layer: keras.layers.Dropout, call: Callable[..., Any], begin: tf.Tensor, total: tf.Tensor
) -> Callable[..., Any]:
    """Returns a dropout's call with this worker's rows of the global batch's mask."""

    def dropped(inputs: Any, training: bool = False) -> Any:
        if not training or not layer.rate:
            return call(inputs, training=training)
        shape = [total, *inputs.shape[1:]]
        for axis, size in enumerate((layer.noise_shape or ())[1:], 1):
            shape[axis] = shape[axis] if size is None else size
        # The layer itself makes the mask, of ones: zeros, and 1 / (1 - rate).
        mask = call(tf.ones(shape, inputs.dtype), training=training)
        return inputs * mask[begin : begin + tf.shape(inputs)[0]]

    return dropped
