"""A trained U-Net and its threshold: lung masks without stray patches."""

from dataclasses import dataclass

import keras
import tensorflow as tf

LUNGS = 2
_CELL = 4  # pixels: patches nearer than that are one


@dataclass(frozen=True)
class Segmenter:
    """A U-Net and the threshold that turns its output into a mask.

    Attributes:
        model: Images float32 (batch, height, width, 1), 0..255, to logits of the same size.
        threshold: Pixels with at least this probability are lung, 0..1.
    """

    model: keras.Model
    threshold: float

    @property
    def size(self) -> tuple[int, int]:
        """The (height, width) of its input, in pixels."""
        return self.model.input_shape[1:3]

    def probabilities(self, images: tf.Tensor) -> tf.Tensor:
        """Returns each pixel's probability of being lung, float32 of the images' shape.

        It is set to 0 outside the two largest patches: see ``stray``.
        """
        logits = self.model(tf.cast(images, tf.float32), training=False)
        probabilities = tf.sigmoid(tf.cast(logits, tf.float32))
        return tf.where(stray(probabilities >= self.threshold), 0.0, probabilities)

    def masks(self, images: tf.Tensor) -> tf.Tensor:
        """Returns the lungs, uint8 of the images' shape, 0 or 255."""
        return self.binarise(self.probabilities(images))

    def mask_at(self, probabilities: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
        """Returns an image's lungs at another size, e.g. its own.

        Args:
            probabilities: Of one image, float32 (*self.size, 1), from ``probabilities``.
            size: int32 (2,), the height and width wanted.

        Returns:
            uint8 (*size, 1), 0 or 255.
        """
        return self.binarise(tf.image.resize(probabilities, size, method="bilinear"))

    def binarise(self, probabilities: tf.Tensor) -> tf.Tensor:
        """Returns uint8 of the probabilities' shape, 0 or 255."""
        return tf.cast(probabilities >= self.threshold, tf.uint8) * 255


def stray(inside: tf.Tensor) -> tf.Tensor:
    """Returns the pixels of a mask that are outside its two largest connected patches.

    Computed in the graph, so that a served model does it too. Each cell of 4x4 pixels repeatedly
    takes the largest number among its neighbours until nothing changes; each patch then has one
    number.

    Args:
        inside: bool (batch, height, width, 1), height and width multiples of 4.

    Returns:
        bool of the same shape: true in all cells of the smaller patches.
    """
    share = tf.nn.avg_pool2d(tf.cast(inside, tf.float32), _CELL, _CELL, "VALID")
    taken = tf.cast(share > 0, tf.float32)
    height, width = share.shape[1], share.shape[2]
    own = tf.reshape(tf.range(1, height * width + 1, dtype=tf.float32), (1, height, width, 1))

    def spread(numbers: tf.Tensor, moved: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        wider = tf.nn.max_pool2d(numbers, 3, 1, "SAME") * taken
        return wider, tf.reduce_any(wider > numbers)

    numbers, _ = tf.while_loop(lambda _, moved: moved, spread, (own * taken, tf.constant(True)))
    patch = tf.cast(tf.reshape(numbers, (-1, height * width)), tf.int32)
    area = tf.reshape(share, (-1, height * width))
    sizes = tf.map_fn(
        lambda item: tf.math.unsorted_segment_sum(item[0], item[1], height * width + 1),
        (area, patch),
        fn_output_signature=tf.TensorSpec((height * width + 1,), tf.float32),
    )
    largest = tf.math.top_k(sizes, LUNGS).indices
    kept = tf.reduce_any(patch[:, :, None] == largest[:, None, :], axis=2)
    small = tf.reshape((patch > 0) & ~kept, (-1, height, width, 1))
    return tf.repeat(tf.repeat(small, _CELL, axis=1), _CELL, axis=2)
