"""Candidate pairs of near-duplicates: which images could be altered copies of each other.

An image and its derivatives by shift and stretch span a plane that approximates its slightly
cropped versions. The share of another image that lies in this plane selects the candidates. Up to
``EXACT_UP_TO`` images, each is compared with all others, whose time grows with the square of their
number. Beyond it, an index proposes the images that are near to an image or to a version of it.

Source:
    Simard, LeCun and Denker, NeurIPS 1992: tangent distance. Douze et al., The Faiss library,
    arXiv:2401.08281: inverted lists.
"""

import importlib.util
import logging
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from kerascxr.data.ingest.registration import pixel_grid
from kerascxr.data.ingest.thumbnails import reduced, unit_rows
from kerascxr.evaluation.leaks import EXACT, INDEX
from kerascxr.progress import ProgressBar

logger = logging.getLogger(__name__)

EXACT_UP_TO = 50_000
_SIDE = 16
_MOST_CANDIDATES = 20
_LEAST_EXPLAINED = 0.72
# A set whose images are all this near to their mean, of norm 1, holds versions of one image.
# Distinct X-rays are 0.4 away.
_ONE_IMAGE = 0.1
_BLOCK = 512
_VERSION = 0.5  # pixels of 16 by which the versions' edges are moved: 3 % of a side
_NEIGHBOURS = 20  # of each version
_TRAINING_IMAGES = 40  # a list
_LISTS_VISITED = 32

Propose = Callable[[np.ndarray, np.ndarray, int], tuple[np.ndarray, np.ndarray]]
"""Takes images as unit rows, float32 (b, 256), the mean image and the index of the first of them.
Returns indices of other images, int (b, m), and the shares of these that lie in the images' planes,
float32 (b, m); 0 where an index does not count."""


def candidates(thumbnails: np.ndarray, every: int = 1) -> np.ndarray:
    """Finds for each image up to 20 others that it could be an altered copy of.

    Args:
        thumbnails: uint8 (n, 64, 64).
        every: Only of one block in so many the candidates are found, to measure large sets.

    Returns:
        int64 (m, 2): each pair of indices once, the smaller first.
    """
    n = len(thumbnails)
    if n < 2:
        return np.empty((0, 2), np.int64)
    coarse = unit_rows(reduced(thumbnails, _SIDE).reshape(n, -1))
    common = coarse.mean(axis=0)  # the mean chest
    if np.linalg.norm(coarse - common, axis=1).max() < _ONE_IMAGE:
        common = np.zeros_like(common)  # without it, nothing would be left to compare
    targets = unit_rows(coarse - common)
    indexed = search_of(n)["search"] == INDEX
    if not indexed and n > EXACT_UP_TO:
        logger.warning(
            f"Near-duplicates among {n:,} images are looked for without an index, whose time grows "
            "with the square of their number. For an index: pip install faiss-cpu."
        )
    propose = _by_index(targets) if indexed else _all(targets)
    most = min(_MOST_CANDIDATES, n - 1)
    pairs = []
    with ProgressBar(
        total=n, desc="Selecting candidate pairs", unit="image", delay=2, leave=False
    ) as bar:
        for begin in range(0, n, every * _BLOCK):
            block = coarse[begin : begin + _BLOCK]
            near, explained = propose(block, common, begin)
            best = np.argpartition(explained, -most, axis=1)[:, -most:]
            row, place = np.nonzero(np.take_along_axis(explained, best, axis=1) > _LEAST_EXPLAINED)
            pairs.append(np.stack([row + begin, near[row, best[row, place]]], axis=1))
            bar.update(len(block))
    return np.unique(np.sort(np.concatenate(pairs), axis=1), axis=0)


def search_of(n: int) -> dict[str, Any]:
    """Returns how the candidates of n images, no two of them equal, are found in this process.

    Returns:
        JSON-ready: ``search``, EXACT or INDEX; ``images``, n; and of an index ``faiss``, its
        version, since another one may propose others.
    """
    if n <= EXACT_UP_TO or importlib.util.find_spec("faiss") is None:
        return {"search": EXACT, "images": n}
    import faiss

    return {"search": INDEX, "images": n, "faiss": faiss.__version__}


