"""The part of each image that a classifier gets: a region of interest, or an input ablation.

``ROIS`` is the one definition, computed in the graph, for training, evaluation and serving. An
entry with an ``ablation`` is also trained by every audit (``kerascxr audit RUN``).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from kerascxr.data.images import resize_image, resize_mask
from kerascxr.names import look_up

LUNG_MARGIN = 0.05  # of the image's side, around the lungs' box
BORDER = 0.1  # of the side
CORNER = 0.2  # of the side
SMOOTHING = 2 / 224  # of the side: the deviation of the low-pass
THUMBNAIL = (8, 8)
_BINS = 1024  # of the grey values, for their ranks

Size = tuple[int, int]
Apply = Callable[[tf.Tensor, tf.Tensor, Size], tf.Tensor]
"""A grey image and its lung mask, uint8 (h, w, 1), and a size to uint8 (*size, 1 or 2)."""


@dataclass(frozen=True)
class Ablation:
    """What an audit concludes from a model that is trained on an ablated input.

    Attributes:
        title: Its name in tables and figures.
        lungs_visible: Whether the lung texture is left. Where it is not, a score above chance does
            not come from the disease.
        without: What the input lacks, to follow "without" in a sentence.
        control_marker: What an audit plants into the images where a model without the lungs shows
            no shortcut, a key of ``CONTROL_MARKERS``. It must be one that the input can show.
    """

    title: str
    lungs_visible: bool
    without: str = ""
    control_marker: str = "corner_bar"


@dataclass(frozen=True)
class Roi:
    """A part of an image.

    Attributes:
        apply: Computes it.
        description: What it is, to follow "the model gets" in a sentence.
        needs_lungs: Whether it needs the lung mask.
        channels: 1, or 2 where the second holds the lung mask.
        ablation: What an audit concludes from it; None leaves it out of audits.
        move: Computes where the parts of an image come to lie, of a mask in place of the image, for
            a region that changes grey values too; None where ``apply`` does that.
        box: Computes the box of pixels that fills the input, of an image's (height, width), int32
            (2,), and its lung mask: int32 (2,) each, its first row and column and those after its
            last ones. None where that is the whole image.
    """

    apply: Apply
    description: str
    needs_lungs: bool = True
    channels: int = 1
    ablation: Ablation | None = None
    move: Apply | None = None
    box: Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]] | None = None


@dataclass(frozen=True)
class Region:
    """What is read of each image.

    Attributes:
        roi: A key of ``ROIS``.
        lungs: uint8 (n, h, w, 1), 0 or 255: each image's lungs, where the roi needs them.
        control_marker: What is planted first, a key of ``CONTROL_MARKERS``, or None.
    """

    roi: str = "none"
    lungs: np.ndarray | None = None
    control_marker: str | None = None


def lung_box(lungs: tf.Tensor) -> tf.Tensor:
    """Returns the box around the lungs.

    Args:
        lungs: uint8 (h, w, 1), 0 or 255.

    Returns:
        float32 (4,): top, left, bottom, right, as fractions of height and width, with
        a margin of ``LUNG_MARGIN``; the whole image if the mask is empty.
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


