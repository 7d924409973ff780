"""Changed copies of distinct images, and how many of them the duplicate search finds."""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image

from kerascxr.data.ingest.duplicates import Pair


def _resized(pixels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    size = [max(32, round(side * random.uniform(0.5, 1.5))) for side in pixels.shape[::-1]]
    image = Image.fromarray(pixels).resize((size[0], size[1]), Image.Resampling.BICUBIC)
    return np.asarray(image)


def _reencoded(pixels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=int(random.integers(40, 91)))
    return np.asarray(Image.open(buffer))


def _brightened(pixels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    gain, offset = random.uniform(0.75, 1.25), random.uniform(-30, 30)
    return np.clip(pixels * gain + offset, 0, 255).astype(np.uint8)


def _cropped(pixels: np.ndarray, random: np.random.Generator, most: float = 0.04) -> np.ndarray:
    height, width = pixels.shape
    top, bottom, left, right = random.uniform(0, most, 4)
    rows = slice(round(top * height), round((1 - bottom) * height))
    return pixels[rows, round(left * width) : round((1 - right) * width)]


def _everything(pixels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    for change in (_cropped, _resized, _brightened, _reencoded):
        pixels = change(pixels, random)
    return pixels


KINDS: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "exact": lambda pixels, random: pixels.copy(),
    "resized, each side 0.5 to 1.5": _resized,
    "JPEG, quality 40 to 90": _reencoded,
    "contrast ±25 %, brightness ±30": _brightened,
    "cropped, 0 to 4 % of each side": _cropped,
    "cropped, 0 to 6 % of each side": lambda pixels, random: _cropped(pixels, random, 0.06),
    "cropped to 4 %, resized, brightened, JPEG": _everything,
}


def plant(
    images: list[np.ndarray], copies: int, seed: int = 0
) -> tuple[list[np.ndarray], list[tuple[int, str]]]:
    """Makes changed copies of distinct images.

    Args:
        images: uint8 (height, width) each.
        copies: How many of each kind.
        seed: What to draw from.

    Returns:
        The copies, and of each the index of its original and its kind.
    """
    random = np.random.default_rng(seed)
    planted, told = [], []
    for kind, change in KINDS.items():
        for index in random.choice(len(images), copies, replace=False).tolist():
            planted.append(change(images[index], random))
            told.append((index, kind))
    return planted, told


def score(found: list[Pair], told: list[tuple[int, str]], n: int) -> list[list[object]]:
    """Counts by kind: pairs of a copy and an image, right and wrong, and copies found."""
    rows: list[list[object]] = []
    for kind in KINDS:
        own = {n + place: index for place, (index, of) in enumerate(told) if of == kind}
        with_originals = [pair for pair in found if pair.first < n and pair.second in own]
        right = sum(own[pair.second] == pair.first for pair in with_originals)
        precision = right / len(with_originals) if with_originals else None
        rows.append([kind, len(own), right / len(own), precision])
    return rows
