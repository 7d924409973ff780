"""Images that show the same film: resized, re-encoded, brighter or slightly cropped copies.

X-rays of two people look much alike when small, and a crop of 3 % costs a copy more of its
likeness than that. So likeness only names candidates; each pair is then laid over each other as a
crop would have it, and the fine structure decides.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
from PIL import Image
from scipy import ndimage

SIDE = 64
SAME = 0.93
_COARSE, _MIDDLE = 16, 32
_MOST_CANDIDATES = 20
_LEAST_EXPLAINED = 0.72
_LEAST_MIDDLE = 0.95
_LARGEST_CHANGE = 0.16  # in half sides: up to 8 % cut off one side
_MARGIN = 3  # pixels at the edge whose fine structure the edge itself disturbs
_FINE, _SMOOTH = 0.7, 3.5  # pixels: what lies between these two blurs is fine structure
_BLOCK = 512
_PAIRS_AT_ONCE = 256


@dataclass(frozen=True)
class Pair:
    """Two images that show the same.

    Attributes:
        first: The one's index.
        second: The other's, above ``first``.
        similarity: Correlation of their fine structure, laid over each other; 1 where exact.
        exact: Whether they are the same pixel for pixel.
    """

    first: int
    second: int
    similarity: float
    exact: bool


def miniature(pixels: np.ndarray) -> np.ndarray:
    """Returns the box-averaged 64x64 version of a uint8 (height, width) image, as uint8."""
    return np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BOX))


def find_duplicates(miniatures: np.ndarray, digests: Sequence[str]) -> list[Pair]:
    """Finds all pairs of images that show the same.

    Args:
        miniatures: uint8 (n, 64, 64), see ``miniature``.
        digests: What tells pixels apart, see ``check.digest``.

    Returns:
        The pairs, each once, by their indices.
    """
    copies: dict[str, list[int]] = defaultdict(list)
    for index, digest in enumerate(digests):
        copies[digest].append(index)
    members = list(copies.values())
    pairs = [Pair(i, j, 1.0, True) for group in members for i, j in combinations(group, 2)]
    one_each = miniatures[[group[0] for group in members]]
    found = candidates(one_each)
    for (one, other), similarity in zip(found, similarities(one_each, found), strict=True):
        if similarity > SAME:
            pairs += [
                Pair(min(i, j), max(i, j), float(similarity), False)
                for i, j in product(members[one], members[other])
            ]
    return sorted(pairs, key=lambda pair: (pair.first, pair.second))


def candidates(miniatures: np.ndarray) -> np.ndarray:
    """Finds for each image the up to 20 others that it could be a changed copy of.

    An image and its derivatives by shift and stretch span a plane of slightly cropped versions.
    How much of another image lies in that plane says whether it could be one of them.

    Args:
        miniatures: uint8 (n, 64, 64).

    Returns:
        int64 (m, 2): each pair of indices once, the smaller first.

    Source:
        Simard, LeCun and Denker, NeurIPS 1992: tangent distance.
    """
    n = len(miniatures)
    if n < 2:
        return np.empty((0, 2), np.int64)
    coarse = _unit(_reduced(miniatures, _COARSE).reshape(n, -1))
    common = coarse.mean(axis=0)  # what all chests share tells none apart
    spanned = _tangent_planes(coarse.reshape(-1, _COARSE, _COARSE), common)
    targets = _unit(coarse - common).T.copy()
    most = min(_MOST_CANDIDATES, n - 1)
    found = []
    for begin in range(0, n, _BLOCK):
        explained = np.zeros((len(spanned[begin : begin + _BLOCK]), n), np.float32)
        for direction in range(spanned.shape[1]):
            part = spanned[begin : begin + _BLOCK, direction] @ targets
            explained += np.square(part, out=part)
        rows = np.arange(len(explained))
        explained[rows, begin + rows] = 0
        best = np.argpartition(explained, n - most, axis=1)[:, n - most :]
        row, place = np.nonzero(np.take_along_axis(explained, best, axis=1) > _LEAST_EXPLAINED)
        found.append(np.stack([row + begin, best[row, place]], axis=1))
    return np.unique(np.sort(np.concatenate(found), axis=1), axis=0)


def _tangent_planes(images: np.ndarray, common: np.ndarray) -> np.ndarray:
    """Orthonormal bases (n, 5, pixels): each image (n, side, side) and its four derivatives."""
    grid = _grid(images.shape[1])
    down, across = np.gradient(images, axis=(1, 2))
    own = images - common.reshape(images.shape[1:])
    spanning = [own, down, across, down * grid[:, None], across * grid]
    vectors = np.stack(spanning, axis=1).reshape(len(images), len(spanning), -1)
    vectors -= vectors.mean(axis=2, keepdims=True)
    orthonormal = np.linalg.qr(vectors.transpose(0, 2, 1))[0]
    return np.ascontiguousarray(orthonormal.transpose(0, 2, 1), np.float32)


def similarities(miniatures: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Lays the images of each pair over each other and correlates their fine structure.

    Args:
        miniatures: uint8 (n, 64, 64).
        pairs: int64 (m, 2), indices.

    Returns:
        float32 (m,), -1..1; 0 where the two differ so much that the fine structure was not
        looked at.
    """
    result = np.zeros(len(pairs), np.float32)
    for begin in range(0, len(pairs), _PAIRS_AT_ONCE):
        block = pairs[begin : begin + _PAIRS_AT_ONCE]
        fixed, moving = (_scaled(_reduced(miniatures[side], _MIDDLE)) for side in block.T)
        change, alike = register(fixed, moving, np.zeros((len(block), 4), np.float32), steps=3)
        near = np.flatnonzero(alike > _LEAST_MIDDLE)
        if len(near):
            fixed, moving = (_fine_structure(miniatures[side]) for side in block[near].T)
            result[begin + near] = register(fixed, moving, change[near], 5, _MARGIN)[1]
    return result


