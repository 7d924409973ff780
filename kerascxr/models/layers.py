"""Layers of the models: input scaling, and layers that stay fixed while they are frozen.

Keras finds the classes here by their registered names when it reads a ``model.keras``.
"""

import keras
import numpy as np
import tensorflow as tf

HEAD_PREFIX = "head_"
"""The prefix of the names of a classifier's head layers; all other layers are the backbone's."""

LINEAR_PROBE = "linear_probe"
"""The name of a classifier's linear probe, if it has one."""

# Of the RGB values of ImageNet's training images, scaled to 0..1.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@keras.saving.register_keras_serializable(package="kerascxr")
class SwitchableBatchNormalization(keras.layers.BatchNormalization):
    """Batch normalisation whose moving statistics are updated only on request.

    In Keras a trainable layer learns gamma and beta *and* normalises by the batch. Fine-tuning a
    pretrained backbone on few images needs the first without the second. Here
    ``update_statistics`` controls the second, and it is saved with the model.

    ===========  ===================  ===================  =====================================
    trainable    update_statistics    gamma and beta       statistics used in training
    ===========  ===================  ===================  =====================================
    False        either               fixed                moving, and fixed
    True         False (default)      trained              moving, and fixed
    True         True                 trained              the batch's; moving ones are updated
    ===========  ===================  ===================  =====================================

    Args:
        update_statistics: Whether training uses the batch's statistics and updates the moving ones.
        **kwargs: Arguments of ``keras.layers.BatchNormalization``.

    Source:
        Ioffe and Szegedy, ICML 2015, section 3.1.
    """

    def __init__(self, *, update_statistics: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.update_statistics = bool(update_statistics)

    def call(self, inputs, training=None, mask=None):
        """Normalises ``inputs``, float (batch, ..., channels), by the class's table."""
        learns = bool(training and self.update_statistics and self.trainable)
        if learns and mask is None and self._fits_kernel(inputs):
            return self._normalize_by_batch(inputs)
        return super().call(inputs, training=learns, mask=mask)

    def _fits_kernel(self, inputs):
        plain = self.scale and self.center and not self.renorm and self.axis in (-1, 3)
        return plain and len(inputs.shape) == 4 and self.compute_dtype in ("float16", "bfloat16")

    def _normalize_by_batch(self, inputs):
        """Does what Keras does, in one kernel for half precision: Keras' own computes in float32.

        That makes a training step of EfficientNetB0's last stage in bfloat16 a sixth shorter.
        """
        y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=keras.ops.cast(inputs, self.compute_dtype),
            scale=tf.cast(self.gamma, tf.float32),
            offset=tf.cast(self.beta, tf.float32),
            mean=tf.zeros(0),
            variance=tf.zeros(0),
            epsilon=self.epsilon,
            is_training=True,
        )
        count = tf.cast(tf.size(inputs) / inputs.shape[-1], tf.float32)
        biased = variance * (count - 1.0) / count  # the kernel's is n / (n - 1) of it
        for moving, now in ((self.moving_mean, mean), (self.moving_variance, biased)):
            moving.assign(moving * self.momentum + now * (1.0 - self.momentum))
        return y

    def get_config(self):
        """Returns the layer's arguments, ``update_statistics`` included."""
        return {**super().get_config(), "update_statistics": self.update_statistics}


