"""The computation of a served model, from a file's bytes to its answer, as TensorFlow functions."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import keras
import tensorflow as tf

from kerascxr.data.graphs import do_not_convert
from kerascxr.data.images import decode_file, resize_image, to_backbone_input
from kerascxr.data.roi import ROIS
from kerascxr.models.decision_rule import DecisionRule
from kerascxr.models.input_checks import unfitted_warnings
from kerascxr.models.layer_statistics import layer_statistics
from kerascxr.models.segmenter import Segmenter

Outputs = dict[str, tf.Tensor]
Sizes = tuple[tuple[int, int], ...]

DECIDING = ("decision", "prediction_set", "ood_score", "warnings")
"""What ``DecisionRule.apply`` returns; a run's predictions.csv has columns of these names."""


class Answering(Protocol):
    """What answers images: a ``Classifier``, or an ensemble.

    Attributes:
        rois: The regions of interest that it takes, keys of ``ROIS``.
    """

    rois: tuple[str, ...]

    def answer(
        self, inputs: Mapping[str, tf.Tensor], own_sizes: tf.Tensor | None = None
    ) -> Outputs:
        """See ``Classifier.answer``."""
        ...


class Classifier:
    """The functions from images to a classifier's answer.

    Args:
        model: A classifier from ``build_classifier``.
        classes: Its class names.
        rule: What decides between an answer and "not decided"; None for probabilities alone.
        temperature: Its logits are divided by this, above 0.
        roi: The region of interest that it takes, a key of ``ROIS``.
    """

    def __init__(
        self,
        model: keras.Model,
        classes: Sequence[str],
        rule: DecisionRule | None = None,
        temperature: float = 1.0,
        roi: str = "none",
    ):
        # Without a rule the statistics are the logits, which nobody reads.
        statistics = layer_statistics(model).output if rule else model.output
        self._model = keras.Model(model.input, [model.output, statistics])
        self._classes = list(classes)
        self._rule = rule
        self._temperature = temperature
        self.rois: tuple[str, ...] = (roi,)

    def answer(
        self, inputs: Mapping[str, tf.Tensor], own_sizes: tf.Tensor | None = None
    ) -> Outputs:
        """Computes the answer.

        Args:
            inputs: Each region of interest -> the batch, float32 (batch, height, width, 1 or 2),
                0..255.
            own_sizes: int32 (batch, 2), the files' (height, width), if known.

        Returns:
            ``probabilities`` float32 (batch, n), after the temperature, ``label`` string (batch,),
            ``labels`` string (batch, n) and, with a rule, what ``DecisionRule.apply`` returns.
        """
        images = inputs[self.rois[0]]
        logits, statistics = self._model(to_backbone_input(images), training=False)
        probabilities = tf.nn.softmax(tf.cast(logits, tf.float32) / self._temperature)
        names = tf.constant(self._classes)
        outputs = {
            "probabilities": probabilities,
            "label": tf.gather(names, tf.argmax(probabilities, axis=-1)),
            # Repeated per image: REST's row format needs one row of each output per image.
            "labels": tf.tile(names[None], [tf.shape(images)[0], 1]),
        }
        if self._rule:
            outputs |= self._rule.apply(images, statistics, probabilities, self._classes, own_sizes)
        return outputs


def decode_batch(encoded: tf.Tensor, sizes: Sizes) -> tuple[tuple[tf.Tensor, ...], tf.Tensor]:
    """Decodes image files and resizes each to one or several sizes.

    Args:
        encoded: string (batch,), the files' bytes.
        sizes: Each wanted (height, width).

    Returns:
        uint8 (batch, *size, 1) for each size, and int32 (batch, 2), the files' own sizes.

    Raises:
        tf.errors.InvalidArgumentError: If there is no item, or one cannot be decoded; the message
            has its index.
    """

    @do_not_convert
    def prepare(place: tf.Tensor, data: tf.Tensor) -> tuple[tf.Tensor, ...]:
        image = decode_file(data)
        return place, tf.shape(image)[:2], *(resize_image(image, size) for size in sizes)

    n = tf.shape(encoded, tf.int64)[0]
    decoded = tf.data.Dataset.from_tensor_slices(encoded).enumerate()
    decoded = decoded.map(prepare, num_parallel_calls=tf.data.AUTOTUNE)
    # Items that cannot be decoded are omitted, so that the missing ones can be named.
    decoded = decoded.ignore_errors(log_warning=False)
    nothing = (
        tf.constant([-1], tf.int64),
        tf.zeros((1, 2), tf.int32),
        *(tf.zeros((1, *size, 1), tf.uint8) for size in sizes),
    )
    decoded = decoded.concatenate(tf.data.Dataset.from_tensor_slices(nothing))
    places, own, *images = decoded.batch(n + 1).get_single_element()
    broken = tf.sets.difference(tf.range(n)[None], places[None, :-1]).values
    first = tf.cond(tf.size(broken) > 0, lambda: broken[0], lambda: tf.constant(-1, tf.int64))
    whole = tf.debugging.Assert(
        tf.size(broken) == 0,
        [
            "each item must be a whole PNG, JPEG or BMP file of one picture, of a size that can be "
            "taken. Got one that is not at place (counted from 0)",
            first,
        ],
    )
    some = tf.debugging.Assert(n > 0, ["images must be at least one file. Got none"])
    with tf.control_dependencies([some, whole]):
        return tuple(
            tf.ensure_shape(tf.identity(item)[:-1], (None, *size, 1))
            for item, size in zip(images, sizes, strict=True)
        ), own[:-1]


