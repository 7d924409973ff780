"""What of an image a classifier sees: all, the lungs or, to find shortcuts, what is not lung.

One definition, in the graph, for training, evaluation and serving.
"""

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from kerascxr.data.images import resize_image, resize_mask

LUNG_MARGIN = 0.05  # of the image's side, around the lungs' box
BORDER = 0.1  # of the side
CORNER = 0.2  # of the side
THUMBNAIL = (8, 8)

Size = tuple[int, int]
View = Callable[[tf.Tensor, tf.Tensor, Size], tf.Tensor]
"""A grey image and its lungs, uint8 (h, w, 1), and a size to uint8 (*size, 1 or 2)."""


@dataclass(frozen=True)
class Roi:
    """A way to look at an image.

    Attributes:
        see: What it does.
        meaning: What is seen, in words.
        needs_lungs: Whether the lungs must be known.
        channels: 1, or 2 where the lungs come along.
    """

    apply: View
    meaning: str
    needs_lungs: bool = True
    channels: int = 1


def lung_box(lungs: tf.Tensor) -> tf.Tensor:
    """Finds the box around the lungs.

    Args:
        lungs: uint8 (h, w, 1), 0 or 255.

    Returns:
        float32 (4,): top, left, bottom, right, as fractions of height and width, with
        ``LUNG_MARGIN`` around; all of the image where there is no lung.
    """
    inside = lungs[..., 0] > 0

    def ends(axis: int) -> tuple[tf.Tensor, tf.Tensor]:
        places = tf.cast(tf.where(tf.reduce_any(inside, axis=axis))[:, 0], tf.float32)
        side = tf.cast(tf.shape(inside)[1 - axis], tf.float32)
        first, last = tf.reduce_min(places) / side, (tf.reduce_max(places) + 1) / side
        return tf.maximum(first - LUNG_MARGIN, 0.0), tf.minimum(last + LUNG_MARGIN, 1.0)

    def found() -> tf.Tensor:
        (top, bottom), (left, right) = ends(1), ends(0)
        return tf.stack([top, left, bottom, right])

    return tf.cond(tf.reduce_any(inside), found, lambda: tf.constant([0.0, 0.0, 1.0, 1.0]))


def _crop(image: tf.Tensor, lungs: tf.Tensor, size: Size) -> tf.Tensor:
    top, left, bottom, right = tf.unstack(lung_box(lungs))
    # As large a share of the height as of the width, so that nothing is stretched.
    share = tf.maximum(bottom - top, right - left)
    top = tf.clip_by_value((top + bottom - share) / 2, 0.0, 1.0 - share)
    left = tf.clip_by_value((left + right - share) / 2, 0.0, 1.0 - share)
    sides = tf.cast(tf.shape(image)[:2], tf.float32)
    begin = tf.cast(tf.floor(tf.stack([top, left]) * sides), tf.int32)
    end = tf.cast(tf.math.ceil(tf.stack([top + share, left + share]) * sides), tf.int32)
    end = tf.minimum(end, tf.shape(image)[:2])
    return resize_image(image[begin[0] : end[0], begin[1] : end[1]], size)


def _in_lungs(lungs: tf.Tensor, size: Size) -> tf.Tensor:
    """Returns the lungs at a size, bool (*size, 1); everywhere where there are none."""
    inside = resize_mask(lungs, size) > 0
    return inside | ~tf.reduce_any(inside)


def _mask(image: tf.Tensor, lungs: tf.Tensor, size: Size) -> tf.Tensor:
    return tf.where(_in_lungs(lungs, size), resize_image(image, size), tf.constant(0, tf.uint8))


def _channel(image: tf.Tensor, lungs: tf.Tensor, size: Size) -> tf.Tensor:
    second = tf.cast(_in_lungs(lungs, size), tf.uint8) * 255
    return tf.concat([resize_image(image, size), second], axis=-1)


def _hidden(image: tf.Tensor, lungs: tf.Tensor, size: Size) -> tf.Tensor:
    # The box and not the outline: a black lung's shape would say much of what was in it.
    top, left, bottom, right = tf.unstack(lung_box(resize_mask(lungs, size)))
    down, across = _places(size)
    inside = (down >= top) & (down < bottom) & (across >= left) & (across < right)
    return tf.where(inside, tf.constant(0, tf.uint8), resize_image(image, size))


def _border(image: tf.Tensor, lungs: tf.Tensor, size: Size) -> tf.Tensor:
    down, across = _places(size)
    edge = tf.minimum(tf.minimum(down, 1 - down), tf.minimum(across, 1 - across))
    return tf.where(edge < BORDER, resize_image(image, size), tf.constant(0, tf.uint8))


def _corners(image: tf.Tensor, lungs: tf.Tensor, size: Size) -> tf.Tensor:
    down, across = _places(size)
    corner = tf.maximum(tf.minimum(down, 1 - down), tf.minimum(across, 1 - across)) < CORNER
    return tf.where(corner, tf.constant(0, tf.uint8), resize_image(image, size))


def _thumbnail(image: tf.Tensor, lungs: tf.Tensor, size: Size) -> tf.Tensor:
    return resize_image(resize_image(image, THUMBNAIL), size)


def _shape(image: tf.Tensor, lungs: tf.Tensor, size: Size) -> tf.Tensor:
    return tf.cast(_in_lungs(lungs, size), tf.uint8) * 255


def _places(size: Size) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns each pixel's middle as fractions of height (h, 1, 1) and width (1, w, 1)."""
    down, across = ((tf.range(side, dtype=tf.float32) + 0.5) / side for side in size)
    return down[:, None, None], across[None, :, None]


ROIS = {
    "none": Roi(
        lambda image, lungs, size: resize_image(image, size), "the full image", needs_lungs=False
    ),
    "crop": Roi(_crop, f"the box around the lungs, {LUNG_MARGIN:.0%} larger on each side"),
    "mask": Roi(_mask, "the lungs alone, all else black"),
    "channel": Roi(_channel, "the full image, the lungs marked in the blue channel", channels=2),
    "hidden": Roi(_hidden, f"all but the box around the lungs, {LUNG_MARGIN:.0%} larger"),
    "border": Roi(_border, f"a frame of {BORDER:.0%} of each side", needs_lungs=False),
    "corners": Roi(_corners, f"all but the corners, {CORNER:.0%} of each side", needs_lungs=False),
    "thumbnail": Roi(
        _thumbnail, "a thumbnail of {} by {} pixels".format(*THUMBNAIL), needs_lungs=False
    ),
    "shape": Roi(_shape, "the outline of the lungs, without the image"),
}
