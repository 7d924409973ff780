"""Statistics of a backbone's layers: each channel's mean and deviation over an image.

Early layers carry how an image was made (sharpness, noise, compression), late ones what it shows.
"""

from typing import NamedTuple

import keras

from kerascxr.models.classifier import backbone_of, pooled_layer
from kerascxr.models.layers import LINEAR_PROBE


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
    names = backbone_of(model).stage_outputs
    probe = next((layer for layer in model.layers if layer.name == LINEAR_PROBE), None)
    layers = [model.get_layer(name).output for name in names] or [pooled_layer(model).input]
    sizes = tuple(2 * layer.shape[-1] for layer in layers)
    if probe is not None:  # the same tensor, so that a model can be cut there
        return LayerStatistics(probe.input[1], sizes)
    parts = []
    for layer in layers:
        values = keras.ops.cast(layer, "float32")  # a float16 sum over a large image could overflow
        mean, variance = keras.ops.moments(values, axes=(1, 2))
        parts += [mean, keras.ops.sqrt(keras.ops.maximum(variance, 0.0))]
    return LayerStatistics(keras.ops.concatenate(parts, axis=-1), sizes)
