"""U-Net for lung masks, in the functional API, every layer named by its stage."""

from typing import Any, Literal, NamedTuple

import keras
import tensorflow as tf
from keras import layers

Upsampling = Literal["transpose", "bilinear"]

DEPTH = 4  # Down stages; each halves the image.
MULTIPLE = 2**DEPTH
# Of BatchNorm's moving statistics. Keras' own 0.99 would lag behind for longer than a short
# training on a few hundred images lasts.
MOMENTUM = 0.9


@keras.saving.register_keras_serializable(package="kerascxr")
class FusedBatchNormalization(keras.layers.BatchNormalization):
    """BatchNormalization over the last axis by TensorFlow's one fused kernel.

    Keras 3 spells BatchNorm out in elementwise operations, each a pass over the whole activation,
    and in float32 even under mixed precision. The kernel makes a training step a fifth shorter on
    a CPU. Same weights, same names, same result, but that the moving variance follows the unbiased
    one, n / (n - 1), as torch's does.

    Source:
        Ioffe and Szegedy, ICML 2015, algorithm 1.
    """

    def call(
        self,
        inputs: tf.Tensor,
        training: bool | None = None,
        mask: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Normalises; a frozen layer uses its moving statistics and leaves them alone.

        Args:
            inputs: float32, float16 or bfloat16 (batch, height, width, channels).
            training: Whether to use, and take into the moving average, the batch's statistics.
            mask: Not supported.

        Returns:
            As ``inputs`` in shape and type.

        Raises:
            ValueError: If a mask is given.
        """
        if mask is not None:
            raise ValueError("Mask must be None for a fused batch normalisation. Got a mask.")
        x = keras.ops.cast(inputs, self.compute_dtype)
        learns = bool(training) and self.trainable
        # The kernel takes activations of any float type, but statistics in float32 only.
        y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=x,
            scale=tf.convert_to_tensor(self.gamma),
            offset=tf.convert_to_tensor(self.beta),
            mean=tf.convert_to_tensor([] if learns else self.moving_mean, dtype=tf.float32),
            variance=tf.convert_to_tensor([] if learns else self.moving_variance, dtype=tf.float32),
            epsilon=self.epsilon,
            is_training=learns,
        )
        if learns:
            keep = self.momentum
            self.moving_mean.assign(self.moving_mean * keep + mean * (1.0 - keep))
            self.moving_variance.assign(self.moving_variance * keep + variance * (1.0 - keep))
        return y


class Stage(NamedTuple):
    """A row of the stage table.

    Attributes:
        stage: Its name, the first part of its layers' names.
        channels: Of its output.
        size: (height, width) of its output; None where the model takes any size.
        operation: What it does.
        parameters: Moving statistics aside.
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
    """Builds the U-Net: four stages down, a bottleneck, four stages up, one logit a pixel.

    Each image is standardised inside the model, to mean 0 and standard deviation 1 over its own
    pixels, instead of divided by 255. Hospitals differ first of all in exposure and contrast; so
    both are gone before the first convolution, in training, evaluation and serving alike. An image
    of one grey becomes 0 everywhere.

    Moving statistics aside it has 31,036,481 parameters at 64 base filters, 7,762,465 at 32 and
    1,942,289 at 16, with transposed convolutions.

    Args:
        image_size: (height, width), each a multiple of 16; None where any such size may come.
        base_filters: Channels of the first stage; each stage down has twice as many.
        upsampling: "transpose" learns the 2x2 upsampling; "bilinear" halves the channels by a 1x1
            convolution and interpolates, with fewer parameters and no checkerboard.
        dropout: Share of the bottleneck's channels dropped in training, 0 to below 1.

    Returns:
        A model from float32 (batch, height, width, 1), 0..255, to logits, float32 (batch, height,
        width, 1) whatever the precision policy.

    Raises:
        ValueError: If a side is no positive multiple of 16, or another argument out of its range.

    Source:
        Ronneberger, Fischer and Brox, MICCAI 2015, figure 1; with "same" padding, and with batch
        normalisation, which makes the convolutions' biases idle.
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

    # Float32: half precision's steps near 0.5 would show in the threshold.
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
        # A 1x1 convolution and interpolation commute; this order costs a quarter.
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


def count_parameters(model: keras.Model | keras.layers.Layer) -> int:
    """Returns the number of trainable weights' entries: BatchNorm's moving statistics are not."""
    return sum(int(weight.value.shape.num_elements()) for weight in model.trainable_weights)


def stage_table(model: keras.Model) -> list[Stage]:
    """Returns the U-Net's stages in order, input first, logits last.

    Args:
        model: From ``build_unet``.

    Returns:
        One row a stage; its channels and size are those of its last layer's output.
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
    """Names what a stage's layers do, in order; the six of a DoubleConv under one name."""
    said = []
    for layer in members:
        part = layer.name.partition("_")[2]
        if part == "conv1":
            said.append("DoubleConv")
        elif part not in ("bn1", "relu1", "conv2", "bn2", "relu2"):
            said.append(_OPERATIONS[type(layer)])
    return said


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
    """Returns the stage table's cells under ``STAGE_HEADER``, for any of the report's formats.

    Args:
        model: From ``build_unet``.
    """
    return [
        [row.stage, row.channels, "x".join(str(side or "any") for side in row.size), *row[3:]]
        for row in stage_table(model)
    ]
