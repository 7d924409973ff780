"""The computation of the browser page's model, from grey pixels to the answer.

These functions hold operations that ONNX has: no strings, no gradients, no files. They compute what
``serving.graph`` and ``serving.ensemble`` do.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import tensorflow as tf

from kerascxr.data.images import resampling_by, resize_image, to_backbone_input
from kerascxr.data.roi import ROIS
from kerascxr.models.decision_rule import DecisionRule
from kerascxr.models.ensemble_rule import EnsembleRule
from kerascxr.models.gradcam import GradCAM
from kerascxr.models.layer_statistics import layer_statistics
from kerascxr.models.segmenter import Segmenter

Outputs = dict[str, tf.Tensor]
OfGrey = Callable[..., Outputs]
"""A function of one decoded image, uint8 (height, width), and where the region of interest needs
the lungs of their mask, uint8 (h, w), 0 or 255."""

GREY = tf.TensorSpec((None, None), tf.uint8, name="grey")
LUNG_MASK = tf.TensorSpec((None, None), tf.uint8, name="lung_mask")
ANSWER = ("probabilities", "in_set", "warnings", "ood_score", "cams")
"""What a classifier's graph returns."""
BOX = "box"
"""What it returns too where the region of interest is a part of the image."""


@dataclass(frozen=True)
class Member:
    """A classifier, by itself or in an ensemble.

    Attributes:
        model: A classifier from ``build_classifier``.
        rule: What decides between an answer and "not decided".
        temperature: Its logits are divided by this, above 0.
    """

    model: keras.Model
    rule: DecisionRule
    temperature: float


def resample_by_taps(image: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Resizes a grey image as ``tf.image.resize`` with antialiasing does, with the same bits.

    The rows are resized first, then the columns, and each new value is summed up old pixel by old
    pixel, in float32: the order of TensorFlow's ScaleAndTranslate. At some ratios of sizes, such as
    8 to 7, many new values lie half-way between two grey levels, and their last bits decide.

    Args:
        image: uint8 (height, width, 1).
        size: Height and width wanted.

    Returns:
        float32 (*size, 1).
    """
    image = image[..., 0]
    for wanted in size:
        image = tf.transpose(_resized_rows(image, wanted))
    return tf.reshape(image, (*size, 1))


def _resized_rows(image: tf.Tensor, wanted: int) -> tf.Tensor:
    """Resizes the first axis by a triangle around each new pixel, as wide as it where shrinking."""
    rows = tf.shape(image)[0]
    own = tf.cast(rows, tf.float32)
    step = 1.0 / (float(wanted) / own)  # old pixels a new one; rounded as there
    reach = tf.maximum(step, 1.0)
    centres = (tf.range(wanted, dtype=tf.float32) + 0.5) * step
    first = tf.clip_by_value(tf.math.ceil(centres - reach - 0.5), 0.0, own - 1.0)
    last = tf.clip_by_value(tf.math.floor(centres + reach - 0.5), 0.0, own - 1.0)

    def weights(tap: tf.Tensor) -> tf.Tensor:
        place = first + tf.cast(tap, tf.float32)
        distance = (place + 0.5 - centres) * (1.0 / reach)
        inside = tf.cast(place <= last, tf.float32)
        return tf.maximum(1.0 - tf.abs(distance), 0.0) * inside

    taps = tf.cast(tf.reduce_max(last - first), tf.int32) + 1
    _, total = tf.while_loop(
        lambda tap, _: tap < taps,
        lambda tap, total: (tap + 1, total + weights(tap)),
        (tf.constant(0), tf.zeros((wanted,))),
    )
    share = 1.0 / total

    def add(tap: tf.Tensor, summed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        place = tf.minimum(tf.cast(first, tf.int32) + tap, rows - 1)
        values = tf.cast(tf.gather(image, place), tf.float32)
        return tap + 1, summed + (weights(tap) * share)[:, None] * values

    start = tf.zeros(tf.stack([wanted, tf.shape(image)[1]]))
    shapes = (tf.TensorShape(()), tf.TensorShape((wanted, None)))
    _, resized = tf.while_loop(lambda tap, _: tap < taps, add, (tf.constant(0), start), shapes)
    return resized


def inputs_of(roi: str) -> list[tf.TensorSpec]:
    """Returns what a classifier's graph takes, with a region of interest or "none"."""
    return [GREY, LUNG_MASK] if ROIS[roi].needs_lungs else [GREY]


def outputs_of(roi: str) -> tuple[str, ...]:
    """Returns the names of what a classifier's graph returns."""
    return (*ANSWER, BOX) if ROIS[roi].box else ANSWER


def classifier_of_grey(
    members: Sequence[Member], together: EnsembleRule | None = None, roi: str = "none"
) -> OfGrey:
    """Returns the function from a grey image to the answer of a classifier, or of an ensemble.

    Args:
        members: The classifier; several are an ensemble's.
        together: The ensemble's rule; None for one classifier.
        roi: The region of interest, a key of ``ROIS``.

    Returns:
        A function that returns ``outputs_of(roi)``: ``probabilities`` float32 (n,), calibrated,
        the mean of the members'; ``in_set`` bool (n,), the prediction set; ``warnings`` bool (k,),
        which of the rule's kinds hold; ``ood_score`` float32 (); ``cams`` float32 (n, h, w), each
        class's Grad-CAM before it is resized, the mean of the members' divided by its largest
        value; ``box`` float32 (4,), where the region lies in the image, top, left, bottom and right
        as shares of its height and width.
    """
    part = ROIS[roi]
    answers = [_answer_of(member) for member in members]
    size = members[0].model.input_shape[1:3]

    def run(grey: tf.Tensor, lung_mask: tf.Tensor | None = None) -> Outputs:
        mask = tf.zeros((1, 1), tf.uint8) if lung_mask is None else lung_mask
        pixels, mask = grey[..., None], mask[..., None]
        with resampling_by(resample_by_taps):
            region = part.apply(pixels, mask, size)
        image = tf.cast(region, tf.float32)[None]
        own = tf.shape(grey)[None]
        found = [answer(image, own) for answer in answers]
        values = found[0] if together is None else _whole(found, members, together)
        outputs = {name: value[0] for name, value in zip(ANSWER, values, strict=True)}
        if part.box:
            shares = [tf.cast(corner, tf.float32) for corner in part.box(own[0], mask)]
            sides = tf.cast(own[0], tf.float32)
            outputs[BOX] = tf.concat([corner / sides for corner in shares], axis=0)
        return outputs

    return run


def _answer_of(member: Member) -> Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, ...]]:
    """Returns the function from a batch and its own sizes to ``ANSWER``, as ``found`` has it."""
    model = member.model
    camera = GradCAM(model)
    outputs = [model.output, layer_statistics(model).output, camera.features]
    whole = keras.Model(model.input, outputs)

    def answer(image: tf.Tensor, own: tf.Tensor) -> tuple[tf.Tensor, ...]:
        logits, statistics, features = whole(to_backbone_input(image), training=False)
        probabilities = tf.nn.softmax(tf.cast(logits, tf.float32) / member.temperature)
        inside, reasons, scores = member.rule.found(image, statistics, probabilities, own)
        return probabilities, inside, reasons, scores, camera.class_maps(features)

    return answer


