"""Grad-CAM: where in an image a classifier found what speaks for a class."""

import keras
import numpy as np
import tensorflow as tf

from kerascxr.models.classifier import cut_at_depth


class GradCAM:
    """Maps of a class's evidence.

    With A the backbone's last feature maps (h, w, channels), which the head's global average pool
    takes, and y a logit: each channel weighs alpha_k, the mean over all places of dy/dA_k;
    the map is max(0, sum over k of alpha_k A_k), divided by its largest value (0 everywhere if that
    is 0), enlarged bilinearly to the image's size.

    Args:
        model: A classifier from ``build_classifier``.

    Source:
        Selvaraju et al., ICCV 2017, equations 1 and 2.
    """

    def __init__(self, model: keras.Model):
        maps = cut_at_depth(model, 0)._keras_history.operation.input
        self._backbone = keras.Model(model.input, maps)
        self._head = keras.Model(maps, model.output)

    def __call__(self, images: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """Returns the map of one class for each image.

        Args:
            images: float32 (n, height, width, 3), 0..255.
            classes: int (n,), the class whose evidence is wanted.

        Returns:
            float32 (n, height, width), 0..1.
        """
        return self.maps(tf.convert_to_tensor(images), tf.constant(classes, tf.int32)).numpy()

    def maps(self, images: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
        """Does the same with tensors, for a ``tf.function`` where there are many batches."""
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
