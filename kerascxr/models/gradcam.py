"""Grad-CAM: which places of an image support a class."""

import keras
import numpy as np
import tensorflow as tf

from kerascxr.models.classifier import cut_at_depth, head_logits


class GradCAM:
    """Computes maps of the evidence for a class.

    Let A be the backbone's last feature maps (h, w, channels), the input of the head's global
    average pool, and y a logit of the head. The weight of channel k is alpha_k, the mean of dy/dA_k
    over all places. The map is max(0, sum over k of alpha_k A_k), divided by its largest value (0
    everywhere if that is 0) and resized bilinearly to the image's size. What a linear probe
    contributes to a classifier's answer is not in the map.

    Args:
        model: A classifier from ``build_classifier``.

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
        maps = cut_at_depth(model, 0)._keras_history.operation.input
        self._backbone = keras.Model(model.input, maps)
        self._head = keras.Model(maps, head_logits(model))

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
