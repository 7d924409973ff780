"""Backbones of a few convolutions, for tests of what is built around a backbone.

Keras is imported when it is built: tests of modules without TensorFlow start without it.
"""

import dataclasses

from kerascxr.models.backbones import Backbone, PublishedWeights

# Name, filters and strides of each convolution.
_THREE = (("stem", 24, 4), ("stage4", 64, 4), ("conv5", 128, 2))
_EACH_STRIDE = (("stem", 24, 4), ("stage3", 32, 2), ("stage4", 64, 2), ("conv5", 128, 2))


def build(image_size, convolutions=_THREE):
    """Images (batch, H, W, 3) to features (batch, H/32, W/32, 128)."""
    import keras
    from keras import layers

    from kerascxr.models.layers import (
        SwitchableBatchNormalization,
        image_input,
        imagenet_normalization,
        unit_scaling,
    )

    images = image_input(image_size)
    x = imagenet_normalization()(unit_scaling()(images))
    for name, filters, strides in convolutions:
        x = layers.Conv2D(filters, 3, strides, "same", use_bias=False, name=f"{name}_conv")(x)
        x = SwitchableBatchNormalization(momentum=0.9, name=f"{name}_conv_bn")(x)
        x = layers.ReLU(name=f"{name}_relu")(x)
    return keras.Model(images, x, name="tiny")


TINY = Backbone(
    name="tiny",
    study_name="Tiny",
    build=build,
    image_size=(32, 32),
    last_convolution=("conv5",),
    last_stage=("stage4",),
    stage_outputs=("stem_relu",),
    imagenet=PublishedWeights("https://example.org/tiny.h5", "md5", "0", "nobody's"),
)

# As ``TINY``, with the stage of stride 8 that pretraining needs.
FOUR_STAGES = dataclasses.replace(
    TINY, name="four-stages", build=lambda image_size: build(image_size, _EACH_STRIDE)
)
