"""Batches for a pretraining: drawn X-rays with maps of what is in them."""

import numpy as np
import tensorflow as tf

from kerascxr.data.phantom.drawing import SHARES, STRUCTURES, Drawing

CELL = 16
"""Side of a map's cell, in pixels of the image."""

SEED = 7_000_000
"""Of the drawings. A phantom of another seed has none of them."""

FINDINGS = STRUCTURES[3:]

_VALIDATION = SEED + 1
_CLASSES = tuple(SHARES)
_PRESENT = 0.01  # share of an image's area from which on a finding counts as fully present

Targets = tuple[tf.Tensor, tf.Tensor, tf.Tensor]


class DrawnBatches:
    """Draws X-rays without end, and takes crops of them or almost the whole image.

    A batch is a pure function of its number, so a resumed training gets the same ones.

    Args:
        image_size: (height, width) of a whole image, in pixels.
        size: (height, width) of what is taken from it, in pixels; multiples of 32.
        batch_size: Number of drawings in a batch.
        crops: Number of batches made from the same drawings.
        seed: Seed of the drawings' choice and of the augmentation.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        size: tuple[int, int],
        batch_size: int,
        crops: int,
        seed: int,
    ):
        self._image_size = image_size
        self._size = size
        self._batch_size = batch_size
        self._crops = crops
        self._seed = seed

    def training(self, first: int) -> tf.data.Dataset:
        """Returns endless batches.

        Args:
            first: The number of the first batch; a multiple of the number of crops.

        Returns:
            Batches of images, float32 (batch, height, width, 3) in 0..255, and targets in 0..1:
            twice the maps, float32 (batch, height / 16, width / 16, structures), and each finding's
            presence, float32 (batch, findings).
        """
        begin = first // self._crops
        blocks = tf.data.Dataset.range(begin, np.iinfo(np.int64).max)
        drawn = blocks.map(
            lambda block: (block, *self._draw(SEED, block)), 2, deterministic=True
        ).prefetch(2)
        return drawn.flat_map(self._augmented).prefetch(4)

    def validation(self, images: int) -> tuple[np.ndarray, list[np.ndarray]]:
        """Returns drawings that no training has, not augmented, and their targets.

        Args:
            images: Number of drawings.
        """
        parts = []
        for block in range(-(-images // self._batch_size)):
            pixels, planes = self._draw(_VALIDATION, tf.constant(block, tf.int64))
            boxes = self._boxes(tf.fill((self._batch_size, 3), 0.5))
            grey, *targets = self._cut(pixels, planes, boxes)
            parts.append((tf.repeat(grey, 3, -1), *targets))
        joined = [np.concatenate(items)[:images] for items in zip(*parts, strict=True)]
        return joined[0], joined[1:]

    def _draw(self, seed: int, block: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        def draw(number: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            first = int(number) * self._batch_size
            pairs = [
                Drawing(
                    index, seed + 2 * self._seed, _CLASSES[index % len(_CLASSES)]
                ).draw_with_structures()
                for index in range(first, first + self._batch_size)
            ]
            pixels, planes = (np.stack(items) for items in zip(*pairs, strict=True))
            return pixels[..., None], planes

        pixels, planes = tf.numpy_function(draw, [block], (tf.uint8, tf.uint8))
        height, width = Drawing.size
        pixels.set_shape((self._batch_size, height, width, 1))
        planes.set_shape((self._batch_size, height, width, len(STRUCTURES)))
        return pixels, planes

    def _augmented(self, block: tf.Tensor, pixels: tf.Tensor, planes: tf.Tensor) -> tf.data.Dataset:
        def take(crop: tf.Tensor) -> tuple[tf.Tensor, Targets]:
            seed = tf.stack([tf.cast(self._seed, tf.int64), block * self._crops + crop])
            draws = tf.random.stateless_uniform((self._batch_size, 8), seed)
            images, *targets = self._cut(pixels, planes, self._boxes(draws[:, :3]))
            mirrored = draws[:, 3] < 0.5
            images = _where(mirrored, tf.reverse(images, (2,)), images)
            maps = _where(mirrored, tf.reverse(targets[0], (2,)), targets[0])
            images = _recolour(images, draws[:, 4:], seed)
            return tf.repeat(images, 3, -1), (maps, maps, targets[2])

        return tf.data.Dataset.range(self._crops).map(take)

    def _boxes(self, draws: tf.Tensor) -> tf.Tensor:
        """Returns boxes (batch, 4) as shares of the image, from draws (batch, 3) in 0..1."""
        shares = [part / whole for part, whole in zip(self._size, self._image_size, strict=True)]
        zoom = tf.exp((draws[:, 0] - 0.5) * 0.35)
        sides = [tf.minimum(1.0, share * zoom) for share in shares]
        starts = [(1 - side) * draws[:, 1 + axis] for axis, side in enumerate(sides)]
        ends = [start + side for start, side in zip(starts, sides, strict=True)]
        return tf.stack([*starts, *ends], axis=1)

    def _cut(
        self, pixels: tf.Tensor, planes: tf.Tensor, boxes: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        which = tf.range(self._batch_size)
        grey = tf.image.crop_and_resize(tf.cast(pixels, tf.float32), boxes, which, self._size)
        half = tuple(side // 2 for side in self._size)
        found = tf.image.crop_and_resize(tf.cast(planes, tf.float32), boxes, which, half) / 255
        maps = tf.nn.avg_pool2d(found, CELL // 2, CELL // 2, "VALID")
        areas = tf.reduce_mean(maps[..., -len(FINDINGS) :], axis=(1, 2))
        return grey, maps, maps, tf.minimum(1.0, areas / _PRESENT)


def _where(chosen: tf.Tensor, one: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    return tf.where(chosen[:, None, None, None], one, other)


def _recolour(images: tf.Tensor, draws: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Changes grey curve, contrast, brightness and noise; ``draws`` (batch, 4) are in 0..1."""
    columns = (2 * draws - 1)[:, :, None, None, None]
    images = tf.pow(images / 255, tf.pow(1.6, columns[:, 0]))
    mean = tf.reduce_mean(images, axis=(1, 2, 3), keepdims=True)
    images = mean + (images - mean) * (1 + 0.3 * columns[:, 1]) + 0.12 * columns[:, 2]
    noise = tf.random.stateless_normal(tf.shape(images), seed + 1)
    images += tf.maximum(columns[:, 3], 0) * 0.04 * noise
    return tf.clip_by_value(images * 255, 0, 255)
