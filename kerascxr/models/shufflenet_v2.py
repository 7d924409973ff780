"""ShuffleNetV2's backbone at widths 0.5 and 1.0: the same function as torchvision's, in Keras.

Layers are named by stage, so that a prefix selects a stage: ``conv1``, ``stage2``, ``stage3``,
``stage4``, ``conv5``; within a stage ``stage2_block0_branch2_conv1`` and the like.

Source:
    Ma et al., ECCV 2018, "ShuffleNet V2", table 5 and figure 3 (c, d).
"""

import re

import keras
from keras import layers

from kerascxr.models.layers import (
    ChannelShuffle,
    ChannelSplit,
    SwitchableBatchNormalization,
    image_input,
    imagenet_normalization,
    unit_scaling,
)

BLOCKS = {"stage2": 4, "stage3": 8, "stage4": 4}
# Channels of conv1, stage2, stage3, stage4, conv5.
CHANNELS = {0.5: (24, 48, 96, 192, 1024), 1.0: (24, 116, 232, 464, 1024)}

# The position of each layer in torchvision's Sequential of a branch.
_TORCH_POSITION = {
    "branch1": {"dwconv": 0, "dwconv_bn": 1, "conv": 2, "conv_bn": 3},
    "branch2": {"conv1": 0, "conv1_bn": 1, "dwconv": 3, "dwconv_bn": 4, "conv2": 5, "conv2_bn": 6},
}


def build_shufflenet_v2(width: float, image_size: tuple[int, int] = (224, 224)) -> keras.Model:
    """Builds the backbone with random weights.

    Args:
        width: 0.5 or 1.0, the factor of the paper's channels.
        image_size: (height, width), each at least 32.

    Returns:
        A functional model named "shufflenetv2_x0_5" or "shufflenetv2_x1_0", images float32
        (batch, height, width, 3) in 0..255 to features (batch, ceil(height / 32),
        ceil(width / 32), 1024), at least 0, of the policy's compute dtype.

    Raises:
        ValueError: If the width is not one of these, or a side is below 32 pixels.
    """
    if width not in CHANNELS:
        raise ValueError(f"width must be one of {tuple(CHANNELS)}. Got width={width}.")
    stem, *stages, last = CHANNELS[width]
    images = image_input(image_size)
    x = imagenet_normalization()(unit_scaling()(images))
    x = _conv(x, stem, "conv1_conv", kernel_size=3, strides=2)
    x = _relu(_batch_norm(x, "conv1_conv_bn"), "conv1_relu")  # (batch, H/2, W/2, 24)
    # Zero padding is correct here: after a ReLU no value is below 0.
    x = layers.ZeroPadding2D(1, name="conv1_pool_pad")(x)
    x = layers.MaxPooling2D(3, strides=2, name="conv1_pool")(x)  # (batch, H/4, W/4, 24)
    for (stage, blocks), channels in zip(BLOCKS.items(), stages, strict=True):
        x = _down_block(x, channels, f"{stage}_block0")
        for block in range(1, blocks):
            x = _block(x, f"{stage}_block{block}")
    x = _conv(x, last, "conv5_conv")
    x = _relu(_batch_norm(x, "conv5_conv_bn"), "conv5_relu")  # (batch, H/32, W/32, 1024)
    return keras.Model(images, x, name=f"shufflenetv2_x{width:.1f}".replace(".", "_"))


def torch_module_name(layer_name: str) -> str:
    """Returns the name of the torchvision module with a layer's parameters.

    Args:
        layer_name: Of a convolution or normalisation, e.g. "stage2_block0_branch2_dwconv_bn".

    Returns:
        E.g. "stage2.0.branch2.4".
    """
    if match := re.fullmatch(r"(stage\d)_block(\d)_(branch\d)_(\w+)", layer_name):
        stage, block, branch, part = match.groups()
        return f"{stage}.{block}.{branch}.{_TORCH_POSITION[branch][part]}"
    stage, part = layer_name.split("_", maxsplit=1)
    return f"{stage}.{('conv', 'conv_bn').index(part)}"


def _down_block(x: keras.KerasTensor, channels: int, name: str) -> keras.KerasTensor:
    """Halves the resolution: (batch, H, W, C) to (batch, H/2, W/2, channels)."""
    half = channels // 2
    shortcut = _depthwise(x, f"{name}_branch1_dwconv", strides=2)
    shortcut = _batch_norm(shortcut, f"{name}_branch1_dwconv_bn")
    shortcut = _conv(shortcut, half, f"{name}_branch1_conv")
    shortcut = _relu(_batch_norm(shortcut, f"{name}_branch1_conv_bn"), f"{name}_branch1_relu")
    branch = _branch2(x, half, f"{name}_branch2", strides=2)
    return ChannelShuffle(name=f"{name}_shuffle")([shortcut, branch])


def _block(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Convolves one half of the channels and passes the other; the shape is unchanged."""
    passed, worked = ChannelSplit(name=f"{name}_split")(x)
    branch = _branch2(worked, worked.shape[-1], f"{name}_branch2", strides=1)
    return ChannelShuffle(name=f"{name}_shuffle")([passed, branch])


def _branch2(x: keras.KerasTensor, filters: int, name: str, strides: int) -> keras.KerasTensor:
    """1x1 convolution, 3x3 depthwise, 1x1 convolution."""
    x = _conv(x, filters, f"{name}_conv1")
    x = _relu(_batch_norm(x, f"{name}_conv1_bn"), f"{name}_relu1")
    x = _depthwise(x, f"{name}_dwconv", strides)
    x = _batch_norm(x, f"{name}_dwconv_bn")
    x = _conv(x, filters, f"{name}_conv2")
    return _relu(_batch_norm(x, f"{name}_conv2_bn"), f"{name}_relu2")


def _pad(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Pads by (1, 1): with stride 2, Keras' "same" would pad by (0, 1), a shift of half a pixel."""
    return layers.ZeroPadding2D(1, name=f"{name}_pad")(x)


def _conv(
    x: keras.KerasTensor, filters: int, name: str, kernel_size: int = 1, strides: int = 1
) -> keras.KerasTensor:
    if kernel_size == 3:
        x = _pad(x, name)
    return layers.Conv2D(
        filters,
        kernel_size,
        strides,
        use_bias=False,
        kernel_initializer="he_normal",
        name=name,
    )(x)


def _depthwise(x: keras.KerasTensor, name: str, strides: int) -> keras.KerasTensor:
    return layers.DepthwiseConv2D(
        3,
        strides,
        use_bias=False,
        # For a kernel (3, 3, C, 1) Keras computes a fan in of 9 C. The fan in, 9, is its fan out.
        depthwise_initializer=keras.initializers.VarianceScaling(2.0, "fan_out"),
        name=name,
    )(_pad(x, name))


def _batch_norm(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Normalises as torch does: momentum 0.1 there weights the new value, in Keras the old one."""
    return SwitchableBatchNormalization(momentum=0.9, epsilon=1e-5, name=name)(x)


def _relu(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return layers.ReLU(name=name)(x)
