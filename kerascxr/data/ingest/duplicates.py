"""Near-duplicates: resized, re-encoded, brighter or slightly cropped copies of one image.

Thumbnails of two patients' X-rays are similar, and a crop of 3 % reduces the similarity of a copy
by more than their difference. So similarity of thumbnails only selects candidates. Each candidate
pair is then registered (shift and stretch), and the correlation of fine structure decides.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
from PIL import Image
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from kerascxr.data.ingest.registration import pixel_grid, register
from kerascxr.progress import ProgressBar

SIDE = 64
SAME = 0.93
_COARSE, _MIDDLE = 16, 32
_MOST_COPIES = 100  # beyond it the pairs among them would be millions
_MOST_CANDIDATES = 20
_LEAST_EXPLAINED = 0.72
# A set whose images are all this near to their mean, of norm 1, holds versions of one image.
# Distinct X-rays are 0.4 away.
_ONE_IMAGE = 0.1
_MARGIN = 3  # pixels at the edge whose fine structure the edge itself disturbs
_FINE, _SMOOTH = 0.7, 3.5  # pixels: fine structure is the difference of these two blurs
_BLOCK = 512
_PAIRS_AT_ONCE = 256
_THREADS = 2


@dataclass(frozen=True)
class Pair:
    """Two near-duplicates.

    Attributes:
        first: Index of one image.
        second: Index of the other, above ``first``.
        similarity: Correlation of their fine structure after registration; 1 where exact.
        exact: Whether their pixels are identical.
    """

    first: int
    second: int
    similarity: float
    exact: bool


def thumbnail(pixels: np.ndarray) -> np.ndarray:
    """Returns the box-averaged 64x64 version of a uint8 (height, width) image, as uint8."""
    return np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BOX))


def find_duplicates(thumbnails: np.ndarray, digests: Sequence[str]) -> list[Pair]:
    """Finds all pairs of near-duplicates.

    Args:
        thumbnails: uint8 (n, 64, 64), see ``thumbnail``.
        digests: Digests of the pixels, see ``records.digest``.

    Returns:
        The pairs, each once, by their indices; of more than 100 exact copies each with the first
        alone.
    """
    copies: dict[str, list[int]] = defaultdict(list)
    for index, digest in enumerate(digests):
        copies[digest].append(index)
    members = list(copies.values())
    pairs = [Pair(i, j, 1.0, True) for group in members for i, j in _exact_pairs(group)]
    one_each = thumbnails[[group[0] for group in members]]
    found = candidates(one_each)
    for (one, other), similarity in zip(found, similarities(one_each, found), strict=True):
        if similarity > SAME:
            pairs += [
                Pair(min(i, j), max(i, j), float(similarity), False)
                for i, j in product(members[one][:_MOST_COPIES], members[other][:_MOST_COPIES])
            ]
    return sorted(pairs, key=lambda pair: (pair.first, pair.second))


def copies_of(thumbnails: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Finds the images of one set that are near-duplicates of images of another.

    Args:
        thumbnails: uint8 (n, 64, 64), see ``thumbnail``.
        others: uint8 (m, 64, 64), those of the other set.

    Returns:
        bool (n,).
    """
    n = len(thumbnails)
    both = np.concatenate([thumbnails, others])
    found = candidates(both)
    across = found[(found[:, 0] < n) & (found[:, 1] >= n)]
    result = np.zeros(n, bool)
    result[across[similarities(both, across) > SAME, 0]] = True
    return result


def _exact_pairs(copies: Sequence[int]) -> Iterable[tuple[int, int]]:
    if len(copies) <= _MOST_COPIES:
        return combinations(copies, 2)
    return ((copies[0], other) for other in copies[1:])


def duplicate_clusters(pairs: Sequence[Pair], n: int) -> np.ndarray:
    """Numbers clusters of near-duplicates: A and B, B and C make one cluster of three.

    Args:
        pairs: Of indices below ``n``.
        n: How many images there are.

    Returns:
        int32 (n,).
    """
    ends = np.array([(pair.first, pair.second) for pair in pairs], np.int64).reshape(-1, 2)
    graph = coo_matrix((np.ones(len(ends)), ends.T), (n, n))
    return connected_components(graph, directed=False)[1]


def candidates(thumbnails: np.ndarray) -> np.ndarray:
    """Finds for each image up to 20 others that it could be an altered copy of.

    An image and its derivatives by shift and stretch span a plane that approximates its slightly
    cropped versions. The share of another image that lies in this plane selects the candidates.

    Args:
        thumbnails: uint8 (n, 64, 64).

    Returns:
        int64 (m, 2): each pair of indices once, the smaller first.

    Source:
        Simard, LeCun and Denker, NeurIPS 1992: tangent distance.
    """
    n = len(thumbnails)
    if n < 2:
        return np.empty((0, 2), np.int64)
    coarse = _unit(_reduced(thumbnails, _COARSE).reshape(n, -1))
    common = coarse.mean(axis=0)  # the mean chest
    if np.linalg.norm(coarse - common, axis=1).max() < _ONE_IMAGE:
        common = np.zeros_like(common)  # without it, nothing would be left to compare
    targets = _unit(coarse - common).T.copy()
    most = min(_MOST_CANDIDATES, n - 1)
    found = []
    with _bar(n, "Selecting candidate pairs", "image") as bar:
        for begin in range(0, n, _BLOCK):
            planes = _tangent_planes(coarse[begin : begin + _BLOCK], common)
            explained = np.zeros((len(planes), n), np.float32)
            for direction in range(planes.shape[1]):
                part = planes[:, direction] @ targets
                explained += np.square(part, out=part)
            rows = np.arange(len(planes))
            explained[rows, begin + rows] = 0
            best = np.argpartition(explained, n - most, axis=1)[:, n - most :]
            row, place = np.nonzero(np.take_along_axis(explained, best, axis=1) > _LEAST_EXPLAINED)
            found.append(np.stack([row + begin, best[row, place]], axis=1))
            bar.update(len(planes))
    return np.unique(np.sort(np.concatenate(found), axis=1), axis=0)


