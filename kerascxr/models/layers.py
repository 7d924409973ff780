"""What the backbones share: scaling, and layers that do not move while they are frozen."""

import keras
import numpy as np

# Of the RGB values of ImageNet's training images, scaled to 0..1.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@keras.saving.register_keras_serializable(package="kerascxr")
class SwitchableBatchNormalization(keras.layers.BatchNormalization):
    """Batch normalisation whose statistics stand still unless they are told to move.

    Keras ties both to ``trainable``: a trainable layer learns gamma and beta *and* normalises by
    the batch. With a pretrained backbone and few images one wants the first without the second, so
    here ``update_statistics`` is a switch of its own, saved with the model.

    ===========  ===================  ===================  =================================
    trainable    update_statistics    gamma and beta       normalises, in training, by
    ===========  ===================  ===================  =================================
    False        either               stand still          the moving statistics, which stay
    True         False (default)      learn                the moving statistics, which stay
    True         True                 learn                the batch; the statistics follow
    ===========  ===================  ===================  =================================

    Args:
        update_statistics: Whether the moving statistics follow the batches in training.
        **kwargs: What ``keras.layers.BatchNormalization`` takes.

    Source:
        Ioffe and Szegedy, ICML 2015, section 3.1.
    """

    def __init__(self, *, update_statistics: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.update_statistics = bool(update_statistics)

    def call(self, inputs, training=None, mask=None):
        """Normalises ``inputs`` (batch, ..., channels); see the class for by what."""
        return super().call(inputs, training=training and self.update_statistics, mask=mask)

    def get_config(self):
        """Returns the layer's arguments, the switch among them."""
        return {**super().get_config(), "update_statistics": self.update_statistics}


@keras.saving.register_keras_serializable(package="kerascxr")
class StochasticDepth(keras.layers.Dropout):
    """Drops a residual branch whole, for some images of a batch; never while it is frozen.

    ``keras.layers.Dropout`` ignores ``trainable``, so a frozen block would still be noisy in
    training, and features computed once would not be those that training sees.

    Source:
        Huang et al., ECCV 2016, "Deep networks with stochastic depth".
    """

    def call(self, inputs, training=False):
        """Returns ``inputs`` (batch, height, width, channels), in training some of them 0."""
        return super().call(inputs, training=training and self.trainable)


@keras.saving.register_keras_serializable(package="kerascxr")
class ChannelSplit(keras.layers.Layer):
    """(batch, height, width, 2C) to its first and its last C channels."""

    def call(self, inputs):
        """Returns the two halves, each (batch, height, width, C)."""
        first, last = keras.ops.split(inputs, 2, axis=-1)
        return first, last


@keras.saving.register_keras_serializable(package="kerascxr")
class ChannelShuffle(keras.layers.Layer):
    """Joins two branches, channel by channel in turn: a0, b0, a1, b1, ...

    That is concatenation followed by a channel shuffle of two groups, in one step.

    Source:
        Zhang et al., CVPR 2018 (ShuffleNet), figure 1.
    """

    def call(self, inputs):
        """Takes two tensors (batch, height, width, C); returns (batch, height, width, 2C)."""
        pairs = keras.ops.stack(inputs, axis=-1)  # (batch, height, width, C, 2)
        height, width, channels = inputs[0].shape[1:]
        return keras.ops.reshape(pairs, (-1, height, width, 2 * channels))


@keras.saving.register_keras_serializable(package="kerascxr")
class FeatureStandardization(keras.layers.Layer):
    """Brings each feature to mean 0 and deviation 1 by constants measured before training.

    Pooled features of a backbone differ a hundredfold in scale, and Adam moves every weight at the
    same pace: what varies little is learned last. The constants are data's, not parameters. Until
    ``measure`` is called they are 0 and 1.
    """

    # A feature that hardly varies in the sample (a ReLU that is nearly always 0) would be blown up
    # beyond all others where it does vary: no deviation counts as less than this share of the mean.
    _LEAST_SHARE = 0.1

    def build(self, input_shape):
        """Makes the constants, float32 (channels,)."""
        make = {"shape": (input_shape[-1],), "trainable": False, "dtype": "float32"}
        self.mean = self.add_weight(name="mean", initializer="zeros", **make)
        self.deviation = self.add_weight(name="deviation", initializer="ones", **make)

    def measure(self, features: np.ndarray) -> None:
        """Sets the constants.

        Args:
            features: float (n, channels), n at least 2.
        """
        deviations = features.std(axis=0)
        least = max(self._LEAST_SHARE * float(deviations.mean()), 1e-6)
        self.mean.assign(features.mean(axis=0))
        self.deviation.assign(np.maximum(deviations, least))

    def call(self, inputs):
        """Returns ``inputs`` (batch, channels), standardised, float32."""
        return (keras.ops.cast(inputs, "float32") - self.mean) / self.deviation


# Half precision starts at the first convolution: the scaling is float32 whatever the policy.
def unit_scaling() -> keras.layers.Layer:
    """Returns the layer that takes pixels from 0..255 to 0..1."""
    return keras.layers.Rescaling(1.0 / 255.0, dtype="float32", name="rescaling")


def imagenet_normalization() -> keras.layers.Layer:
    """Returns the layer that takes 0..1 to ImageNet's mean 0 and standard deviation 1.

    Its constants are arguments, not weights: no weights file can change them.
    """
    return keras.layers.Normalization(
        axis=-1,
        mean=list(IMAGENET_MEAN),
        variance=[deviation**2 for deviation in IMAGENET_STD],
        dtype="float32",
        name="normalization",
    )


def image_input(image_size: tuple[int, int]) -> keras.KerasTensor:
    """Returns the backbone's input, float32 (batch, height, width, 3), 0..255.

    Raises:
        ValueError: If a side is under 32 pixels: the backbones halve their input five times.
    """
    height, width = image_size
    if height < 32 or width < 32:
        raise ValueError(
            f"image_size must be at least 32 in both directions. Got image_size={image_size}."
        )
    return keras.Input((height, width, 3), dtype="float32", name="image")
