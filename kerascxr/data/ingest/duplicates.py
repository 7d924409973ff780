"""Near-duplicates: resized, re-encoded, brighter or slightly cropped copies of one image.

Thumbnails of two patients' X-rays are similar, and a crop of 3 % reduces the similarity of a copy
by more than their difference. So similarity of thumbnails only selects candidates. Each candidate
pair is then registered (shift and stretch), and the correlation of fine structure decides.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations, product
from typing import NamedTuple

import numpy as np
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from kerascxr.data.ingest.candidates import candidates
from kerascxr.data.ingest.parallel import CORES
from kerascxr.data.ingest.registration import register
from kerascxr.data.ingest.thumbnails import SIDE, reduced, unit_rows
from kerascxr.progress import ProgressBar

SAME = 0.93
_MIDDLE = 32
_MOST_COPIES = 100  # beyond it the pairs among them would be millions
_MARGIN = 3  # pixels at the edge whose fine structure the edge itself disturbs
_FINE, _SMOOTH = 0.7, 3.5  # pixels: fine structure is the difference of these two blurs
_BLOCK = 512
_PAIRS_AT_ONCE = 256


class _Round(NamedTuple):
    steps: int
    margin: int  # pixels at the edges that are ignored
    least: float  # correlation of the pairs that stay


_COARSE_ROUNDS = (_Round(1, 0, 0.92), _Round(2, 0, 0.95))
_FINE_ROUNDS = (_Round(1, _MARGIN, 0.8), _Round(4, _MARGIN, -np.inf))


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


def similarities(thumbnails: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Registers the images of each pair and correlates their fine structure.

    Args:
        thumbnails: uint8 (n, 64, 64).
        pairs: int64 (m, 2), indices.

    Returns:
        float32 (m,), -1..1; 0 where the two differ so much that the comparison ended early.
    """
    result = np.zeros(len(pairs), np.float32)
    start = np.zeros((len(pairs), 4), np.float32)
    # Each round compares the pairs that the one before kept, and loses under 1 % of the copies.
    middle = _in_blocks(lambda block: _scaled(reduced(block, _MIDDLE)), thumbnails, _MIDDLE)
    kept, change, _ = _compare(middle, pairs, start, _COARSE_ROUNDS)
    # One pair in a hundred is left, so fine structure is computed of few images.
    images, places = np.unique(pairs[kept], return_inverse=True)
    fine = _in_blocks(_fine_structure, thumbnails[images], SIDE)
    left, _, alike = _compare(fine, places.reshape(-1, 2), change, _FINE_ROUNDS)
    result[kept[left]] = alike
    return result


def _compare(
    images: np.ndarray, pairs: np.ndarray, start: np.ndarray, rounds: Sequence[_Round]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Registers pairs round by round, and drops those that differ.

    Args:
        images: float16 (n, side, side), at mean 0 and deviation 1.
        pairs: int64 (m, 2), indices.
        start: float32 (m, 4), see ``register``.
        rounds: At least one.

    Returns:
        Of the pairs that are left: their places, int64 (k,); changes, float32 (k, 4); and
        correlations, float32 (k,).
    """

    def compare(begin: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        kept = np.arange(begin, min(begin + _PAIRS_AT_ONCE, len(pairs)))
        change = start[kept]
        for each in rounds:
            fixed, moving = (images[side].astype(np.float32) for side in pairs[kept].T)
            change, alike = register(fixed, moving, change, each.steps, each.margin)
            enough = alike > each.least
            kept, change, alike = kept[enough], change[enough], alike[enough]
        return kept, change, alike

    found = []
    bar = ProgressBar(
        total=len(pairs), desc="Comparing candidate pairs", unit="pair", delay=2, leave=False
    )
    with bar, ThreadPoolExecutor(CORES) as pool:
        for result in pool.map(compare, range(0, len(pairs), _PAIRS_AT_ONCE)):
            found.append(result)
            bar.update(min(_PAIRS_AT_ONCE, len(pairs) - bar.n))
    if not found:
        return np.empty(0, np.int64), start, np.empty(0, np.float32)
    kept, change, alike = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return kept, change, alike


def _in_blocks(
    prepare: Callable[[np.ndarray], np.ndarray], thumbnails: np.ndarray, side: int
) -> np.ndarray:
    """Prepares thumbnails for ``register``: float16 (n, side, side), half of float32's memory."""
    result = np.empty((len(thumbnails), side, side), np.float16)
    for begin in range(0, len(thumbnails), _BLOCK):
        block = slice(begin, begin + _BLOCK)
        result[block] = prepare(thumbnails[block])
    return result


def _scaled(images: np.ndarray) -> np.ndarray:
    """Images (n, side, side) at mean 0 and deviation 1; constant ones become 0."""
    n, side = images.shape[:2]
    return unit_rows(images.reshape(n, -1)).reshape(images.shape) * side


def _fine_structure(images: np.ndarray) -> np.ndarray:
    """Difference of two blurs: uint8 (n, side, side) to float32, deviation 1."""
    values = images.astype(np.float32)
    sharp, smooth = (
        ndimage.gaussian_filter(values, (0, sigma, sigma)) for sigma in (_FINE, _SMOOTH)
    )
    return _scaled(sharp - smooth)
