"""A trained U-Net and its threshold: the one definition of a lung mask.

Training's evaluation, audits, regions of interest, exports and predictions all use the masks that
``Segmenter`` computes: a pixel is lung if its probability reaches the threshold and it belongs to
one of the image's two largest components. At another size than the U-Net's, the probabilities of
those components are resized before the threshold.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import tensorflow as tf

from kerascxr.data.graphs import do_not_convert

LUNGS = 2
_CELL = 4  # pixels: components nearer than that are one


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
        """Returns each pixel's probability of being lung, float32 of the images' shape."""
        return lung_probabilities(self.model, images)

    def of_lungs(self, probabilities: tf.Tensor) -> tf.Tensor:
        """Returns the probabilities, set to 0 in all but the two largest components."""
        return self.lungs_and_components(probabilities)[0]

    def lungs_and_components(self, probabilities: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns what ``of_lungs`` does, and each image's number of components, int32 (batch,)."""
        small, components = small_components(probabilities >= self.threshold)
        return tf.where(small, 0.0, probabilities), components

    def masks(self, images: tf.Tensor) -> tf.Tensor:
        """Returns the lungs, uint8 of the images' shape, 0 or 255."""
        return self.binarise(self.of_lungs(self.probabilities(images)))

    def mask_at(self, probabilities: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
        """Returns an image's lungs at another size, e.g. its own.

        Args:
            probabilities: Of one image, float32 (*self.size, 1), from ``of_lungs``.
            size: int32 (2,), the height and width wanted.

        Returns:
            uint8 (*size, 1), 0 or 255.
        """
        return mask_at(probabilities, size, self.threshold)

    def binarise(self, probabilities: tf.Tensor) -> tf.Tensor:
        """Returns uint8 of the shape of probabilities from ``of_lungs``, 0 or 255."""
        return binarise(probabilities, self.threshold)


def binarise(probabilities: tf.Tensor, threshold: float) -> tf.Tensor:
    """See ``Segmenter.binarise``."""
    return tf.cast(probabilities >= threshold, tf.uint8) * 255


def mask_at(probabilities: tf.Tensor, size: tf.Tensor, threshold: float) -> tf.Tensor:
    """See ``Segmenter.mask_at``."""
    return binarise(tf.image.resize(probabilities, size, method="bilinear"), threshold)


def lung_probabilities(model: keras.Model, images: tf.Tensor) -> tf.Tensor:
    """Returns each pixel's probability of being lung.

    Args:
        model: A U-Net.
        images: (batch, height, width, 1), 0..255, any number type.

    Returns:
        float32 of the images' shape, 0..1.
    """
    logits = model(tf.cast(images, tf.float32), training=False)
    return tf.sigmoid(tf.cast(logits, tf.float32))


def masks_by_threshold(probabilities: tf.Tensor, thresholds: Sequence[float]) -> tf.Tensor:
    """Returns the masks that ``Segmenter.masks`` would give at several thresholds.

    Args:
        probabilities: float32 (batch, height, width, 1), from ``lung_probabilities``.
        thresholds: The k thresholds, each above 0.

    Returns:
        bool (batch, k, height, width).
    """
    _, height, width, _ = probabilities.shape
    steps = tf.constant(thresholds, tf.float32)[:, None, None, None]
    inside = tf.reshape(probabilities[:, None] >= steps, (-1, height, width, 1))
    small, _ = small_components(inside)
    return tf.reshape(inside & ~small, (-1, len(thresholds), height, width))


def small_components(inside: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Finds the parts of a mask that are outside its two largest connected components.

    Computed in the graph, so that a served model does it too. Each cell of 4x4 pixels repeatedly
    takes the largest number among its neighbours until nothing changes; each component then has
    one number.

    Args:
        inside: bool (batch, height, width, 1), height and width multiples of 4.

    Returns:
        bool of the same shape, true in all cells of the smaller components; and int32 (batch,), the
        number of components, the two largest included.
    """
    share = tf.nn.avg_pool2d(tf.cast(inside, tf.float32), _CELL, _CELL, "VALID")
    taken = tf.cast(share > 0, tf.float32)
    height, width = share.shape[1], share.shape[2]
    own = tf.reshape(tf.range(1, height * width + 1, dtype=tf.float32), (1, height, width, 1))

    def spread(numbers: tf.Tensor, moved: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        wider = tf.nn.max_pool2d(numbers, 3, 1, "SAME") * taken
        return wider, tf.reduce_any(wider > numbers)

    numbers, _ = tf.while_loop(lambda _, moved: moved, spread, (own * taken, tf.constant(True)))
    count = tf.reduce_sum(tf.cast(numbers == own, tf.int32), axis=(1, 2, 3))
    component = tf.cast(tf.reshape(numbers, (-1, height * width)), tf.int32)
    area = tf.reshape(share, (-1, height * width))
    sizes = tf.map_fn(
        do_not_convert(
            lambda item: tf.math.unsorted_segment_sum(item[0], item[1], height * width + 1)
        ),
        (area, component),
        fn_output_signature=tf.TensorSpec((height * width + 1,), tf.float32),
    )
    largest = tf.math.top_k(sizes, LUNGS).indices
    kept = tf.reduce_any(component[:, :, None] == largest[:, None, :], axis=2)
    small = tf.reshape((component > 0) & ~kept, (-1, height, width, 1))
    return tf.repeat(tf.repeat(small, _CELL, axis=1), _CELL, axis=2), count
