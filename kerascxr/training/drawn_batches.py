"""Batches for a pretraining: drawn X-rays with maps of what is in them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from kerascxr.data.phantom.drawing import SHARES, STRUCTURES, Drawing

CELLS = (4, 8, 16)
"""Sides of the maps' cells, in pixels of the image."""

SEED = 7_000_000
"""Of the drawings. A phantom of another seed has none of them."""

FINDINGS = STRUCTURES[3:]

_VALIDATION = SEED + 1
_CLASSES = tuple(SHARES)
_PRESENT = 0.01  # share of an image's area from which on a finding counts as fully present

Targets = tuple[tf.Tensor, ...]
Drawn = tuple[np.ndarray, np.ndarray]  # what Drawing.draw_with_structures gives


@dataclass(frozen=True)
class Exaggeration:
    """How much clearer than drawn the findings of a training's first batches are.

    Attributes:
        most: The largest factor of the findings' strength in the first batch.
        fading: The number of batches after which findings are as drawn.
    """

    most: float = 1.0
    fading: int = 1

    def at(self, batch: int) -> float:
        """Returns the largest factor in a batch."""
        return 1 + (self.most - 1) * max(0.0, 1 - batch / self.fading)


class DrawnBatches:
    """Draws X-rays without end, and takes crops of them or almost the whole image.

    A training batch has each chest once with each class's findings, in the same crop and grey
    curve: its images differ in their findings alone. A batch is a pure function of its number, so a
    resumed training gets the same ones.

    Args:
        image_size: (height, width) of a whole image, in pixels.
        size: (height, width) of what is taken from it, in pixels; multiples of 32.
        batch_size: Number of drawings in a batch, a multiple of the number of classes.
        crops: Number of batches made from the same drawings.
        seed: Seed of the drawings' choice and of the augmentation.
        exaggeration: Of the findings in training.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        size: tuple[int, int],
        batch_size: int,
        crops: int,
        seed: int,
        exaggeration: Exaggeration = Exaggeration(),
    ):
        self._image_size = image_size
        self._size = size
        self._batch_size = batch_size
        self._crops = crops
        self._seed = seed
        self._exaggeration = exaggeration

    def training(self, first: int) -> tf.data.Dataset:
        """Returns endless batches.

        Args:
            first: The number of the first batch; a multiple of the number of crops.

        Returns:
            Batches of images, float32 (batch, height, width, 3) in 0..255, and targets in 0..1:
            for each cell the maps, float32 (batch, height / cell, width / cell, structures), those
            of the last cell twice, and each finding's presence, float32 (batch, findings).
        """
        begin = first // self._crops
        blocks = tf.data.Dataset.range(begin, np.iinfo(np.int64).max)
        drawn = blocks.map(
            lambda block: (block, *self._draw_chests(block)), 2, deterministic=True
        ).prefetch(2)
        return drawn.flat_map(self._augmented).prefetch(4)

    def validation(self, images: int) -> tuple[np.ndarray, list[np.ndarray]]:
        """Returns drawings that no training has, not augmented, and their targets.

        Args:
            images: Number of drawings.
        """
        parts = []
        for block in range(-(-images // self._batch_size)):
            pixels, planes = self._tensors(self._validation, tf.constant(block, tf.int64))
            boxes = self._boxes(tf.fill((self._batch_size, 3), 0.5))
            grey, *targets = self._cut(pixels, planes, boxes)
            parts.append((tf.repeat(grey, 3, -1), *targets))
        joined = [np.concatenate(items)[:images] for items in zip(*parts, strict=True)]
        return joined[0], joined[1:]

    def _draw_chests(self, block: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return self._tensors(self._chests, block)

    def _chests(self, block: int) -> Iterator[Drawn]:
        """Draws each chest of a block with each class's findings."""
        chests = self._batch_size // len(_CLASSES)
        strength = self._exaggeration.at(block * self._crops)
        random = np.random.default_rng([SEED, self._seed, block])
        for chest in range(block * chests, (block + 1) * chests):
            drawn = [self._drawn(SEED, chest, label) for label in _CLASSES]
            plain = drawn[_CLASSES.index("Normal")][0].astype(np.float32)
            for pixels, planes in drawn:
                stronger = plain + random.uniform(1, strength) * (pixels - plain)
                yield np.rint(np.clip(stronger, 0, 255)).astype(np.uint8), planes

    def _validation(self, block: int) -> Iterator[Drawn]:
        """Draws chests of a block, with the classes' findings in turn."""
        for index in range(block * self._batch_size, (block + 1) * self._batch_size):
            yield self._drawn(_VALIDATION, index, _CLASSES[index % len(_CLASSES)])

    def _drawn(self, seed: int, index: int, label: str) -> Drawn:
        return Drawing(index, seed + 2 * self._seed, label).draw_with_structures()

    def _tensors(
        self, draw: Callable[[int], Iterator[Drawn]], block: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        def stacked(number: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            pixels, planes = (np.stack(items) for items in zip(*draw(int(number)), strict=True))
            return pixels[..., None], planes

        pixels, planes = tf.numpy_function(stacked, [block], (tf.uint8, tf.uint8))
        height, width = Drawing.size
        pixels.set_shape((self._batch_size, height, width, 1))
        planes.set_shape((self._batch_size, height, width, len(STRUCTURES)))
        return pixels, planes

    def _augmented(self, block: tf.Tensor, pixels: tf.Tensor, planes: tf.Tensor) -> tf.data.Dataset:
        def take(crop: tf.Tensor) -> tuple[tf.Tensor, Targets]:
            seed = tf.stack([tf.cast(self._seed, tf.int64), block * self._crops + crop])
            each = len(_CLASSES)  # images of a chest change alike
            draws = tf.random.stateless_uniform((self._batch_size // each, 8), seed)
            draws = tf.repeat(draws, each, axis=0)
            images, *maps, presence = self._cut(pixels, planes, self._boxes(draws[:, :3]))
            mirrored = draws[:, 3] < 0.5
            images, *maps = (
                _where(mirrored, tf.reverse(part, (2,)), part) for part in (images, *maps)
            )
            images = _recolour(images, draws[:, 4:], seed)
            return tf.repeat(images, 3, -1), (*maps, presence)

        return tf.data.Dataset.range(self._crops).map(take)

    def _boxes(self, draws: tf.Tensor) -> tf.Tensor:
        """Returns boxes (batch, 4) as shares of the image, from draws (batch, 3) in 0..1."""
        shares = [part / whole for part, whole in zip(self._size, self._image_size, strict=True)]
        zoom = tf.exp((draws[:, 0] - 0.5) * 0.35)
        sides = [tf.minimum(1.0, share * zoom) for share in shares]
        starts = [(1 - side) * draws[:, 1 + axis] for axis, side in enumerate(sides)]
        ends = [start + side for start, side in zip(starts, sides, strict=True)]
        return tf.stack([*starts, *ends], axis=1)

    def _cut(self, pixels: tf.Tensor, planes: tf.Tensor, boxes: tf.Tensor) -> list[tf.Tensor]:
        """Returns grey images, the maps (those of the last cell twice), and the presence."""
        which = tf.range(self._batch_size)
        grey = tf.image.crop_and_resize(tf.cast(pixels, tf.float32), boxes, which, self._size)
        half = tuple(side // 2 for side in self._size)
        found = tf.image.crop_and_resize(tf.cast(planes, tf.float32), boxes, which, half) / 255
        maps = [tf.nn.avg_pool2d(found, cell // 2, cell // 2, "VALID") for cell in CELLS]
        areas = tf.reduce_mean(maps[-1][..., -len(FINDINGS) :], axis=(1, 2))
        return [grey, *maps, maps[-1], tf.minimum(1.0, areas / _PRESENT)]


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
