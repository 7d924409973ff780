"""Altered copies of images: the same chests, made in another way.

They stand in for X-rays of other collections where a model must recognise that an image was made
unlike its training images. Turned ones and ones of little contrast, for which the model is trained,
would hide those of other exposure (docs/design/abstention.md). Strengths are drawn evenly or on a
log scale between a mild and a strong one, in grey levels of 255 or fractions of the width.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf
from scipy import ndimage

from kerascxr.data.corruptions import CORRUPTIONS, to_grey
from kerascxr.data.images import antialiased

Alter = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""An image uint8 (height, width, 1) to one of the same shape."""

_COUNTS = (0.45, 0.35, 0.2)  # shares of images with one, two and three alterations


def altered_copies(pixels: np.ndarray, seed: int) -> np.ndarray:
    """Alters each image in one to three ways, chosen at random.

    Args:
        pixels: uint8 (n, height, width, channels), 0..255; a channel after the first stays.
        seed: Seed of the draws; an image's do not depend on the others.

    Returns:
        uint8 of the same shape.
    """
    copies = pixels.copy()
    ways = list(ALTERATIONS.values())
    for index in range(len(pixels)):
        random = np.random.default_rng([seed, index])
        count = random.choice((1, 2, 3), p=_COUNTS)
        for way in sorted(random.permutation(len(ways))[:count]):
            copies[index, ..., :1] = ways[way](copies[index, ..., :1], random)
    return copies


def _corrupted(name: str, low: float, high: float) -> Alter:
    """Returns one of ``CORRUPTIONS`` at a strength drawn on a log scale."""

    def alter(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
        strength = np.exp(random.uniform(np.log(low), np.log(high)))
        return CORRUPTIONS[name].apply(image[None], strength, random)[0]

    return alter


def _brightness(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return to_grey(image + random.uniform(-70, 70))


def _gamma(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return to_grey(255 * (image / 255.0) ** np.exp(random.uniform(-0.8, 0.8)))


def _sharpening(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Enlarges the difference to a blurred copy."""
    width = random.uniform(0.7, 2.0) * image.shape[1] / 224
    values = image.astype(np.float32)
    smooth = ndimage.gaussian_filter(values, (width, width, 0), mode="nearest")
    return to_grey(values + random.uniform(0.3, 1.5) * (values - smooth))


def _resampling(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Reduces an image to fewer pixels and enlarges it again."""
    height, width = image.shape[:2]
    share = random.uniform(0.35, 0.9)
    small = (max(2, round(share * height)), max(2, round(share * width)))
    reduced = antialiased(image, small)
    return to_grey(tf.image.resize(reduced, (height, width), method="bicubic").numpy())


# In the order in which two of them are applied: that from detector to file.
ALTERATIONS: dict[str, Alter] = {
    "gamma": _gamma,
    "brightness": _brightness,
    "blur": _corrupted("blur", 0.003, 0.017),
    "resampling": _resampling,
    "sharpening": _sharpening,
    "noise": _corrupted("noise", 1.5, 22),
    "jpeg": _corrupted("jpeg", 12, 80),
}
