"""A trained U-Net with the threshold that makes masks of its output."""

from dataclasses import dataclass

import keras
import tensorflow as tf


@dataclass(frozen=True)
class Segmenter:
    """A U-Net and what turns its output into a mask.

    Attributes:
        model: Images float32 (batch, height, width, 1), 0..255, to logits of the same size.
        threshold: Pixels of this probability or above are lung.
    """

    model: keras.Model
    threshold: float

    @property
    def size(self) -> tuple[int, int]:
        """The (height, width) that it takes."""
        return self.model.input_shape[1:3]

    def probabilities(self, images: tf.Tensor) -> tf.Tensor:
        """Returns each pixel's probability of being lung, float32 of the images' shape."""
        logits = self.model(tf.cast(images, tf.float32), training=False)
        return tf.sigmoid(tf.cast(logits, tf.float32))

    def masks(self, images: tf.Tensor) -> tf.Tensor:
        """Returns the lungs, uint8 of the images' shape, 0 or 255."""
        return self.binarise(self.probabilities(images))

    def binarise(self, probabilities: tf.Tensor) -> tf.Tensor:
        """Returns uint8 of the probabilities' shape, 0 or 255."""
        return tf.cast(probabilities >= self.threshold, tf.uint8) * 255