def _whole(
    found: Sequence[tuple[tf.Tensor, ...]], members: Sequence[Member], together: EnsembleRule
) -> tuple[tf.Tensor, ...]:
    """Returns an ensemble's answer of its members'."""
    probabilities, _, reasons, scores, maps = zip(*found, strict=True)
    each = tf.stack(probabilities)
    kinds = [member.rule.kinds for member in members]
    nowhere = tf.zeros_like(reasons[0][:, 0])
    warned = [
        tf.stack(
            [of[:, own.index(kind)] if kind in own else nowhere for kind in together.check_kinds],
            axis=1,
        )
        for of, own in zip(reasons, kinds, strict=True)
    ]
    inside, given, score = together.found(each, tf.stack(warned), tf.stack(scores))
    return tf.reduce_mean(each, axis=0), inside, given, score, _mean_map(maps)


def _mean_map(maps: Sequence[tf.Tensor]) -> tf.Tensor:
    """Returns the mean of maps, each float32 (1, n, h, w), 0..1, divided by its largest value."""
    largest = max((of.shape[2:] for of in maps), key=lambda size: (size[0], size[1]))

    def fitted(of: tf.Tensor) -> tf.Tensor:
        if of.shape[2:] == largest:
            return of
        resized = tf.image.resize(tf.transpose(of, (0, 2, 3, 1)), tuple(largest))
        return tf.transpose(resized, (0, 3, 1, 2))

    mean = tf.reduce_mean(tf.stack([fitted(of) for of in maps]), axis=0)
    return tf.math.divide_no_nan(mean, tf.reduce_max(mean, axis=(2, 3), keepdims=True))


def lungs_of_grey(segmenter: Segmenter) -> OfGrey:
    """Returns the function from a grey image to a U-Net's probabilities.

    Args:
        segmenter: The U-Net.

    Returns:
        A function that returns ``probabilities``, float32 (*segmenter.size), before small
        components are removed.
    """

    def run(grey: tf.Tensor) -> Outputs:
        with resampling_by(resample_by_taps):
            image = resize_image(grey[..., None], segmenter.size)
        return {"probabilities": segmenter.probabilities(image[None])[0, ..., 0]}

    return run
