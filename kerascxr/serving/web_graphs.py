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


def resize_by_matrices(image: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Resizes a grey image as ``resize_image`` does, by two matrix products.

    Args:
        image: uint8 (height, width).
        size: Height and width wanted.

    Returns:
        float32 (*size), whole numbers in 0..255.
    """
    own = tf.shape(image)
    rows = _resampling(own[0], size[0])
    columns = _resampling(own[1], size[1])
    resized = tf.linalg.matmul(rows, tf.cast(image, tf.float32))
    resized = tf.linalg.matmul(resized, columns, transpose_b=True)
    return tf.clip_by_value(tf.round(resized), 0.0, 255.0)


def _resampling(own: tf.Tensor, wanted: int) -> tf.Tensor:
    """Returns the weights of antialiased bilinear resizing along an axis, float32 (wanted, own).

    In the steps and the number type of TensorFlow's ScaleAndTranslate, rounding included: a
    triangle around each new pixel's centre, as wide as the pixel where the image shrinks. At some
    ratios of sizes, such as 8 to 7, many new values lie half-way between two grey levels, and their
    last bits decide.
    """
    own = tf.cast(own, tf.float32)
    step = 1.0 / (float(wanted) / own)  # old pixels a new one; rounded as there
    centres = (tf.range(wanted, dtype=tf.float32) + 0.5) * step
    distances = tf.range(own, dtype=tf.float32)[None] + 0.5 - centres[:, None]
    distances *= 1.0 / tf.maximum(step, 1.0)
    weights = tf.maximum(1.0 - tf.abs(distances), 0.0)
    total = tf.cumsum(weights, axis=1)[:, -1:]  # one after another, as there
    return weights * (1.0 / total)


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
        image = resize_by_matrices(grey, (height, width))[None, ..., None]
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
        image = resize_by_matrices(grey, segmenter.size)[None, ..., None]
        return {"probabilities": segmenter.probabilities(image)[0, ..., 0]}

    return run