def lung_answer(segmenter: Segmenter, probabilities: tf.Tensor, own_sizes: tf.Tensor) -> Outputs:
    """Returns the part of the answer that describes the lungs.

    Args:
        segmenter: The U-Net.
        probabilities: From ``segmenter.of_lungs``, float32 (batch, *segmenter.size, 1).
        own_sizes: int32 (batch, 2), the (height, width) of the masks.

    Returns:
        ``lung_mask_bytes`` string (batch,), PNG files of 0 and 255; ``lung_fraction`` float32
        (batch,), the share of each mask that is lung.
    """

    @do_not_convert
    def encode(item: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        mask = segmenter.mask_at(*item)
        return tf.io.encode_png(mask), tf.reduce_mean(tf.cast(mask > 0, tf.float32))

    masks, fractions = tf.map_fn(
        encode,
        (probabilities, own_sizes),
        fn_output_signature=(
            tf.TensorSpec((), tf.string),
            tf.TensorSpec((), tf.float32),
        ),
    )
    return {"lung_mask_bytes": masks, "lung_fraction": fractions}


def _apply_roi(
    items: tf.Tensor,
    decode: Callable[[tf.Tensor], tf.Tensor],
    lungs: tf.Tensor,
    roi: str,
    size: tuple[int, int],
) -> tf.Tensor:
    """Returns the classifier's input for each item, float32 (batch, *size, channels)."""
    inputs = tf.map_fn(
        do_not_convert(lambda item: ROIS[roi].apply(decode(item[0]), item[1], size)),
        (items, lungs),
        fn_output_signature=tf.TensorSpec((*size, ROIS[roi].channels), tf.uint8),
    )
    return tf.cast(inputs, tf.float32)


def from_bytes(
    classifier: Answering, size: tuple[int, int], segmenter: Segmenter | None
) -> Callable[[tf.Tensor], Outputs]:
    """Returns the function from files' bytes, string (batch,), to the full answer."""

    def run(images: tf.Tensor) -> Outputs:
        sizes: Sizes = (size, segmenter.size) if segmenter else (size,)
        resized, own = decode_batch(images, sizes)
        answer: Outputs = {}
        lungs = tf.zeros((tf.shape(images)[0], 1, 1, 1), tf.uint8)
        if segmenter:
            probabilities = segmenter.of_lungs(segmenter.probabilities(resized[1]))
            lungs = segmenter.binarise(probabilities)
            answer = lung_answer(segmenter, probabilities, own)
        # After the check of the batch: a broken item would fail in a region without its index.
        with tf.control_dependencies([own]):
            whole = tf.identity(images)

        def input_of(roi: str) -> tf.Tensor:
            if roi == "none":
                return tf.cast(resized[0], tf.float32)
            return _apply_roi(whole, decode_file, lungs, roi, size)

        inputs = {roi: input_of(roi) for roi in classifier.rois}
        return classifier.answer(inputs, own) | answer

    return run


def from_pixels(
    classifier: Answering, size: tuple[int, int], segmenter: Segmenter | None
) -> Callable[[tf.Tensor], Outputs]:
    """Returns the function from grey values, float32 (batch, *size, 1), to the classes' answer."""

    def run(images: tf.Tensor) -> Outputs:
        grey = tf.cast(tf.clip_by_value(tf.round(images), 0.0, 255.0), tf.uint8)
        lungs = tf.zeros((tf.shape(images)[0], 1, 1, 1), tf.uint8)
        if segmenter and set(classifier.rois) != {"none"}:
            lungs = segmenter.masks(resize_image(grey, segmenter.size))

        def input_of(roi: str) -> tf.Tensor:
            if roi == "none":
                return images
            return _apply_roi(grey, tf.identity, lungs, roi, size)

        return classifier.answer({roi: input_of(roi) for roi in classifier.rois})

    return run


def masks_from_bytes(segmenter: Segmenter) -> Callable[[tf.Tensor], Outputs]:
    """Returns the function from files' bytes, string (batch,), to a U-Net's full answer."""

    def run(images: tf.Tensor) -> Outputs:
        (resized,), own = decode_batch(images, (segmenter.size,))
        found = segmenter.probabilities(resized)
        probabilities, components = segmenter.lungs_and_components(found)
        lungs = lung_answer(segmenter, probabilities, own)
        return {
            "mask_bytes": lungs["lung_mask_bytes"],
            "lung_fraction": lungs["lung_fraction"],
            "components": components,
            "warnings": unfitted_warnings(tf.cast(resized, tf.float32), own),
        }

    return run


def masks_from_pixels(segmenter: Segmenter) -> Callable[[tf.Tensor], Outputs]:
    """Returns the function from grey values, float32 (batch, *size, 1), to probabilities."""

    def run(images: tf.Tensor) -> Outputs:
        probabilities = segmenter.probabilities(images)
        lungs, components = segmenter.lungs_and_components(probabilities)
        return {
            "probabilities": probabilities,
            "lung_probabilities": lungs,
            "components": components,
        }

    return run
