"""Corruptions of images, at five severities, to measure the robustness of a model.

The kinds and the five severities follow ImageNet-C, the strengths do not: a chest X-ray is grey and
exposed with care, so the first step is a mild one. Strengths are in grey levels of 255, or in
fractions of the width, and so mean the same at any image size. Two hang on the size by their
nature: noise is drawn for each pixel, and JPEG works on blocks of 8 pixels.

Source:
    Hendrycks and Dietterich, Benchmarking neural network robustness to common corruptions and
    perturbations, ICLR 2019. There are no rotation and shift in it; they are what positioning does.
"""

import io
import zlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage

from kerascxr.names import look_up

SEVERITIES = (1, 2, 3, 4, 5)

Corruption = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]


class Strength(NamedTuple):
    """How strong a corruption is.

    Attributes:
        unit: What the values are.
        values: One for each of ``SEVERITIES``.
    """

    unit: str
    values: tuple[float, float, float, float, float]


STRENGTHS = {
    "noise": Strength("standard deviation, in grey levels of 255", (4, 8, 16, 32, 64)),
    "blur": Strength(
        "standard deviation, as a fraction of the width", (0.005, 0.01, 0.015, 0.02, 0.03)
    ),
    "contrast": Strength("share of the contrast that is left", (0.75, 0.5, 0.35, 0.2, 0.1)),
    "brightness": Strength("grey levels of 255 added", (20, 40, 60, 80, 100)),
    "jpeg": Strength("JPEG quality, of 100", (50, 30, 20, 10, 5)),
    "rotation": Strength("degrees, either way", (3, 6, 10, 15, 20)),
    "shift": Strength("fraction of the width, in any direction", (0.02, 0.04, 0.08, 0.12, 0.16)),
}
MOVING = ("rotation", "shift")
"""Corruptions that move what is in the image, and so its mask as well."""


def _to_grey(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _noise(images: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Adds Gaussian noise, another for each pixel."""
    deviation = STRENGTHS["noise"].values[severity - 1]
    draws = (rng.standard_normal(image.shape, np.float32) for image in images)
    return np.stack(
        [_to_grey(image + deviation * draw) for image, draw in zip(images, draws, strict=True)]
    )


def _blur(images: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Blurs by a Gaussian; beyond the edge the image goes on as it ends."""
    deviation = STRENGTHS["blur"].values[severity - 1] * images.shape[2]
    return np.stack(
        [
            _to_grey(
                ndimage.gaussian_filter(
                    image.astype(np.float32), (deviation, deviation, 0), mode="nearest"
                )
            )
            for image in images
        ]
    )


def _contrast(images: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Draws grey values towards the image's mean."""
    left = STRENGTHS["contrast"].values[severity - 1]
    return np.stack([_to_grey(image.mean() + left * (image - image.mean())) for image in images])


def _brightness(images: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Makes everything brighter; what passes white is lost."""
    added = STRENGTHS["brightness"].values[severity - 1]
    return np.stack([_to_grey(image + float(added)) for image in images])


def _jpeg(images: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Compresses as a JPEG file and reads it back."""
    quality = int(STRENGTHS["jpeg"].values[severity - 1])

    def compressed(image: np.ndarray) -> np.ndarray:
        file = io.BytesIO()
        Image.fromarray(image[..., 0]).save(file, "JPEG", quality=quality)
        return np.asarray(Image.open(file))[..., None]

    return np.stack([compressed(image) for image in images])


def _rotation(images: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Turns each image about its middle, one way or the other; what comes in is black."""
    degrees = STRENGTHS["rotation"].values[severity - 1] * rng.choice((-1, 1), len(images))
    turned = [  # by cubic splines: linear interpolation would blur as well
        _to_grey(ndimage.rotate(image.astype(np.float32), angle, reshape=False, order=3))
        for image, angle in zip(images[..., 0], degrees, strict=True)
    ]
    return np.stack(turned)[..., None]


def _shift(images: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Moves each image by whole pixels in a direction of its own; what comes in is black."""
    length = STRENGTHS["shift"].values[severity - 1] * images.shape[2]
    angles = rng.uniform(0, 2 * np.pi, len(images))
    steps = np.rint(length * np.stack([np.sin(angles), np.cos(angles)], axis=1))
    moved = [
        ndimage.shift(image, step, order=0)
        for image, step in zip(images[..., 0], steps, strict=True)
    ]
    return np.stack(moved)[..., None]


CORRUPTIONS: dict[str, Corruption] = {
    "noise": _noise,
    "blur": _blur,
    "contrast": _contrast,
    "brightness": _brightness,
    "jpeg": _jpeg,
    "rotation": _rotation,
    "shift": _shift,
}


def corrupt(
    name: str, images: np.ndarray, severity: int, seed: int, masks: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Corrupts images; the same arguments give the same result.

    What is drawn at random (noise, directions) is the same at all severities, so that they differ
    in strength alone, and the first image's draws do not hang on how many follow.

    Args:
        name: A key of ``CORRUPTIONS``.
        images: uint8 (n, height, width, 1), 0..255.
        severity: 1 (mild) to 5.
        seed: Seed of the draws.
        masks: uint8 (n, height, width, 1), 0 or 255, or None.

    Returns:
        The images, of the same shape and type, and the masks: moved with their images by
        ``MOVING``, else as they were; 0 or 255 still.

    Raises:
        ValueError: If the name is unknown, or images or severity are not as above.
    """
    change = look_up(CORRUPTIONS, name, "corruption")
    if severity not in SEVERITIES:
        raise ValueError(f"severity must be one of {SEVERITIES}. Got severity={severity}.")
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 1 or not len(images):
        raise ValueError(
            "images must be uint8 of shape (n, height, width, 1), n > 0. "
            f"Got {images.dtype}, shape={images.shape}."
        )
    stream = [seed, zlib.crc32(name.encode())]
    if masks is not None and name in MOVING:
        moved = change(masks, severity, np.random.default_rng(stream))
        masks = np.where(moved >= 128, 255, 0).astype(np.uint8)
    return change(images, severity, np.random.default_rng(stream)), masks
