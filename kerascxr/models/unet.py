"""U-Net for lung masks, in the functional API, every layer named by its stage."""

from typing import Any, Literal, NamedTuple

import keras
from keras import layers

from kerascxr.models.layers import FusedBatchNormalization
from kerascxr.models.parameters import count_parameters

Upsampling = Literal["transpose", "bilinear"]

DEPTH = 4  # Down stages; each halves the image.
MULTIPLE = 2**DEPTH
# Of BatchNorm's moving statistics. Keras' default 0.99 needs more steps to converge than a short
# training on a few hundred images has.
MOMENTUM = 0.9


class Stage(NamedTuple):
    """A row of the stage table.

    Attributes:
        stage: Its name, the prefix of its layers' names.
        channels: Of its output.
        size: (height, width) of its output; None where the model accepts any size.
        operation: Its operations, e.g. "max pool 2x2, DoubleConv".
        parameters: Its parameters, without moving statistics.
    """

    stage: str
    channels: int
    size: tuple[int | None, int | None]
    operation: str
    parameters: int


STAGE_HEADER = ("stage", "channels", "output size", "operation", "parameters")


def build_unet(
    image_size: tuple[int | None, int | None] = (256, 256),
    base_filters: int = 64,
    upsampling: Upsampling = "transpose",
    dropout: float = 0.0,
) -> keras.Model:
    """Builds a U-Net: four stages down, a bottleneck, four stages up, one logit per pixel.

    The model standardises each image to mean 0 and standard deviation 1 over its own pixels, since
    exposure and contrast differ between hospitals. An image of a single grey value becomes 0.

    With transposed convolutions and without moving statistics the model has 31,036,481 parameters
    at 64 base filters, 7,762,465 at 32 and 1,942,289 at 16.

    Args:
        image_size: (height, width), each a multiple of 16; None for any multiple of 16.
        base_filters: Channels of the first stage. Each stage down doubles them.
        upsampling: "transpose": a 2x2 transposed convolution. "bilinear": a 1x1 convolution to
            half the channels, then interpolation, with fewer parameters and without checkerboard
            artefacts.
        dropout: Share of the bottleneck's channels dropped in training, 0 <= dropout < 1.

    Returns:
        A functional model named "unet", images float32 (batch, height, width, 1) in 0..255 to
        logits float32 (batch, height, width, 1) under any precision policy. A sigmoid turns logits
        into the probability that a pixel is lung.

    Raises:
        ValueError: If a side is not a positive multiple of 16, or another argument is out of its
            range.

    Source:
        Ronneberger, Fischer and Brox, MICCAI 2015, figure 1; with "same" padding and batch
        normalisation, which makes biases of the convolutions redundant.

    Examples:
        >>> import kerascxr
        >>> unet = kerascxr.models.build_unet((256, 256), base_filters=16)
        >>> unet.output.shape
        (None, 256, 256, 1)
        >>> kerascxr.models.parameter_summary(unet)["total"]
        1942289
    """
    _check_arguments(image_size, base_filters, upsampling, dropout)
    inputs = keras.Input((*image_size, 1), dtype="float32", name="image")
    # The epsilon, one squared grey level, is what a constant image is divided by. No weights.
    x = layers.LayerNormalization(
        axis=(1, 2, 3), epsilon=1.0, center=False, scale=False, dtype="float32", name="standardize"
    )(inputs)

    skips = []
    for index in range(DEPTH):
        stage = f"encoder{index + 1}"
        if index:
            x = _down(x, stage)
        x = _double_conv(x, base_filters * 2**index, stage)
        skips.append(x)

    x = _down(x, "bottleneck")
    x = _double_conv(x, base_filters * MULTIPLE, "bottleneck")
    if dropout:
        x = layers.SpatialDropout2D(dropout, name="bottleneck_dropout")(x)

    for index, skip in enumerate(reversed(skips), start=1):
        stage, filters = f"decoder{index}", skip.shape[-1]
        x = _up(x, skip, filters, stage, upsampling)
        x = _double_conv(x, filters, stage)

    # Float32: the resolution of half precision near 0.5 is too coarse for the threshold.
    logits = layers.Conv2D(1, 1, dtype="float32", name="logits")(x)
    return keras.Model(inputs, logits, name="unet")


