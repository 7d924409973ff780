"""Grad-CAM: which places of an image support a class."""

from collections.abc import Callable
from functools import partial

import keras
import numpy as np
import tensorflow as tf

from kerascxr.models.classifier import cut_at_depth, head_logits
from kerascxr.models.layers import FeatureStandardization


class GradCAM:
    """Computes maps of the evidence for a class.

    Let A be the backbone's last feature maps (h, w, channels), the input of the head's global
    average pool, and y a logit of the head. The weight of channel k is alpha_k, the mean of dy/dA_k
    over all places. The map is max(0, sum over k of alpha_k A_k), divided by its largest value (0
    everywhere if that is 0) and resized bilinearly to the image's size. What a linear probe
    contributes to a classifier's answer is not in the map.

    Args:
        model: A classifier from ``build_classifier``.

    Attributes:
        features: The backbone's last feature maps, symbolic.

    Raises:
        ValueError: If the model is not such a classifier.

    Source:
        Selvaraju et al., ICCV 2017, equations 1 and 2.

    Examples:
        >>> import kerascxr, numpy
        >>> model = kerascxr.models.build_classifier("shufflenetv2", 4, image_size=(64, 64))
        >>> camera = kerascxr.models.GradCAM(model)
        >>> images = numpy.zeros((2, 64, 64, 3), "float32")
        >>> camera(images, numpy.array([0, 3])).shape
        (2, 64, 64)
    """

    def __init__(self, model: keras.Model):
        self.features = cut_at_depth(model, 0)._keras_history.operation.input
        self._backbone = keras.Model(model.input, self.features)
        self._head = keras.Model(self.features, head_logits(model))

    def __call__(self, images: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """Returns the map of one class for each image.

        Args:
            images: float32 (n, height, width, 3), 0..255.
            classes: int (n,), the index of the class for each image.

        Returns:
            float32 (n, height, width), 0..1.
        """
        maps = self.maps(tf.convert_to_tensor(images), tf.constant(classes, tf.int32))
        return np.asarray(maps)

    def maps(self, images: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
        """Does the same on tensors, so that it can be traced as a ``tf.function``."""
        maps = self._backbone(images, training=False)
        with tf.GradientTape() as tape:
            tape.watch(maps)
            logits = self._head(maps, training=False)
            chosen = tf.gather(logits, classes, batch_dims=1)
        weights = tf.reduce_mean(tape.gradient(chosen, maps), axis=(1, 2), keepdims=True)
        evidence = tf.nn.relu(tf.reduce_sum(weights * maps, axis=-1, keepdims=True))
        evidence = tf.cast(evidence, tf.float32)
        largest = tf.reduce_max(evidence, axis=(1, 2, 3), keepdims=True)
        evidence = tf.math.divide_no_nan(evidence, largest)
        return tf.image.resize(evidence, tf.shape(images)[1:3])[..., 0]

    def class_maps(self, features: tf.Tensor) -> tf.Tensor:
        """Returns the maps of all classes, with the head's gradient in closed form.

        The result has no gradient operations, so that other formats can hold it. The
        Jacobian of dense layers one after another is the product of their kernels, those of a ReLU
        without the columns of the units that are 0.

        Args:
            features: Values of ``features``, float32 (n, h, w, channels).

        Returns:
            float32 (n, k, h, w), 0..1, before the resizing to the image's size.

        Raises:
            ValueError: If the head has a layer of another kind.
        """
        values = tf.reduce_mean(features, axis=(1, 2))
        steps: list[Callable[[tf.Tensor], tf.Tensor]] = []  # each layer's, of the gradient
        for layer in self._head.layers[2:]:  # after the input and the pooling
            if isinstance(layer, FeatureStandardization):
                steps.append(partial(_through_scaling, layer))
            elif isinstance(layer, keras.layers.Dense):
                steps.append(partial(_through_dense, layer, layer(values)))
            elif not isinstance(layer, keras.layers.Dropout):
                raise ValueError(f"the head must have dense layers alone. Got {layer.name}.")
            values = layer(values, training=False)
        gradient = tf.eye(values.shape[-1])[None]  # (n or 1, units, k)
        for step in reversed(steps):
            gradient = step(gradient)
        _, height, width, channels = features.shape
        flat = tf.reshape(features, (-1, height * width, channels))
        weights = gradient / (height * width)
        evidence = tf.linalg.matmul(weights, flat, transpose_a=True, transpose_b=True)
        evidence = tf.nn.relu(evidence)
        largest = tf.reduce_max(evidence, axis=2, keepdims=True)
        evidence = tf.math.divide_no_nan(evidence, largest)
        return tf.reshape(evidence, (-1, evidence.shape[1], height, width))


def _through_scaling(layer: FeatureStandardization, gradient: tf.Tensor) -> tf.Tensor:
    return gradient / tf.convert_to_tensor(layer.deviation)[:, None]


def _through_dense(layer: keras.layers.Dense, output: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
    if layer.activation is keras.activations.relu:
        gradient = gradient * tf.cast(output > 0, tf.float32)[..., None]
    elif layer.activation is not keras.activations.linear:
        raise ValueError(f"{layer.name} must be linear or a ReLU.")
    # The kernel itself, not transposed: a file then holds it once.
    return tf.linalg.matmul(tf.convert_to_tensor(layer.kernel), gradient)
