"""How large the lungs in a mask are, and which of them is the right and which the left one.

The image is taken to be frontal and not mirrored: the patient's right lung is on the image's left.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

RIGHT, LEFT = 1, 2  # the patient's

_DIAGONAL_TOO = np.ones((3, 3), bool)
_LARGE = 0.1  # of the whole mask: a part that may be a lung by itself
_APART = 0.2  # of the image's width: two parts' centres nearer than that are within one lung
_ASIDE = 0.75  # of a lone part's pixels on one side of the image's middle: it is the lung there
_WAIST = 0.5  # of the lower peak: two joined lungs have fewer pixels in a column between them


@dataclass(frozen=True)
class LungAreas:
    """The sizes of the lungs in one image.

    Attributes:
        lung_fraction: Share of the image's pixels inside the mask, 0..1.
        lung_pixels: Pixels inside the mask.
        lung_mm2: The same in square millimetres; None if the pixels' size is not known.
        right_lung_pixels: Pixels of the patient's right lung, on the image's left; None if the
            lungs cannot be distinguished.
        right_lung_mm2: The same in square millimetres; None if either is not known.
        left_lung_pixels: Pixels of the patient's left lung, on the image's right, or None.
        left_lung_mm2: The same in square millimetres, or None.
        components: Connected components of the mask (diagonal neighbours connect).
    """

    lung_fraction: float
    lung_pixels: int
    lung_mm2: float | None
    right_lung_pixels: int | None
    right_lung_mm2: float | None
    left_lung_pixels: int | None
    left_lung_mm2: float | None
    components: int


def measure_lungs(mask: np.ndarray, spacing: tuple[float, float] | None = None) -> LungAreas:
    """Measures the lungs of one image.

    Args:
        mask: The lungs after clean-up, bool ``(h, w)``.
        spacing: Distance of rows and of columns in mm at the mask's size; None if not known.

    Returns:
        The areas.

    Raises:
        ValueError: If the mask is not as above or the spacing is not positive.
    """
    if spacing is not None and not min(spacing) > 0:
        raise ValueError(f"spacing must be positive. Got spacing={spacing}.")
    sides, components = _sides(mask)
    total = int(np.count_nonzero(mask))
    pixels: list[int | None] = [total, None, None]
    if sides is not None:
        _, right, left = np.bincount(sides.ravel(), minlength=3).tolist()
        pixels = [total, right, left]
    mm2 = [None if spacing is None or n is None else n * spacing[0] * spacing[1] for n in pixels]
    return LungAreas(
        lung_fraction=total / mask.size,
        lung_pixels=total,
        lung_mm2=mm2[0],
        right_lung_pixels=pixels[1],
        right_lung_mm2=mm2[1],
        left_lung_pixels=pixels[2],
        left_lung_mm2=mm2[2],
        components=components,
    )


def lung_sides(mask: np.ndarray) -> np.ndarray | None:
    """Distinguishes the right lung from the left one.

    The parts of a mask are its connected components; one that holds two joined lungs is cut at its
    waist, the column in the middle third of its width that has the fewest pixels, fewer than half
    of the lower peak beside it. Each part belongs to one lung as a whole. If the two largest parts
    are side by side (centres over a fifth of the image's width apart, the smaller over a tenth of
    the mask), the middle between them divides the lungs. Otherwise, as with a missing lung, the
    image's middle column does, and the largest part must have three quarters of its pixels on one
    side of it. A part whose centre is exactly on the dividing line counts as the left lung.

    Args:
        mask: The lungs after clean-up, bool ``(h, w)``.

    Returns:
        uint8 ``(h, w)``: 0 background, 1 the patient's right lung (on the image's left), 2 the left
        one; None if they cannot be distinguished.

    Raises:
        ValueError: If the mask is not as above.
    """
    return _sides(mask)[0]


def _sides(mask: np.ndarray) -> tuple[np.ndarray | None, int]:
    """Returns what ``lung_sides`` does, and the number of components."""
    if mask.ndim != 2 or mask.dtype != bool or mask.size == 0:
        raise ValueError(
            "mask must be bool of shape (height, width). "
            f"Got dtype={mask.dtype}, shape={mask.shape}."
        )
    labels, components = ndimage.label(mask, _DIAGONAL_TOO)
    if not components:
        return np.zeros(mask.shape, np.uint8), 0
    width = mask.shape[1]
    # Each part: the pixels of one component in each column, and that component's number.
    parts: list[tuple[np.ndarray, int]] = []
    for number, place in enumerate(ndimage.find_objects(labels), 1):
        columns = np.zeros(width, int)
        columns[place[1]] = np.count_nonzero(labels[place] == number, axis=0)
        parts += [(piece, number) for piece in _at_waist(columns)]
    parts.sort(key=lambda part: -part[0].sum())
    places = np.arange(width)
    centres = [float(np.average(places, weights=columns)) for columns, _ in parts]
    middle = (width - 1) / 2
    side_by_side = (
        len(parts) > 1
        and parts[1][0].sum() >= _LARGE * np.count_nonzero(mask)
        and abs(centres[0] - centres[1]) > _APART * width
    )
    if side_by_side:
        middle = (centres[0] + centres[1]) / 2
    else:
        largest = parts[0][0]
        share = (
            largest[places < middle].sum() + largest[places == middle].sum() / 2
        ) / largest.sum()
        if 1 - _ASIDE < share < _ASIDE:
            return None, components
    sides = np.zeros(mask.shape, np.uint8)
    for (columns, number), centre in zip(parts, centres, strict=True):
        first, last = np.flatnonzero(columns)[[0, -1]]
        piece = (slice(None), slice(first, last + 1))
        sides[piece][labels[piece] == number] = RIGHT if centre < middle else LEFT
    return sides, components


def _at_waist(columns: np.ndarray) -> list[np.ndarray]:
    """Cuts a component's pixels by column, int ``(w,)``, in two if it is two joined lungs."""
    first, last = np.flatnonzero(columns)[[0, -1]]
    extent = last + 1 - first
    begin, end = first + extent // 3, last + 1 - extent // 3
    narrow = np.flatnonzero(columns[begin:end] == columns[begin:end].min())
    waist = begin + int(narrow[len(narrow) // 2])
    peak = min(columns[:waist].max(initial=0), columns[waist:].max())
    if columns[waist] >= _WAIST * peak:
        return [columns]
    before = np.where(np.arange(len(columns)) < waist, columns, 0)
    return [before, columns - before]