def _double_conv(x: keras.KerasTensor, filters: int, stage: str) -> keras.KerasTensor:
    for index in (1, 2):
        x = layers.Conv2D(
            filters,
            3,
            padding="same",
            use_bias=False,
            kernel_initializer="he_normal",
            name=f"{stage}_conv{index}",
        )(x)
        x = FusedBatchNormalization(momentum=MOMENTUM, name=f"{stage}_bn{index}")(x)
        x = layers.ReLU(name=f"{stage}_relu{index}")(x)
    return x


def _down(x: keras.KerasTensor, stage: str) -> keras.KerasTensor:
    return layers.MaxPooling2D(2, name=f"{stage}_pool")(x)


def _up(
    x: keras.KerasTensor,
    skip: keras.KerasTensor,
    filters: int,
    stage: str,
    upsampling: Upsampling,
) -> keras.KerasTensor:
    if upsampling == "transpose":
        x = layers.Conv2DTranspose(filters, 2, strides=2, name=f"{stage}_up")(x)
    else:
        # A 1x1 convolution and interpolation commute; in this order the cost is a quarter.
        x = layers.Conv2D(filters, 1, name=f"{stage}_reduce")(x)
        x = layers.UpSampling2D(2, interpolation="bilinear", name=f"{stage}_up")(x)
    return layers.Concatenate(name=f"{stage}_concat")([skip, x])


def _check_arguments(
    image_size: tuple[int | None, int | None],
    base_filters: int,
    upsampling: str,
    dropout: float,
) -> None:
    if any(side is not None and (side < MULTIPLE or side % MULTIPLE) for side in image_size):
        nearest = tuple(
            None if side is None else max(MULTIPLE, round(side / MULTIPLE) * MULTIPLE)
            for side in image_size
        )
        raise ValueError(
            f"Height and width must be multiples of {MULTIPLE}, since the U-Net halves them "
            f"{DEPTH} times. Got image_size={tuple(image_size)}. Nearest: {nearest}."
        )
    if base_filters < 1:
        raise ValueError(
            f"The number of base filters must be at least 1. Got base_filters={base_filters}."
        )
    if upsampling not in ("transpose", "bilinear"):
        raise ValueError(
            f"Upsampling must be 'transpose' or 'bilinear'. Got upsampling={upsampling!r}."
        )
    if not 0 <= dropout < 1:
        raise ValueError(f"Dropout must be at least 0 and below 1. Got dropout={dropout}.")


def stage_table(model: keras.Model) -> list[Stage]:
    """Returns the U-Net's stages in order, input first, logits last.

    Args:
        model: From ``build_unet``.

    Returns:
        One row per stage, with the channels and the size of its last layer's output.
    """
    stages: dict[str, list[Any]] = {}
    for layer in model.layers:
        stages.setdefault(layer.name.split("_")[0], []).append(layer)
    rows = []
    for stage, members in stages.items():
        _, height, width, channels = members[-1].output.shape
        rows.append(
            Stage(
                stage,
                channels,
                (height, width),
                ", ".join(_operations(members)),
                sum(count_parameters(layer) for layer in members),
            )
        )
    return rows


def _operations(members: list[Any]) -> list[str]:
    """Names the operations of a stage's layers in order; a DoubleConv has one name."""
    names = []
    for layer in members:
        part = layer.name.partition("_")[2]
        if part == "conv1":
            names.append("DoubleConv")
        elif part not in ("bn1", "relu1", "conv2", "bn2", "relu2"):
            names.append(_OPERATIONS[type(layer)])
    return names


_OPERATIONS: dict[type, str] = {
    layers.InputLayer: "input, 0..255",
    layers.LayerNormalization: "mean 0, deviation 1 over the image",
    layers.MaxPooling2D: "max pool 2x2",
    layers.SpatialDropout2D: "dropout",
    layers.Conv2DTranspose: "transposed conv 2x2",
    layers.UpSampling2D: "bilinear x2",
    layers.Concatenate: "concatenate skip",
    layers.Conv2D: "conv 1x1",
}


def stage_cells(model: keras.Model) -> list[list[Any]]:
    """Returns the cells of the stage table, in the columns of ``STAGE_HEADER``.

    Args:
        model: From ``build_unet``.
    """
    return [
        [row.stage, row.channels, "x".join(str(side or "any") for side in row.size), *row[3:]]
        for row in stage_table(model)
    ]