@keras.saving.register_keras_serializable(package="kerascxr")
class FusedBatchNormalization(keras.layers.BatchNormalization):
    """BatchNormalization over the last axis by TensorFlow's one fused kernel.

    Keras 3 computes BatchNorm by elementwise operations, each a pass over the whole activation, and
    in float32 even under mixed precision. The fused kernel makes a training step of the U-Net 20 %
    shorter on a CPU. Weights, names and results are those of Keras, with one exception: the moving
    variance averages the unbiased variance, n / (n - 1), as in torch.

    Source:
        Ioffe and Szegedy, ICML 2015, algorithm 1.
    """

    def call(
        self,
        inputs: tf.Tensor,
        training: bool | None = None,
        mask: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Normalises; a frozen layer uses its moving statistics and does not update them.

        Args:
            inputs: float32, float16 or bfloat16 (batch, height, width, channels).
            training: Whether to use the batch's statistics and to update the moving ones.
            mask: Not supported.

        Returns:
            The shape of ``inputs``, in the policy's compute dtype.

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


@keras.saving.register_keras_serializable(package="kerascxr")
class StochasticDepth(keras.layers.Dropout):
    """Drops a whole residual branch for some images of a batch; never while the layer is frozen.

    ``keras.layers.Dropout`` ignores ``trainable``. A frozen block would still be random in
    training, and cached features would differ from those of a training step.

    Source:
        Huang et al., ECCV 2016, "Deep networks with stochastic depth".
    """

    def call(self, inputs, training=False):
        """Returns ``inputs`` (batch, height, width, channels), in training some of them 0."""
        return super().call(inputs, training=training and self.trainable)


@keras.saving.register_keras_serializable(package="kerascxr")
class ChannelSplit(keras.layers.Layer):
    """Splits (batch, height, width, 2C) into its first and its last C channels."""

    def call(self, inputs):
        """Returns the two halves, each (batch, height, width, C)."""
        first, last = keras.ops.split(inputs, 2, axis=-1)
        return first, last


@keras.saving.register_keras_serializable(package="kerascxr")
class ChannelShuffle(keras.layers.Layer):
    """Interleaves the channels of two branches: a0, b0, a1, b1, ...

    The result equals concatenation followed by a channel shuffle of two groups.

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
    """Scales each feature to mean 0 and standard deviation 1 by constants measured before training.

    Pooled features of a backbone differ a hundredfold in scale. Adam changes every weight at about
    the same rate, so features of small scale would be learned last. The constants describe the
    data; they are not parameters. They are 0 and 1 until ``measure`` is called.
    """

    # A feature that is nearly constant in the sample (a ReLU that is almost always 0) would be
    # amplified far beyond the others elsewhere: deviations below this share of their mean are
    # raised to it.
    _LEAST_SHARE = 0.1

    def build(self, input_shape):
        """Creates the constants, float32 (channels,)."""
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


@keras.saving.register_keras_serializable(package="kerascxr")
class LinearProbe(keras.layers.Layer):
    """Averages a head's answer with that of a softmax regression of layer statistics.

    Each of the two is divided by a temperature of its own before its log softmax is taken. The
    layer is not trained: ``set`` fixes its constants, which are 0 and 1 until then.

    Source:
        Alain and Bengio, arXiv 1610.01644 (2016), on linear probes; Evci et al., ICML 2022
        (Head2Toe), on features of all layers for transfer.
    """

    def build(self, input_shape):
        """Creates the constants for shapes (batch, classes) and (batch, statistics)."""
        (_, classes), (_, statistics) = input_shape
        make = {"trainable": False, "dtype": "float32", "initializer": "zeros"}
        self.kernel = self.add_weight(name="kernel", shape=(statistics, classes), **make)
        self.bias = self.add_weight(name="bias", shape=(classes,), **make)
        make["initializer"] = "ones"
        self.temperatures = self.add_weight(name="temperatures", shape=(2,), **make)

    def set(self, kernel: np.ndarray, bias: np.ndarray, temperatures: tuple[float, float]) -> None:
        """Sets the constants.

        Args:
            kernel: float (statistics, classes), of the regression.
            bias: float (classes,).
            temperatures: Of the head and of the regression, each above 0.
        """
        self.kernel.assign(kernel)
        self.bias.assign(bias)
        self.temperatures.assign(temperatures)

    def call(self, inputs):
        """Returns logits, the mean of two log softmaxes.

        Args:
            inputs: The head's logits, float32 (batch, classes), and the layer statistics, float32
                (batch, statistics).
        """
        head, statistics = inputs
        probe = keras.ops.matmul(statistics, self.kernel) + self.bias
        answers = (head / self.temperatures[0], probe / self.temperatures[1])
        first, second = (keras.ops.log_softmax(answer, axis=-1) for answer in answers)
        return (first + second) / 2

    def compute_output_shape(self, input_shape):
        """Returns the shape of the head's logits."""
        return input_shape[0]


# Half precision starts at the first convolution: the scaling is float32 whatever the policy.
def unit_scaling() -> keras.layers.Layer:
    """Returns the layer that scales pixels from 0..255 to 0..1."""
    return keras.layers.Rescaling(1.0 / 255.0, dtype="float32", name="rescaling")


def imagenet_normalization() -> keras.layers.Layer:
    """Returns the layer that standardises 0..1 by ImageNet's mean and standard deviation.

    The constants are arguments, not weights: no weights file can change them.
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
        ValueError: If a side is below 32 pixels: the backbones halve their input five times.
    """
    height, width = image_size
    if height < 32 or width < 32:
        raise ValueError(
            f"image_size must be at least 32 in both directions. Got image_size={image_size}."
        )
    return keras.Input((height, width, 3), dtype="float32", name="image")
