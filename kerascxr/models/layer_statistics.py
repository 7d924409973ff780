"""Statistics of a backbone's layers: each channel's mean and deviation over an image.

Early layers carry how an image was made (sharpness, noise, compression), late ones what it shows.
"""

from typing import NamedTuple

import keras
import numpy as np

from kerascxr.models.classifier import backbone_of, linear_probe_of, pooled_layer


class NonFiniteStatisticsError(ArithmeticError):
    """Layer statistics are NaN or infinite."""


class LayerStatistics(NamedTuple):
    """The statistics of a model's layers as one symbolic tensor.

    Attributes:
        output: float32 (batch, n), the layers one after another, of each the means and then the
            deviations of its channels.
        sizes: How many of the n numbers each layer has.
    """

    output: keras.KerasTensor
    sizes: tuple[int, ...]


def layer_statistics(model: keras.Model) -> LayerStatistics:
    """Builds the statistics of a classifier's layers.

    Args:
        model: A classifier from ``build_classifier``.

    Returns:
        Those of the layers that its backbone names as ``stage_outputs``; of the backbone's output
        if it names none.
    """
    layers = [tensor for _, tensor in _measured(model)]
    sizes = tuple(2 * layer.shape[-1] for layer in layers)
    probe = linear_probe_of(model)
    if probe is not None:  # the same tensor, so that a model can be cut there
        return LayerStatistics(probe.input[1], sizes)
    parts = []
    for layer in layers:
        values = keras.ops.cast(layer, "float32")  # a float16 sum over a large image could overflow
        mean, variance = keras.ops.moments(values, axes=(1, 2))
        parts += [mean, keras.ops.sqrt(keras.ops.maximum(variance, 0.0))]
    return LayerStatistics(keras.ops.concatenate(parts, axis=-1), sizes)


def require_finite(model: keras.Model, statistics: np.ndarray, images: str) -> None:
    """Checks layer statistics before something is fitted to them.

    Args:
        model: The classifier that they are of.
        statistics: float (n, statistics).
        images: What they are of, e.g. "training images".

    Raises:
        NonFiniteStatisticsError: If one is NaN or infinite.
    """
    finite = np.isfinite(statistics)
    if finite.all():
        return
    ends = np.cumsum([2 * tensor.shape[-1] for _, tensor in _measured(model)])
    broken = int(np.searchsorted(ends, int(np.flatnonzero(~finite.all(axis=0))[0]), "right"))
    raise NonFiniteStatisticsError(
        f"layer statistics must be finite. Got NaN or infinity for {(~finite.all(axis=1)).sum():,} "
        f"of {len(statistics):,} {images}, first in {_measured(model)[broken][0]}; try "
        "--runtime.precision float32, other --weights or a lower --optimizer.learning_rate."
    )


def _measured(model: keras.Model) -> list[tuple[str, keras.KerasTensor]]:
    """Returns what is measured: the names and the outputs of layers."""
    names = backbone_of(model).stage_outputs
    if not names:
        return [("the backbone's output", pooled_layer(model).input)]
    return [(name, model.get_layer(name).output) for name in names]