def _tangent_planes(rows: np.ndarray, common: np.ndarray) -> np.ndarray:
    """Orthonormal bases (n, 5, pixels): images (n, 16 * 16) and their four derivatives."""
    images = rows.reshape(-1, _COARSE, _COARSE)
    grid = pixel_grid(_COARSE)
    down, across = np.gradient(images, axis=(1, 2))
    own = images - common.reshape(_COARSE, _COARSE)
    spanning = [own, down, across, down * grid[:, None], across * grid]
    vectors = np.stack(spanning, axis=1).reshape(len(images), len(spanning), -1)
    vectors -= vectors.mean(axis=2, keepdims=True)
    orthonormal = np.linalg.qr(vectors.transpose(0, 2, 1))[0]
    return np.ascontiguousarray(orthonormal.transpose(0, 2, 1), np.float32)


def similarities(thumbnails: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Registers the images of each pair and correlates their fine structure.

    Args:
        thumbnails: uint8 (n, 64, 64).
        pairs: int64 (m, 2), indices.

    Returns:
        float32 (m,), -1..1; 0 where the two differ so much that the comparison ended early.
    """
    result = np.zeros(len(pairs), np.float32)
    middle, fine = _prepared(thumbnails)

    def compare(begin: int) -> int:
        chosen = np.arange(begin, min(begin + _PAIRS_AT_ONCE, len(pairs)))
        change, kept = np.zeros((len(chosen), 4), np.float32), chosen
        # Each round compares the pairs that the one before kept, and loses under 1 % of the copies.
        for images, steps, margin, least in (
            (middle, 1, 0, 0.92),
            (middle, 2, 0, 0.95),
            (fine, 1, _MARGIN, 0.8),
            (fine, 4, _MARGIN, -np.inf),
        ):
            fixed, moving = (images[side].astype(np.float32) for side in pairs[kept].T)
            change, alike = register(fixed, moving, change, steps, margin)
            enough = alike > least
            kept, change = kept[enough], change[enough]
        result[kept] = alike
        return len(chosen)

    begins = range(0, len(pairs), _PAIRS_AT_ONCE)
    bar = _bar(len(pairs), "Comparing candidate pairs", "pair")
    with bar, ThreadPoolExecutor(_THREADS) as pool:
        for count in pool.map(compare, begins):
            bar.update(count)
    return result


def _prepared(thumbnails: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the images at 32x32, and their fine structure at 64x64, at mean 0 and deviation 1.

    Both float16, or the fine structure of 21,165 images would take 350 MB.
    """
    middle = np.empty((len(thumbnails), _MIDDLE, _MIDDLE), np.float16)
    fine = np.empty(thumbnails.shape, np.float16)
    for begin in range(0, len(thumbnails), _BLOCK):
        block = slice(begin, begin + _BLOCK)
        middle[block] = _scaled(_reduced(thumbnails[block], _MIDDLE))
        fine[block] = _fine_structure(thumbnails[block])
    return middle, fine


def _bar(total: int, what: str, unit: str) -> ProgressBar:
    return ProgressBar(total=total, desc=what, unit=unit, delay=2, leave=False)


def _reduced(images: np.ndarray, side: int) -> np.ndarray:
    """Averages uint8 (n, 64, 64) to float32 (n, side, side)."""
    step = SIDE // side
    return images.reshape(-1, side, step, side, step).mean(axis=(2, 4), dtype=np.float32)


def _unit(rows: np.ndarray) -> np.ndarray:
    """Rows (n, d) at mean 0 and norm 1; constant ones become 0."""
    rows = rows - rows.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 1e-5)


def _scaled(images: np.ndarray) -> np.ndarray:
    """Images (n, side, side) at mean 0 and deviation 1; constant ones become 0."""
    n, side = images.shape[:2]
    return _unit(images.reshape(n, -1)).reshape(images.shape) * side


def _fine_structure(images: np.ndarray) -> np.ndarray:
    """Difference of two blurs: uint8 (n, side, side) to float32, deviation 1."""
    values = images.astype(np.float32)
    sharp, smooth = (
        ndimage.gaussian_filter(values, (0, sigma, sigma)) for sigma in (_FINE, _SMOOTH)
    )
    return _scaled(sharp - smooth)
