"""EfficientNet-B0 from ``keras.applications``, with layers that are fixed when frozen.

Source:
    Tan and Le, ICML 2019, "EfficientNet: rethinking model scaling for convolutional networks".
"""

import keras

from kerascxr.models.layers import (
    StochasticDepth,
    SwitchableBatchNormalization,
    image_input,
    imagenet_normalization,
    unit_scaling,
)


def build_efficientnetb0(image_size: tuple[int, int] = (224, 224)) -> keras.Model:
    """Builds the backbone with random weights.

    ``keras.applications`` reads its input scaling from the weights file, and adds a layer for
    ``weights="imagenet"``, whose file has standard deviations where the layer expects variances.
    Here the scaling is constant: equal convolution weights give equal functions.

    Args:
        image_size: (height, width), each at least 32.

    Returns:
        A functional model named "efficientnetb0", images float32 (batch, height, width, 3) in
        0..255 to features (batch, ceil(height / 32), ceil(width / 32), 1280) of the policy's
        compute dtype. Its layers keep the names of ``keras.applications``: ``stem_*``,
        ``block1a_*`` to ``block7a_*``, ``top_*``.

    Raises:
        ValueError: If a side is below 32 pixels.
    """
    images = image_input(image_size)
    original = keras.applications.EfficientNetB0(
        include_top=False, weights=None, input_shape=(*image_size, 3)
    )
    # Cloned, not nested: the classifier is then one flat graph, with all layers found by name.
    backbone = keras.models.clone_model(
        original, input_tensors=images, clone_function=_with_our_layers
    )
    return keras.Model(images, backbone.output, name="efficientnetb0")


def _with_our_layers(layer: keras.layers.Layer) -> keras.layers.Layer:
    """Copies a layer; scaling is constant, normalisation and dropout respect ``trainable``."""
    if isinstance(layer, keras.layers.Rescaling):
        return unit_scaling()
    if isinstance(layer, keras.layers.Normalization):
        return imagenet_normalization()
    config = layer.get_config()
    if isinstance(layer, keras.layers.BatchNormalization):
        return SwitchableBatchNormalization.from_config(config)
    if isinstance(layer, keras.layers.Dropout):
        return StochasticDepth.from_config(config)
    return layer.__class__.from_config(config)
