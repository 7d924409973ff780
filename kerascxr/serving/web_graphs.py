"""The computation of the browser page's model, from grey pixels to the answer.

These functions hold operations that ONNX has: no strings, no gradients, no files. They compute what
``serving.graph`` does.
"""

from collections.abc import Callable

import keras
import tensorflow as tf

from kerascxr.data.images import to_backbone_input
from kerascxr.models.decision_rule import DecisionRule
from kerascxr.models.gradcam import GradCAM
from kerascxr.models.layer_statistics import layer_statistics
from kerascxr.models.segmenter import Segmenter

Outputs = dict[str, tf.Tensor]
OfGrey = Callable[[tf.Tensor], Outputs]
"""A function of one decoded image, uint8 (height, width)."""

GREY = tf.TensorSpec((None, None), tf.uint8, name="grey")
ANSWER = ("probabilities", "in_set", "warnings", "ood_score", "cams")
"""What a classifier's graph returns."""


def resize_by_taps(image: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Resizes a grey image as ``resize_image`` does, with the same bits.

    The rows are resized first, then the columns, and each new value is summed up old pixel by old
    pixel, in float32: the order of TensorFlow's ScaleAndTranslate. At some ratios of sizes, such as
    8 to 7, many new values lie half-way between two grey levels, and their last bits decide.

    Args:
        image: uint8 (height, width).
        size: Height and width wanted.

    Returns:
        float32 (*size), whole numbers in 0..255.
    """
    for wanted in size:
        image = tf.transpose(_resized_rows(image, wanted))
    return tf.reshape(tf.clip_by_value(tf.round(image), 0.0, 255.0), size)


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


def classifier_of_grey(model: keras.Model, rule: DecisionRule, temperature: float) -> OfGrey:
    """Returns the function from a grey image to a classifier's answer.

    Args:
        model: A classifier from ``build_classifier``, on the full image.
        rule: What decides between an answer and "not decided".
        temperature: Its logits are divided by this, above 0.

    Returns:
        A function that returns ``ANSWER``: ``probabilities`` float32 (n,), calibrated; ``in_set``
        bool (n,), the prediction set; ``warnings`` bool (k,), which of ``rule.kinds`` hold;
        ``ood_score`` float32 (); ``cams`` float32 (n, h, w), each class's Grad-CAM before it is
        resized.
    """
    camera = GradCAM(model)
    outputs = [model.output, layer_statistics(model).output, camera.features]
    whole = keras.Model(model.input, outputs)
    height, width = model.input_shape[1:3]

    def run(grey: tf.Tensor) -> Outputs:
        image = resize_by_taps(grey, (height, width))[None, ..., None]
        logits, statistics, features = whole(to_backbone_input(image), training=False)
        probabilities = tf.nn.softmax(tf.cast(logits, tf.float32) / temperature)
        sizes = tf.shape(grey)[None]
        inside, reasons, scores = rule.found(image, statistics, probabilities, sizes)
        answer = (probabilities, inside, reasons, scores, camera.class_maps(features))
        return {name: value[0] for name, value in zip(ANSWER, answer, strict=True)}

    return run


def lungs_of_grey(segmenter: Segmenter) -> OfGrey:
    """Returns the function from a grey image to a U-Net's probabilities.

    Args:
        segmenter: The U-Net.

    Returns:
        A function that returns ``probabilities``, float32 (*segmenter.size), before small
        components are removed.
    """

    def run(grey: tf.Tensor) -> Outputs:
        image = resize_by_taps(grey, segmenter.size)[None, ..., None]
        return {"probabilities": segmenter.probabilities(image)[0, ..., 0]}

    return run