def _all(targets: np.ndarray) -> Propose:
    """Proposes all images."""
    columns = targets.T.copy()

    def propose(block: np.ndarray, common: np.ndarray, begin: int) -> tuple[np.ndarray, np.ndarray]:
        planes = tangent_planes(block, common)
        explained = np.zeros((len(block), len(targets)), np.float32)
        for direction in range(planes.shape[1]):
            part = planes[:, direction] @ columns
            explained += np.square(part, out=part)
        rows = np.arange(len(block))
        explained[rows, begin + rows] = 0
        return np.broadcast_to(np.arange(len(targets)), explained.shape), explained

    return propose


def _by_index(targets: np.ndarray) -> Propose:
    """Proposes the nearest images of each image and of its versions."""
    import faiss

    n, size = targets.shape
    lists = math.ceil(2 * math.sqrt(n))
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(size), size, lists, faiss.METRIC_INNER_PRODUCT)
    index.cp.max_points_per_centroid = _TRAINING_IMAGES
    index.train(targets[:: max(1, n // (lists * _TRAINING_IMAGES))])
    index.add(targets)
    index.nprobe = _LISTS_VISITED

    def propose(block: np.ndarray, common: np.ndarray, begin: int) -> tuple[np.ndarray, np.ndarray]:
        near = index.search(versions(block, common).reshape(-1, size), _NEIGHBOURS)[1]
        near = np.sort(near.reshape(len(block), -1), axis=1)
        again = np.zeros(near.shape, bool)
        again[:, 1:] = near[:, 1:] == near[:, :-1]
        again |= (near < 0) | (near == begin + np.arange(len(block))[:, None])
        parts = tangent_planes(block, common) @ targets[near].transpose(0, 2, 1)
        return near, np.where(again, 0, np.square(parts).sum(axis=1))

    return propose


def versions(rows: np.ndarray, common: np.ndarray) -> np.ndarray:
    """Returns images without the mean image, and each shifted and stretched both ways.

    Args:
        rows: float32 (n, 256), images of 16x16 pixels.
        common: float32 (256,), the mean image.

    Returns:
        float32 (n, 9, 256), of mean 0 and norm 1.
    """
    own, *slopes = _image_and_slopes(rows, common)
    moved = [own] + [own + sign * _VERSION * slope for slope in slopes for sign in (-1, 1)]
    return unit_rows(np.stack(moved, axis=1).reshape(-1, rows.shape[1])).reshape(
        len(rows), len(moved), -1
    )


def tangent_planes(rows: np.ndarray, common: np.ndarray) -> np.ndarray:
    """Returns bases of the planes that images and their four derivatives span.

    Args:
        rows: float32 (n, 256), images of 16x16 pixels.
        common: float32 (256,), the mean image.

    Returns:
        float32 (n, 5, 256), orthonormal.
    """
    vectors = np.stack(_image_and_slopes(rows, common), axis=1)
    vectors -= vectors.mean(axis=2, keepdims=True)
    orthonormal = np.linalg.qr(vectors.transpose(0, 2, 1))[0]
    return np.ascontiguousarray(orthonormal.transpose(0, 2, 1), np.float32)


def _image_and_slopes(rows: np.ndarray, common: np.ndarray) -> list[np.ndarray]:
    """Returns images without the mean, and their derivatives by shift and stretch: (n, 256)."""
    images = rows.reshape(-1, _SIDE, _SIDE)
    grid = pixel_grid(_SIDE)
    down, across = np.gradient(images, axis=(1, 2))
    own = images - common.reshape(_SIDE, _SIDE)
    parts = [own, down, across, down * grid[:, None], across * grid]
    return [part.reshape(len(rows), -1).astype(np.float32, copy=False) for part in parts]