def _crop_box(sides: tf.Tensor, lungs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """See ``Roi.box``."""
    top, left, bottom, right = tf.unstack(lung_box(lungs))
    # The same fraction of height and width, so that the aspect ratio is kept.
    share = tf.maximum(bottom - top, right - left)
    top = tf.clip_by_value((top + bottom - share) / 2, 0.0, 1.0 - share)
    left = tf.clip_by_value((left + right - share) / 2, 0.0, 1.0 - share)
    exact = tf.cast(sides, tf.float32)
    begin = tf.cast(tf.floor(tf.stack([top, left]) * exact), tf.int32)
    end = tf.cast(tf.math.ceil(tf.stack([top + share, left + share]) * exact), tf.int32)
    return begin, tf.minimum(end, sides)


def _cropped(pixels: tf.Tensor, lungs: tf.Tensor) -> tf.Tensor:
    """Returns the part of an image, or of its mask, (h, w, 1), around the lungs."""
    begin, end = _crop_box(tf.shape(pixels)[:2], lungs)
    return pixels[begin[0] : end[0], begin[1] : end[1]]


def _lung_crop(image: tf.Tensor, lungs: tf.Tensor, size: Size) -> tf.Tensor:
    return resize_image(_cropped(image, lungs), size)


def _lungs_equalized(image: tf.Tensor, lungs: tf.Tensor, size: Size) -> tf.Tensor:
    inside = _in_lungs(_cropped(lungs, lungs), size)
    weights = tf.cast(inside, tf.float32)
    values = tf.cast(_lung_crop(image, lungs, size), tf.float32) * weights
    # What is outside has no weight in the mean around a pixel.
    smooth = tf.math.divide_no_nan(_low_pass(values), _low_pass(weights))
    bins = tf.cast(tf.clip_by_value(smooth, 0.0, 255.0) * (_BINS - 1) / 255, tf.int32)
    counts = tf.math.bincount(tf.boolean_mask(bins, inside), minlength=_BINS, maxlength=_BINS)
    counts = tf.cast(counts, tf.float32)
    ranks = (tf.cumsum(counts) - counts / 2) / tf.reduce_sum(counts)
    return tf.cast(tf.round(255 * tf.gather(ranks, bins) * weights), tf.uint8)


def _move_equalized(mask: tf.Tensor, lungs: tf.Tensor, size: Size) -> tf.Tensor:
    inside = _in_lungs(_cropped(lungs, lungs), size)
    return tf.where(inside, _lung_crop(mask, lungs, size), tf.constant(0, tf.uint8))


def _low_pass(values: tf.Tensor) -> tf.Tensor:
    """Returns float32 (h, w, 1), convolved with a Gaussian; there is nothing around it."""
    for axis in (0, 1):
        deviation = SMOOTHING * values.shape[axis]
        reach = math.ceil(3 * deviation)
        kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
        shape = (-1, 1, 1, 1) if axis == 0 else (1, -1, 1, 1)
        weights = tf.constant(np.reshape(kernel / kernel.sum(), shape), tf.float32)
        values = tf.nn.conv2d(values[None], weights, strides=1, padding="SAME")[0]
    return values


def _in_lungs(lungs: tf.Tensor, size: Size) -> tf.Tensor:
    """Returns the lung mask at a size, bool (*size, 1); all true if the mask is empty."""
    inside = resize_mask(lungs, size) > 0
    return inside | ~tf.reduce_any(inside)


def _lungs_only(image: tf.Tensor, lungs: tf.Tensor, size: Size) -> tf.Tensor:
    return tf.where(_in_lungs(lungs, size), resize_image(image, size), tf.constant(0, tf.uint8))


def _lung_channel(image: tf.Tensor, lungs: tf.Tensor, size: Size) -> tf.Tensor:
    second = tf.cast(_in_lungs(lungs, size), tf.uint8) * 255
    return tf.concat([resize_image(image, size), second], axis=-1)


def _without_lungs(image: tf.Tensor, lungs: tf.Tensor, size: Size) -> tf.Tensor:
    # The box and not the outline: the outline of the black area would show the lungs' shape.
    top, left, bottom, right = tf.unstack(lung_box(resize_mask(lungs, size)))
    down, across = _pixel_centres(size)
    inside = (down >= top) & (down < bottom) & (across >= left) & (across < right)
    return tf.where(inside, tf.constant(0, tf.uint8), resize_image(image, size))


def _border_only(image: tf.Tensor, lungs: tf.Tensor, size: Size) -> tf.Tensor:
    down, across = _pixel_centres(size)
    edge = tf.minimum(tf.minimum(down, 1 - down), tf.minimum(across, 1 - across))
    return tf.where(edge < BORDER, resize_image(image, size), tf.constant(0, tf.uint8))


def _without_corners(image: tf.Tensor, lungs: tf.Tensor, size: Size) -> tf.Tensor:
    down, across = _pixel_centres(size)
    corner = tf.maximum(tf.minimum(down, 1 - down), tf.minimum(across, 1 - across)) < CORNER
    return tf.where(corner, tf.constant(0, tf.uint8), resize_image(image, size))


def _thumbnail(image: tf.Tensor, lungs: tf.Tensor, size: Size) -> tf.Tensor:
    return resize_image(resize_image(image, THUMBNAIL), size)


def _lung_outline(image: tf.Tensor, lungs: tf.Tensor, size: Size) -> tf.Tensor:
    return tf.cast(_in_lungs(lungs, size), tf.uint8) * 255


def _pixel_centres(size: Size) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns each pixel's centre as fractions of height (h, 1, 1) and width (1, w, 1)."""
    down, across = ((tf.range(side, dtype=tf.float32) + 0.5) / side for side in size)
    return down[:, None, None], across[None, :, None]


ROIS = {
    "none": Roi(
        lambda image, lungs, size: resize_image(image, size),
        "the full image",
        needs_lungs=False,
        ablation=Ablation("full image", lungs_visible=True),
    ),
    "lung_crop": Roi(
        _lung_crop,
        f"the box around the lungs, {LUNG_MARGIN:.0%} larger on each side",
        box=_crop_box,
    ),
    "lungs_only": Roi(
        _lungs_only,
        "the lungs, black elsewhere",
        ablation=Ablation("lungs only", lungs_visible=True, without="what is not lung"),
    ),
    "lungs_equalized": Roi(
        _lungs_equalized,
        "the lungs, enlarged to fill the image, of one sharpness and with equalised grey values",
        move=_move_equalized,
        box=_crop_box,
    ),
    "lung_channel": Roi(
        _lung_channel, "the full image, with the lung mask in the blue channel", channels=2
    ),
    "without_corners": Roi(
        _without_corners,
        f"the image with black corners, {CORNER:.0%} of each side",
        needs_lungs=False,
        ablation=Ablation("without corners", lungs_visible=True, without="the corners"),
    ),
    "without_lungs": Roi(
        _without_lungs,
        f"the image with a black box over the lungs, {LUNG_MARGIN:.0%} larger on each side",
        ablation=Ablation("without lungs", lungs_visible=False, without="the lungs"),
    ),
    "border_only": Roi(
        _border_only,
        f"a frame of {BORDER:.0%} of each side, black elsewhere",
        needs_lungs=False,
        ablation=Ablation("border only", lungs_visible=False, without="the lungs"),
    ),
    "thumbnail": Roi(
        _thumbnail,
        "a thumbnail of {} by {} pixels".format(*THUMBNAIL),
        needs_lungs=False,
        ablation=Ablation("8x8 thumbnail", lungs_visible=False, without="any detail"),
    ),
    "lung_outline": Roi(
        _lung_outline,
        "the lung mask alone",
        ablation=Ablation(
            "lung outline only",
            lungs_visible=False,
            without="the lung texture",
            control_marker="mask_corner_bar",
        ),
    ),
}


def check_roi(name: str, lungs: Path | None) -> Roi:
    """Looks a roi up and checks the ``lungs`` option that goes with it.

    Args:
        name: A key of ``ROIS``.
        lungs: The segmentation run that predicts the lung masks, or None.

    Raises:
        ValueError: If the name is unknown, or lungs are given for a roi that needs none.
    """
    roi = look_up(ROIS, name, "roi")
    if lungs is not None and not roi.needs_lungs:
        raise ValueError(
            "lungs must be left out where the roi does not need them. "
            f"Got lungs={str(lungs)!r}, roi={name!r}."
        )
    return roi
