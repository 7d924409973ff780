"""Simple properties of an image: size, file size, grey levels, frames, corner markers."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from PIL import Image
from scipy import ndimage

KINDS = {
    "size in pixels": ("height", "width"),
    "file size": ("bytes", "bytes_per_pixel"),
    "grey levels": ("mean", "deviation", "percentile_1", "median", "percentile_99"),
    "black and white": ("share_black", "share_white"),
    "frames": tuple(
        f"{tone}_{side}"
        for tone in ("black", "white")
        for side in ("top", "bottom", "left", "right")
    ),
    "corner markers": tuple(
        f"marker_{corner}" for corner in ("top_left", "top_right", "bottom_left", "bottom_right")
    ),
}
"""Kind of property -> names of its values."""

PROPERTIES = tuple(name for names in KINDS.values() for name in names)

_BLACK, _WHITE = 10, 245
_OF_A_LINE = 0.95
_VIEW = 256
_CORNER = 0.3
_STROKE = 9
_CONTRAST = 70
_LETTER = (0.025, 0.14)


def measure(pixels: np.ndarray, file_bytes: int) -> dict[str, float]:
    """Measures one image.

    Args:
        pixels: uint8 (height, width).
        file_bytes: Size of its file; 0 for an image without a file.

    Returns:
        All properties of ``KINDS``: sizes in pixels and bytes, greys 0..255, shares and frame
        widths 0..1 (of all pixels, of the image's side), markers 0 or 1.
    """
    height, width = pixels.shape
    shares = np.array(Image.fromarray(pixels).histogram()) / pixels.size
    levels = np.arange(256)
    mean = float(shares @ levels)
    below = np.cumsum(shares)
    values = [float(height), float(width), float(file_bytes), file_bytes / pixels.size]
    values += [mean, float(np.sqrt(shares @ (levels - mean) ** 2))]
    values += [float(np.searchsorted(below, share)) for share in (0.01, 0.5, 0.99)]
    values += [float(shares[: _BLACK + 1].sum()), float(shares[_WHITE:].sum())]
    for dark in (True, False):
        values += frame_widths(pixels, dark)
    values += [float(found) for found in corner_markers(pixels)]
    return dict(zip(PROPERTIES, values, strict=True))


def frame_widths(pixels: np.ndarray, dark: bool) -> list[float]:
    """Measures an image's black or white frame.

    A line at the edge belongs to the frame if 95 % of its pixels are at most 10 (or at least
    245), and so do the lines before it.

    Args:
        pixels: uint8 (height, width).
        dark: Whether the black frame is measured, or the white one.

    Returns:
        Top, bottom, left, right, as shares of the image's height and width, 0..1.
    """
    widths = []
    for lines in (pixels, pixels[::-1], pixels.T, pixels.T[::-1]):
        width = 0
        while width < len(lines) and _is_plain(lines[width], dark):
            width += 1
        widths.append(width / len(lines))
    return widths


def _is_plain(line: np.ndarray, dark: bool) -> bool:
    plain = line <= _BLACK if dark else line >= _WHITE
    return bool(np.count_nonzero(plain) >= _OF_A_LINE * len(line))


def corner_markers(pixels: np.ndarray) -> list[bool]:
    """Detects a patch like a burnt-in letter in each corner.

    The image is resized to 256x256. A marker is a connected patch within the outer 30 % of both
    sides, over 70 grey levels brighter than the 9x9 opening (so its strokes are thinner than 9
    pixels), 2.5 to 14 % of the side in height and 1 to 14 % in width. It fills 15 to 85 % of its
    box and touches neither the image's edge nor the corner's inner border. Wires and clips of that
    size count as well.

    Args:
        pixels: uint8 (height, width).

    Returns:
        Top left, top right, bottom left, bottom right.
    """
    view = np.asarray(Image.fromarray(pixels).resize((_VIEW, _VIEW), Image.Resampling.BOX))
    reach = round(_CORNER * _VIEW)
    ends = (slice(0, reach), slice(_VIEW - reach, _VIEW))
    corners = np.stack([view[rows, columns] for rows in ends for columns in ends])
    thick = opening(corners, _STROKE)
    bright = corners.astype(np.int16) - thick > _CONTRAST
    found = [False] * len(corners)
    if bright.any():
        within_a_corner = np.zeros((3, 3, 3), bool)
        within_a_corner[1] = True
        labels, _ = ndimage.label(bright, within_a_corner)
        for number, (corner, *box) in enumerate(ndimage.find_objects(labels), 1):
            found[corner.start] |= _is_a_letter(labels[corner.start], number, box)
    return found


def opening(images: np.ndarray, size: int) -> np.ndarray:
    """Opens images by a square: what is thinner than it disappears.

    The values are those of ``scipy.ndimage.grey_opening``, which takes three times as long.

    Args:
        images: uint8 (n, height, width).
        size: The square's side in pixels, odd.

    Returns:
        uint8 (n, height, width).
    """
    for extreme in (np.minimum, np.maximum):
        for axis in (1, 2):
            images = _over_windows(extreme, images, size, axis)
    return images


def _over_windows(extreme: np.ufunc, images: np.ndarray, size: int, axis: int) -> np.ndarray:
    """Returns the extreme of the window around each pixel, of images mirrored at their edges."""
    found = images.take(_mirrored(images.shape[axis], size // 2), axis)
    before: tuple[slice, ...] = (slice(None),) * axis
    width = 1
    while width < size:
        step = min(width, size - width)
        found = extreme(found[*before, :-step], found[*before, step:])
        width += step
    return found


@lru_cache
def _mirrored(n: int, edge: int) -> np.ndarray:
    """Returns the places of n lines with so many mirrored at each end, int64 (n + 2 edge,)."""
    return np.pad(np.arange(n), edge, "symmetric")  # of the images themselves it takes far longer


def _is_a_letter(labels: np.ndarray, number: int, box: Sequence[slice]) -> bool:
    """Returns whether a patch of that number in a corner's labels has a letter's size and shape."""
    height, width = (part.stop - part.start for part in box)
    least, most = (share * _VIEW for share in _LETTER)
    inside = all(part.start > 0 and part.stop < len(labels) for part in box)
    if not (inside and least <= height <= most and 0.01 * _VIEW <= width <= most):
        return False
    fill = float((labels[tuple(box)] == number).mean())
    return 0.15 <= fill <= 0.85 or (fill > 0.85 and width < height / 2)