def register(
    fixed: np.ndarray, moving: np.ndarray, change: np.ndarray, steps: int, margin: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Lays images over each other, by Gauss-Newton steps on stretch, shift, gain and offset.

    Args:
        fixed: float32 (n, side, side).
        moving: float32 (n, side, side).
        change: float32 (n, 4), where to begin; see ``warp``.
        steps: How many steps.
        margin: How many pixels at the edges of both do not count in the correlation.

    Returns:
        The changes, float32 (n, 4), and the correlations where both show something, float32 (n,).

    Source:
        Lucas and Kanade, IJCAI 1981.
    """
    n, side = fixed.shape[:2]
    grid = _grid(side)
    for _ in range(steps):
        moved, seen = warp(moving, change)
        down, across = (slope * (side / 2) for slope in np.gradient(moved, axis=(1, 2)))
        terms = [moved, np.ones_like(moved)]
        terms += [down * grid[:, None], down, across * grid, across]
        design = (np.stack(terms, axis=1) * seen[:, None]).reshape(n, len(terms), -1)
        normal = design @ design.transpose(0, 2, 1)
        scale = np.trace(normal, axis1=1, axis2=2)[:, None, None] / len(terms)
        normal += (1e-4 * scale + 1e-6) * np.eye(len(terms), dtype=np.float32)
        wanted = design @ (fixed * seen).reshape(n, -1, 1)
        solved = np.linalg.solve(normal, wanted)[..., 0]
        # Where the gain vanishes the two have nothing in common, and no step is worth taking.
        gain = np.where(np.abs(solved[:, :1]) > 0.1, solved[:, :1], np.inf)
        change = np.clip(change + solved[:, 2:] / gain, -_LARGEST_CHANGE, _LARGEST_CHANGE)
    moved, seen = warp(moving, change, margin)
    if margin:
        inner = np.zeros((side, side), bool)
        inner[margin:-margin, margin:-margin] = True
        seen &= inner
    return change, _correlation(fixed, moved, seen)


def warp(images: np.ndarray, change: np.ndarray, margin: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Stretches and shifts images along their axes, with linear interpolation.

    Args:
        images: float32 (n, side, side).
        change: float32 (n, 4): stretch and shift down, then across, in half sides. The pixel at
            y (-1..1) takes what is at ``(1 + stretch) y + shift``.
        margin: How many pixels at the images' edges count as outside.

    Returns:
        The images, and bool (n, side, side): where they show what was inside.
    """
    side = images.shape[1]
    inside = []
    for axis in (1, 2):
        stretch, shift = change[:, 2 * axis - 2, None], change[:, 2 * axis - 1, None]
        place = ((1 + stretch) * _grid(side) + shift + 1) * (side / 2) - 0.5
        inside.append((place > margin - 0.5) & (place < side - margin - 0.5))
        low = np.clip(np.floor(place).astype(np.int64), 0, side - 2)
        part = np.clip(place - low, 0, 1).astype(np.float32)
        low, part = np.expand_dims(low, 3 - axis), np.expand_dims(part, 3 - axis)
        nearer = np.take_along_axis(images, low, axis)
        images = nearer + part * (np.take_along_axis(images, low + 1, axis) - nearer)
    return images, inside[0][:, :, None] & inside[1][:, None, :]


def _grid(side: int) -> np.ndarray:
    return ((np.arange(side, dtype=np.float32) + 0.5) / side) * 2 - 1


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
    """What lies between two blurs: uint8 (n, side, side) to float32, deviation 1."""
    values = images.astype(np.float32)
    sharp, smooth = (
        ndimage.gaussian_filter(values, (0, sigma, sigma)) for sigma in (_FINE, _SMOOTH)
    )
    return _scaled(sharp - smooth)


def _correlation(one: np.ndarray, other: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Correlates images (n, side, side) over the pixels of bool ``where``; float32 (n,)."""
    count = np.maximum(where.sum(axis=(1, 2), keepdims=True), 1)
    centred = [
        np.where(where, image - (image * where).sum(axis=(1, 2), keepdims=True) / count, 0)
        for image in (one, other)
    ]
    norms = np.prod([np.sqrt((image**2).sum(axis=(1, 2))) for image in centred], axis=0)
    product_ = (centred[0] * centred[1]).sum(axis=(1, 2))
    return (product_ / np.maximum(norms, 1e-6)).astype(np.float32)
