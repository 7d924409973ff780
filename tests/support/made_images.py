"""New X-rays made of real ones, for sets of many images."""

import numpy as np
from PIL import Image

_BEND = 0.01  # root mean square, of the side
_CELLS = 3
_FIRST_SHARE = (0.7, 1.0)


def bend(pixels: np.ndarray, random: np.random.Generator, amount: float = _BEND) -> np.ndarray:
    """Moves the corners of a 3x3 mesh over an image at random, and the image with them."""
    height, width = pixels.shape
    corners = np.stack(np.meshgrid(*(np.linspace(0, 1, _CELLS + 1),) * 2, indexing="ij"), axis=-1)
    moved = (corners + random.normal(0, amount, corners.shape)) * (height, width)
    whole = np.round(corners * (height, width)).astype(int)
    mesh = []
    for row in range(_CELLS):
        for column in range(_CELLS):
            (top, left), (bottom, right) = whole[row, column], whole[row + 1, column + 1]
            ends = [(row, column), (row + 1, column), (row + 1, column + 1), (row, column + 1)]
            quad = [float(moved[end][axis]) for end in ends for axis in (1, 0)]
            mesh.append(((int(left), int(top), int(right), int(bottom)), tuple(quad)))
    image = Image.fromarray(pixels)
    bent = image.transform(image.size, Image.Transform.MESH, mesh, Image.Resampling.BILINEAR)
    return np.asarray(bent)


def made_of(
    one: np.ndarray,
    other: np.ndarray,
    random: np.random.Generator,
    first_share: tuple[float, float] = _FIRST_SHARE,
    amount: float = _BEND,
) -> np.ndarray:
    """Makes a new image of two, uint8 of the first one's size.

    Args:
        one: uint8 (height, width).
        other: The same, of any size.
        random: What to draw from.
        first_share: The range of the first one's share.
        amount: How far both are bent, see ``bend``.
    """
    sized = Image.fromarray(other).resize(one.shape[::-1], Image.Resampling.BILINEAR)
    share = random.uniform(*first_share)
    first = bend(one, random, amount)
    if random.random() < 0.5:
        first = first[:, ::-1]
    return (share * first + (1 - share) * bend(np.asarray(sized), random, amount)).astype(np.uint8)
