"""Folders of many X-rays, made of those of a source."""

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from kerascxr.audits.leakage import read_pixels
from kerascxr.data.ingest.thumbnails import thumbnail
from kerascxr.data.sources.open import open_source
from tests.support.made_images import made_of
from tests.support.planted_copies import KINDS

_COPIES = 50


def make_set(source: str, images: int, folder: Path) -> np.ndarray:
    """Fills a folder with made images, a sub-folder a class.

    Returns:
        Their thumbnails, uint8 (images, 64, 64).
    """
    examples = open_source(source, phantom_images=600, phantom_seed=0).examples
    with ThreadPoolExecutor() as pool:
        pixels = list(pool.map(read_pixels, examples))
    labels = np.array([example.label or "none" for example in examples])
    for name in set(labels):
        (folder / name).mkdir(parents=True)
    changes = list(KINDS.values())[1:]

    def make(number: int) -> np.ndarray:
        is_copy = number % _COPIES == 1
        random = np.random.default_rng(number - 1 if is_copy else number)
        first = int(random.integers(len(pixels)))
        second = int(random.choice(np.flatnonzero(labels == labels[first])))
        image = made_of(pixels[first], pixels[second], random)
        if is_copy:
            image = changes[number // _COPIES % len(changes)](image, random)
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "PNG")
        (folder / labels[first] / f"{number:05d}.png").write_bytes(buffer.getvalue())
        return thumbnail(image)

    with ThreadPoolExecutor() as pool:
        made = tqdm(pool.map(make, range(images)), total=images, desc="Making images")
        return np.stack(list(made))
