"""Counts of parameters and estimates of memory, by the reference study's conventions."""

import math
import re
from collections.abc import Mapping

import keras
from keras import layers

from kerascxr.models.layers import ChannelShuffle, FeatureStandardization

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


def parameter_summary(model: keras.Model) -> dict[str, int | float]:
    """Counts a model's parameters and estimates its memory for one image.

    Parameters are what can learn: kernels, biases, gamma and beta. The moving statistics of
    BatchNorm, the input's scaling and the states of random generators are none, as in torch.

    Memory is float32's, whatever the policy; 1 MB is 1024 x 1024 bytes.

    * Input: one image.
    * Forward/backward: 2 x 4 bytes x the outputs of all modules for one image, each kept once
      for the forward and once for the backward pass. Modules are convolutions, normalisations,
      activations (those inside a Dense or convolution as well), poolings, dropouts, Dense layers,
      and modules made of these: squeeze-and-excitation and each block, whose output counts once
      more than its last layer's where it has no joint (sum, shuffle) of its own. Padding,
      splitting, concatenating, reshaping and input scaling do not count.

      That is the sum which gave the study's 173.68 and 47.97 MB. Here it gives 173.67 and 47.97:
      the study's EfficientNet has one more dropout, of the 1,280 pooled features.
    * Estimated total: input, forward/backward and parameters.

    Args:
        model: A functional model of one input, its depth set by ``fine_tune``.

    Returns:
        The keys of ``COLUMNS``: three counts, and four sizes in MB.
    """
    total = sum(
        math.prod(weight.shape)
        for layer in model.layers
        for weight in layer.weights
        if not _is_state(layer, weight)
    )
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
    """Returns a Markdown table, one row a model.

    Args:
        summaries: What a row is called, e.g. "efficientnetb0, depth 1", to its summary.
    """
    lines = [
        f"| model | {' | '.join(COLUMNS.values())} |",
        "|---" + "|---:" * len(COLUMNS) + "|",
    ]
    for name, summary in summaries.items():
        values = (summary[column] for column in COLUMNS)
        cells = (f"{value:,}" if isinstance(value, int) else f"{value:.2f}" for value in values)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _is_state(layer: layers.Layer, weight: keras.Variable) -> bool:
    """Whether a weight describes data and is no parameter."""
    if isinstance(layer, layers.BatchNormalization):
        return weight is layer.moving_mean or weight is layer.moving_variance
    return isinstance(layer, layers.Normalization | FeatureStandardization)


def _module_outputs(model: keras.Model) -> int:
    """Returns how many numbers the modules give for one image."""
    count = 0
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
    return count + sum(
        math.prod(layer.output.shape[1:])
        for layer in block_ends.values()
        if not isinstance(layer, _JOINTS)
    )
