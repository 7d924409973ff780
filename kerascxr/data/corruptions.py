"""Corruptions of images, at five severities, to measure the robustness of a model.

The kinds and the five severities follow ImageNet-C. The strengths do not: a chest X-ray is grey
and carefully exposed, so the first severity is mild. Strengths are in grey levels of 255 or in
fractions of the width, so they have the same meaning at any image size. Two depend on the size:
noise is drawn for each pixel, and JPEG works on blocks of 8 pixels.

``CORRUPTIONS`` is the registry; an entry there is tested by ``kerascxr robustness``.

Source:
    Hendrycks and Dietterich, Benchmarking neural network robustness to common corruptions and
    perturbations, ICLR 2019. It has no rotation and no shift; positioning of the patient causes
    both.
"""

import io
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from kerascxr.config import AugmentConfig
from kerascxr.data.arrays import gathered
from kerascxr.names import look_up

SEVERITIES = (1, 2, 3, 4, 5)
_AT_ONCE = 64  # images

Apply = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]
"""Some of the images, uint8 (n, height, width, 1), a strength and a generator to images of the same
shape; the generator goes on with the next ones."""


@dataclass(frozen=True)
class Corruption:
    """A kind of corruption.

    Attributes:
        apply: Corrupts images at a strength.
        unit: The unit of the strengths, for tables.
        strengths: One strength per severity.
        augmentation: The option of ``AugmentConfig`` that makes the same change in training; None
            if there is none.
        moves_pixels: Whether content moves, so that a mask must move with its image.
    """

    apply: Apply
    unit: str
    strengths: tuple[float, float, float, float, float]
    augmentation: str | None = None
    moves_pixels: bool = False


def to_grey(values: np.ndarray) -> np.ndarray:
    """Rounds values to grey levels, uint8 of the same shape; what is beyond 0..255 is clipped."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _noise(images: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Adds Gaussian noise, drawn for each pixel."""
    draws = (rng.standard_normal(image.shape, np.float32) for image in images)
    return np.stack(
        [to_grey(image + strength * draw) for image, draw in zip(images, draws, strict=True)]
    )


def _blur(images: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Blurs by a Gaussian; edge pixels are repeated beyond the edge."""
    deviation = strength * images.shape[2]
    return np.stack(
        [
            to_grey(
                ndimage.gaussian_filter(
                    image.astype(np.float32), (deviation, deviation, 0), mode="nearest"
                )
            )
            for image in images
        ]
    )


def _contrast(images: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Reduces the differences to the image's mean grey level."""
    return np.stack([to_grey(image.mean() + strength * (image - image.mean())) for image in images])


def _brightness(images: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Adds a grey level; values above white are clipped."""
    return np.stack([to_grey(image + float(strength)) for image in images])


def _jpeg(images: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Compresses as a JPEG file and reads it back."""

    def compressed(image: np.ndarray) -> np.ndarray:
        file = io.BytesIO()
        Image.fromarray(image[..., 0]).save(file, "JPEG", quality=int(strength))
        return np.asarray(Image.open(file))[..., None]

    return np.stack([compressed(image) for image in images])


def _rotation(images: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Rotates each image about its centre, clockwise or not; pixels from outside are black."""
    degrees = strength * rng.choice((-1, 1), len(images))
    turned = [  # by cubic splines: linear interpolation would blur as well
        to_grey(ndimage.rotate(image.astype(np.float32), angle, reshape=False, order=3))
        for image, angle in zip(images[..., 0], degrees, strict=True)
    ]
    return np.stack(turned)[..., None]


def _shift(images: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Shifts each image by whole pixels in a random direction; pixels from outside are black."""
    length = strength * images.shape[2]
    angles = rng.uniform(0, 2 * np.pi, len(images))
    steps = np.rint(length * np.stack([np.sin(angles), np.cos(angles)], axis=1))
    moved = [
        ndimage.shift(image, step, order=0)
        for image, step in zip(images[..., 0], steps, strict=True)
    ]
    return np.stack(moved)[..., None]


CORRUPTIONS: dict[str, Corruption] = {
    "noise": Corruption(
        _noise, "standard deviation, in grey levels of 255", (4, 8, 16, 32, 64), "noise"
    ),
    "blur": Corruption(
        _blur,
        "standard deviation, as a fraction of the width",
        (0.005, 0.01, 0.015, 0.02, 0.03),
        "blur",
    ),
    "contrast": Corruption(
        _contrast, "share of the contrast that is left", (0.75, 0.5, 0.35, 0.2, 0.1), "contrast"
    ),
    "brightness": Corruption(
        _brightness, "grey levels of 255 added", (20, 40, 60, 80, 100), "brightness"
    ),
    "jpeg": Corruption(_jpeg, "JPEG quality, of 100", (50, 30, 20, 10, 5), "jpeg"),
    "rotation": Corruption(
        _rotation,
        "degrees, either way",
        (3, 6, 10, 15, 20),
        "rotation_degrees",
        moves_pixels=True,
    ),
    "shift": Corruption(
        _shift,
        "fraction of the width, in any direction",
        (0.02, 0.04, 0.08, 0.12, 0.16),
        "shift",
        moves_pixels=True,
    ),
}


def trained_on(augment: AugmentConfig) -> list[str]:
    """Returns the corruptions that an augmentation makes as well, at whatever strength."""
    return [
        name
        for name, corruption in CORRUPTIONS.items()
        if augment.enabled and corruption.augmentation and getattr(augment, corruption.augmentation)
    ]


def corrupt(
    name: str,
    images: np.ndarray,
    severity: int,
    seed: int,
    masks: np.ndarray | None = None,
    folder: Path | None = None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Corrupts images, some of them at a time; the same arguments give the same result.

    Random draws (noise, directions) are the same at all severities, so severities differ only in
    strength. The first image's draws do not depend on the number of images.

    Args:
        name: A key of ``CORRUPTIONS``.
        images: uint8 (n, height, width, 1), 0..255.
        severity: 1 (mild) to 5.
        seed: Seed of the draws.
        masks: uint8 (n, height, width, 1), 0 or 255, or None.
        folder: Where a file is made for what is too large for memory, see ``new_array``; None for
            memory.

    Returns:
        The images, of the same shape and type, and the masks: moved with their images if
        the corruption moves pixels, else unchanged; 0 or 255.

    Raises:
        ValueError: If the name is unknown, or images or severity are not as above.
    """
    corruption = look_up(CORRUPTIONS, name, "corruption")
    if severity not in SEVERITIES:
        raise ValueError(f"severity must be one of {SEVERITIES}. Got severity={severity}.")
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 1 or not len(images):
        raise ValueError(
            "images must be uint8 of shape (n, height, width, 1), n > 0. "
            f"Got {images.dtype}, shape={images.shape}."
        )
    stream = [seed, zlib.crc32(name.encode())]
    strength = corruption.strengths[severity - 1]

    def applied(values: np.ndarray) -> Iterator[np.ndarray]:
        draws = np.random.default_rng(stream)  # those of the next images follow
        for begin in range(0, len(values), _AT_ONCE):
            yield corruption.apply(values[begin : begin + _AT_ONCE], strength, draws)

    def kept(batches: Iterator[np.ndarray]) -> np.ndarray:
        cache = "memory" if folder is None else "auto"
        return gathered(batches, len(images), cache, folder or Path())

    if masks is not None and corruption.moves_pixels:
        binary = (np.where(moved >= 128, 255, 0).astype(np.uint8) for moved in applied(masks))
        masks = kept(binary)
    return kept(applied(images)), masks
