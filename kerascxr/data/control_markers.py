"""Control markers: synthetic shortcuts, planted to measure whether an audit could find one.

An audit that shows no shortcut trains the same model again on the same images with a marker. The
bars are those of the marked phantom (``data/phantom/drawing.py``).
"""

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from kerascxr.names import look_up

HEIGHT = 0.05  # of the shorter side
_BRIGHT = 250
_WIDEST = 0.5  # of the width: the longest bar of many classes

Plant = Callable[[tf.Tensor, tf.Tensor, tf.Tensor, int], tuple[tf.Tensor, tf.Tensor]]
"""An image and its lung mask, uint8 (h, w, 1), label and number of classes to both, marked."""


@dataclass(frozen=True)
class ControlMarker:
    """A marker that reveals the class.

    Attributes:
        plant: Draws it, before the region of interest is computed.
        description: What it is, to follow "the control marker is" in a sentence.
    """

    plant: Plant
    description: str


def draw_bar(image: tf.Tensor, label: tf.Tensor, classes: int, value: int) -> tf.Tensor:
    """Draws a bar into the upper left corner, as long as the class's place in the list.

    Args:
        image: uint8 (h, w, 1).
        label: int64 scalar, 0..classes - 1.
        classes: Number of classes.
        value: Grey value of the bar, 0..255.

    Returns:
        uint8 (h, w, 1). The bar is ``HEIGHT`` of the shorter side high and begins half its height
        below the top. Each class adds a bar's height to its length; less from 11 classes on.
    """
    height, width = tf.shape(image)[0], tf.shape(image)[1]
    side = tf.cast(HEIGHT * tf.cast(tf.minimum(height, width), tf.float64), tf.int32)
    step = tf.minimum(side, tf.cast(_WIDEST * tf.cast(width, tf.float64), tf.int32) // classes)
    rows, columns = tf.range(height)[:, None, None], tf.range(width)[None, :, None]
    begin = side // 2
    inside = (rows >= begin) & (rows < begin + side)
    inside &= columns < step * (tf.cast(label, tf.int32) + 1)
    return tf.where(inside, tf.constant(value, tf.uint8), image)


CONTROL_MARKERS = {
    "corner_bar": ControlMarker(
        lambda image, lungs, label, n: (draw_bar(image, label, n, _BRIGHT), lungs),
        f"a bright bar in the upper left corner, {HEIGHT:.0%} of the side high, whose length is "
        "the class",
    ),
    "mask_corner_bar": ControlMarker(
        lambda image, lungs, label, n: (image, draw_bar(lungs, label, n, 255)),
        f"a bar in the upper left corner of the lung mask, {HEIGHT:.0%} of the side high, whose "
        "length is the class",
    ),
}


def check_control_marker(name: str | None) -> None:
    """Raises a ValueError if there is no such control marker; None stands for none."""
    if name is not None:
        look_up(CONTROL_MARKERS, name, "control marker")
