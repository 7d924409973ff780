"""Counts of parameters and estimates of memory, by the reference study's conventions."""

import math
import re
from collections.abc import Mapping

import keras
from keras import layers

from kerascxr.models.layers import ChannelShuffle, FeatureStandardization, LinearProbe
from kerascxr.tables import text_table

_MB = 1024 * 1024
_FLOAT_BYTES = 4

# What torch has as modules; padding, splitting, reshaping and concatenating are functions there.
_MODULES = (
    layers.Activation,
    layers.BatchNormalization,
    layers.Conv2D,
    layers.Conv2DTranspose,
    layers.Dense,
    layers.DepthwiseConv2D,
    layers.Dropout,
    layers.GlobalAveragePooling2D,
    layers.MaxPooling2D,
    layers.ReLU,
    layers.UpSampling2D,
    # The joints of the modules with inner modules: squeeze-and-excitation, residual and shuffle.
    layers.Add,
    layers.Multiply,
    ChannelShuffle,
)
_JOINTS = (layers.Add, ChannelShuffle)
_BLOCK = re.compile(r"(block\d+[a-z]|stage\d+_block\d+)_")

COLUMNS = {
    "total": "total",
    "trainable": "trainable",
    "non_trainable": "non-trainable",
    "input_mb": "input MB",
    "forward_backward_mb": "forward/backward MB",
    "params_mb": "params MB",
    "estimated_total_mb": "estimated total MB",
}


def count_parameters(layer: layers.Layer) -> int:
    """Returns how many parameters a layer or a model has, frozen ones included.

    BatchNorm's moving statistics, the input's scaling and the constants of the head's
    standardisation and of a linear probe are not parameters.
    """
    inner = layer.layers if isinstance(layer, keras.Model) else [layer]
    return sum(
        math.prod(weight.shape)
        for item in inner
        for weight in item.weights
        if not _is_state(item, weight)
    )


def parameter_summary(model: keras.Model) -> dict[str, int | float]:
    """Counts a model's parameters and estimates its memory for one image.

    Parameters are kernels, biases, gamma and beta. As in torch, the moving statistics of BatchNorm,
    the input's scaling and the states of random generators are not. A linear probe is not counted:
    it is no part of the network that is trained, and metrics.json has its size beside these counts.

    Memory is computed for float32 under every policy; 1 MB is 1024 x 1024 bytes.

    * Input: one image.
    * Forward/backward: 2 x 4 bytes x the outputs of all modules for one image, stored once for the
      forward and once for the backward pass. Modules are convolutions, normalisations, activations
      (also those inside a Dense layer or a convolution), poolings, dropouts, Dense layers, and the
      modules made of them: squeeze-and-excitation, and each block. A block without a joint (sum,
      shuffle) counts its last layer's output twice. Padding, splitting, concatenating, reshaping
      and input scaling do not count.

      The study's 173.68 and 47.97 MB are this sum. Here it gives 173.67 and 47.97: the study's
      EfficientNet has one more dropout, of the 1,280 pooled features.
    * Estimated total: the sum of input, forward/backward and parameters.

    Args:
        model: A functional model of one input, its depth set by ``fine_tune``.

    Returns:
        The keys of ``COLUMNS``: three counts of parameters, and four sizes in MB.

    Raises:
        AttributeError: If the model has several inputs, or has not been built.

    Source:
        The tables of the reference study, made by torchinfo.

    Examples:
        >>> import kerascxr
        >>> unet = kerascxr.models.build_unet((64, 64), base_filters=4)
        >>> summary = kerascxr.models.parameter_summary(unet)
        >>> summary["total"], round(summary["input_mb"], 4)
        (122021, 0.0156)
    """
    total = count_parameters(model)
    trainable = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    input_mb = math.prod(model.input.shape[1:]) * _FLOAT_BYTES / _MB
    forward_backward_mb = 2 * _FLOAT_BYTES * _module_outputs(model) / _MB
    params_mb = total * _FLOAT_BYTES / _MB
    return {
        "total": total,
        "trainable": trainable,
        "non_trainable": total - trainable,
        "input_mb": input_mb,
        "forward_backward_mb": forward_backward_mb,
        "params_mb": params_mb,
        "estimated_total_mb": input_mb + forward_backward_mb + params_mb,
    }


def format_parameter_table(summaries: Mapping[str, Mapping[str, int | float]]) -> str:
    """Returns a table for the terminal, one row a model.

    Args:
        summaries: Row titles, e.g. "efficientnetb0, depth 1", to summaries.
    """
    rows = []
    for name, summary in summaries.items():
        values = (summary[column] for column in COLUMNS)
        cells = (f"{value:,}" if isinstance(value, int) else f"{value:.2f}" for value in values)
        rows.append([name, *cells])
    return text_table(["model", *COLUMNS.values()], rows) + "\n"


def _is_state(layer: layers.Layer, weight: keras.Variable) -> bool:
    """Whether a weight is not a parameter of the network: a constant, or a moving statistic."""
    if isinstance(layer, layers.BatchNormalization):
        return weight is layer.moving_mean or weight is layer.moving_variance
    return isinstance(layer, layers.Normalization | FeatureStandardization | LinearProbe)


def _module_outputs(model: keras.Model) -> int:
    """Returns how many numbers all modules output for one image."""
    count: int = 0
    block_ends: dict[str, layers.Layer] = {}
    for layer in model.layers:
        if match := _BLOCK.match(layer.name):
            block_ends[match.group()] = layer
        if isinstance(layer, _MODULES):
            size = math.prod(layer.output.shape[1:])
            activated = isinstance(layer, layers.Conv2D | layers.Dense | layers.DepthwiseConv2D)
            if activated and layer.activation is not keras.activations.linear:
                size *= 2
            count += size
    for layer in block_ends.values():
        if not isinstance(layer, _JOINTS):
            count += math.prod(layer.output.shape[1:])
    return count
