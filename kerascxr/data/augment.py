"""Augmentation of images, and of image and mask together."""

import math
from collections.abc import Callable, Sequence
from functools import partial

import keras_cv
import tensorflow as tf

from kerascxr.config import AugmentConfig
from kerascxr.data.images import antialiased

# The seed is never drawn from: it keeps the layers off the global generator, which determinism
# forbids. The type keeps images from half precision, whatever the model's policy.
_LAYER = {"seed": 1, "dtype": "float32"}
_GRID = 5  # values a side of the smooth field
_SHARPENED_AT = 1.5  # pixels: standard deviation of the unsharp mask's blur
_BEST_JPEG = 95
_BLACK = {"fill_mode": "constant", "fill_value": 0.0, **_LAYER}


class Augment:
    """Changes a batch of images, and of masks with them, as a pure function of a seed.

    keras-cv's layers make the changes; their strengths are drawn here, from a seed instead of a
    generator with a state, so that a resumed run gets an uninterrupted run's images. Masks
    travel as a second channel of their image through every geometric change, so the two cannot fall
    out of step.

    Args:
        config: The strengths.
    """

    def __init__(self, config: AugmentConfig):
        layers = keras_cv.layers
        self._config = config
        self._rotation = layers.RandomRotation(config.rotation_degrees / 360.0, **_BLACK)
        self._translation = layers.RandomTranslation(config.shift, config.shift, **_BLACK)
        self._zoom = layers.RandomZoom(config.zoom, **_BLACK)
        self._brightness = layers.RandomBrightness(
            config.brightness, value_range=(0, 255), **_LAYER
        )
        self._contrast = layers.RandomContrast((0, 255), config.contrast, **_LAYER)

    def __call__(
        self,
        images: tf.Tensor,
        seed: tf.Tensor,
        masks: tf.Tensor | None = None,
        rows: tuple[tf.Tensor, tf.Tensor] | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Changes each image of a batch by its own draw.

        Args:
            images: (batch, height, width, 1 or 2), 0..255, any number type; a second channel is a
                mask, and stays one.
            seed: int (2,); the same seed and batch give the same result.
            masks: (batch, height, width, 1), 0 or 255, or None.
            rows: Where the images are a part of a batch: the place of the first, and the size of
                the whole batch, integers. They change as they do in the whole batch.

        Returns:
            The images, float32 0..255, and the masks, float32 0 or 255 (None without masks).
        """
        config = self._config
        images = tf.cast(images, tf.float32)
        if images.shape[-1] == 2:
            grey, inside = self(images[..., :1], seed, images[..., 1:], rows)
            return tf.concat([grey, inside], axis=-1), None
        if not config.enabled:
            return images, None if masks is None else tf.cast(masks, tf.float32)
        draw = _Draw(seed, tf.shape(images)[0], rows)
        # One column a change, each from -1 to 1.
        draws = draw.uniform((10,), 0, -1.0)
        # From a seed of their own: the draws above stay what they are as changes are added.
        more = draw.uniform((3,), 2**21, -1.0)
        most = draw.uniform((3,), 2**23, -1.0)
        draws = tf.concat([draws, more, most], axis=1)
        if config.probability < 1:
            decided = draw.uniform((draws.shape[1],), 2**24, 0.0)
            # A draw of 0 is no change, and the two directions of a shift are one change.
            made = tf.concat([decided[:, :2], decided[:, 1:2], decided[:, 3:]], axis=1)
            draws = tf.where(made < config.probability, draws, 0.0)
        planes = images
        if masks is not None:
            planes = tf.concat([images, tf.cast(masks, tf.float32)], axis=-1)
        planes = self._move(planes, draws)
        images = planes[..., :1]
        if masks is not None:
            masks = tf.where(planes[..., 1:] >= 127.5, 255.0, 0.0)
        return self._recolour(images, draws, draw), masks

    def _move(self, planes: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
        config = self._config
        if config.rotation_degrees:
            angles = draws[:, 0] * math.radians(config.rotation_degrees)
            planes = self._rotation.augment_images(planes, {"angles": angles})
        if config.shift:
            shifts = draws[:, 1:3] * config.shift
            planes = self._translation.augment_images(
                planes,
                {"height_translations": shifts[:, :1], "width_translations": shifts[:, 1:]},
            )
        if config.zoom:
            zooms = 1.0 + draws[:, 3:4] * config.zoom
            planes = self._zoom.augment_images(
                planes, {"height_zooms": zooms, "width_zooms": zooms}
            )
        if config.stretch:
            ratios = tf.pow(1.0 + config.stretch, draws[:, 10:11] / 2.0)
            planes = self._zoom.augment_images(
                planes, {"height_zooms": ratios, "width_zooms": 1.0 / ratios}
            )
        if config.flip:
            mirrored = (draws[:, 4] > 0)[:, None, None, None]
            planes = tf.where(mirrored, tf.reverse(planes, axis=[2]), planes)
        return planes

    def _recolour(self, images: tf.Tensor, draws: tf.Tensor, draw: "_Draw") -> tf.Tensor:
        config = self._config
        columns = draws[:, :, None, None, None]
        if config.bias_field:
            deviations = tf.abs(columns[:, 11]) * config.bias_field * 255.0
            grid = draw.normal((_GRID, _GRID, 1), 2**22)
            images = images + deviations * tf.image.resize(grid, images.shape[1:3], "bicubic")
        if config.blur:
            # Blur is made to every other image at most: the rest must stay as sharp as it is.
            gated = config.probability <= 0.5
            strengths = tf.abs(draws[:, 12]) if gated else tf.maximum(draws[:, 12], 0.0)
            blurred = partial(_blur, reach=math.ceil(3 * config.blur))
            images = _where_drawn(images, strengths * config.blur, blurred)
        if config.resolution:
            images = _where_drawn(images, draws[:, 15] * config.resolution, _reduced)
        if config.gamma:
            exponents = tf.pow(1.0 + config.gamma, columns[:, 5])
            images = 255.0 * tf.pow(tf.clip_by_value(images, 0.0, 255.0) / 255.0, exponents)
        if config.contrast:
            images = self._contrast.augment_images(images, 1.0 + columns[:, 6] * config.contrast)
        if config.brightness:
            images = self._brightness.augment_images(
                images, columns[:, 7] * config.brightness * 255.0
            )
        if config.sharpen:
            images = _where_drawn(images, draws[:, 13] * config.sharpen, _sharpened)
        if config.noise:
            deviations = tf.abs(columns[:, 8]) * config.noise * 255.0
            images = images + deviations * draw.normal(images.shape[1:], 2**20)
        images = tf.clip_by_value(images, 0.0, 255.0)
        if config.jpeg:
            compressed = partial(_compressed, lowest=config.jpeg)
            images = _where_drawn(images, draws[:, 14], compressed)
        return images


class _Draw:
    """Draws a value for each image, or several, from a batch's seed: for a part of it, its part."""

    def __init__(self, seed: tf.Tensor, count: tf.Tensor, rows: tuple[tf.Tensor, tf.Tensor] | None):
        self._seed = seed
        self._count = count
        self._rows = rows

    def uniform(self, shape: Sequence[int], offset: int, least: float) -> tf.Tensor:
        """Returns values from ``least`` to 1, float32 (batch, *shape); offsets have their own."""
        return self._drawn(tf.random.stateless_uniform, shape, offset, least, 1.0)

    def normal(self, shape: Sequence[int], offset: int) -> tf.Tensor:
        """Returns standard normal values, float32 (batch, *shape)."""
        return self._drawn(tf.random.stateless_normal, shape, offset)

    def _drawn(
        self, draw: Callable[..., tf.Tensor], shape: Sequence[int], offset: int, *limits: float
    ) -> tf.Tensor:
        seed = self._seed + tf.constant([0, offset], self._seed.dtype)
        if self._rows is None:
            return draw((self._count, *shape), seed, *limits)
        begin, whole = (tf.cast(value, tf.int32) for value in self._rows)
        return draw((whole, *shape), seed, *limits)[begin : begin + self._count]


def _blur(images: tf.Tensor, deviations: tf.Tensor, reach: int) -> tf.Tensor:
    """Blurs each image by a Gaussian of its own standard deviation, in pixels; 0 keeps it."""
    offsets = tf.range(-reach, reach + 1, dtype=tf.float32)
    widths = tf.maximum(deviations, 1e-3)[:, None]
    weights = tf.exp(-0.5 * tf.square(offsets / widths))
    weights = (weights / tf.reduce_sum(weights, axis=1, keepdims=True))[:, :, None, None, None]
    height, width = images.shape[1:3]
    padding = [[0, 0], [reach, reach], [reach, reach], [0, 0]]
    images = tf.pad(images, padding, mode="SYMMETRIC")
    taps = range(2 * reach + 1)
    images = tf.add_n([weights[:, tap] * images[:, tap : tap + height] for tap in taps])
    return tf.add_n([weights[:, tap] * images[:, :, tap : tap + width] for tap in taps])


def _where_drawn(
    images: tf.Tensor, draws: tf.Tensor, change: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
) -> tf.Tensor:
    """Changes each image by its own draw's size; those with a draw of 0 cost nothing."""
    places = tf.where(tf.not_equal(draws, 0.0))
    sizes = tf.abs(tf.gather_nd(draws, places))
    changed = change(tf.gather_nd(images, places), sizes)
    return tf.tensor_scatter_nd_update(images, places, changed)


def _each(
    images: tf.Tensor, sizes: tf.Tensor, change: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
) -> tf.Tensor:
    specification = tf.TensorSpec(images.shape[1:], tf.float32)
    return tf.map_fn(lambda item: change(*item), (images, sizes), fn_output_signature=specification)


def _sharpened(images: tf.Tensor, strengths: tf.Tensor) -> tf.Tensor:
    """Enlarges each image's difference to a blurred copy."""
    blurred = _blur(images, tf.fill(tf.shape(strengths), _SHARPENED_AT), reach=4)
    return images + strengths[:, None, None, None] * (images - blurred)


def _reduced(images: tf.Tensor, losses: tf.Tensor) -> tf.Tensor:
    """Reduces each image by a share of its size, and enlarges it again."""
    height, width = images.shape[1:3]

    def one(image: tf.Tensor, loss: tf.Tensor) -> tf.Tensor:
        whole = tf.constant((height, width), tf.float32)
        size = tf.cast(tf.round(whole * (1.0 - loss)), tf.int32)
        small = antialiased(image, size)
        return tf.image.resize(small, (height, width), "bicubic")

    return _each(images, losses, one)


def _compressed(images: tf.Tensor, strengths: tf.Tensor, lowest: int) -> tf.Tensor:
    """Compresses each image as a JPEG file, and reads it back.

    Strengths from 0 to 1 are qualities from the best to the lowest. Those between 20 and 40 are as
    likely as those between 40 and 80.
    """

    def one(image: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
        quality = _BEST_JPEG * tf.pow(lowest / _BEST_JPEG, strength)
        # TensorFlow's default, the fast transform, would darken the image by some grey levels.
        kept = tf.image.adjust_jpeg_quality(
            tf.cast(tf.round(image), tf.uint8),
            tf.cast(tf.round(quality), tf.int32),
            dct_method="INTEGER_ACCURATE",
        )
        return tf.cast(kept, tf.float32)

    return _each(images, strengths, one)
