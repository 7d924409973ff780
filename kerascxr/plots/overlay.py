"""A mask drawn over its image, pixel by pixel at the image's own size."""

import numpy as np
from PIL import ImageColor
from scipy import ndimage

from kerascxr.plots.style import BLACK, SKY_BLUE, YELLOW

_TINT = 0.18  # share of the colour inside the mask
_BYTES = np.arange(256)[:, None]
_CONTOUR = 300  # the contour is one pixel wide for so many of the image's shorter side


def overlay(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Draws a mask over a grey image: a light tint inside, a contour along its edge.

    The contour is the outermost part of the mask, a 300th of the shorter side wide, at least one
    pixel; a black line of the same width around it keeps it visible on white.

    Args:
        image: uint8 ``(h, w)``, 0..255.
        mask: bool ``(h, w)``.

    Returns:
        uint8 ``(h, w, 3)``, RGB. Beyond the line the image is unchanged.

    Raises:
        ValueError: If they are not as above or their sizes differ.
    """
    if image.dtype != np.uint8 or mask.dtype != bool or image.ndim != 2:
        raise ValueError(
            "image must be uint8 (height, width) and mask bool. "
            f"Got {image.dtype} of shape={image.shape}, {mask.dtype}."
        )
    if image.shape != mask.shape:
        raise ValueError(f"mask must be of shape {image.shape}. Got shape={mask.shape}.")
    drawn = np.repeat(image[..., None], 3, axis=2)
    width = max(1, round(min(image.shape) / _CONTOUR))
    rows, columns = _around(mask, width)
    if not (rows and columns):
        return drawn
    part, inside = drawn[rows, columns], mask[rows, columns]  # a view: the image is drawn on
    around = 2 * width + 1
    # Beyond the image is outside of the mask, so that a mask cut by the border is closed.
    core = ndimage.minimum_filter(inside, around, mode="constant", cval=0)
    grown = ndimage.maximum_filter(inside, around, mode="constant", cval=0)
    table = np.rint(_BYTES * (1 - _TINT) + np.array(ImageColor.getrgb(SKY_BLUE)) * _TINT)
    tinted = image[rows, columns][inside]
    part[inside] = table.astype(np.uint8)[tinted]
    part[inside & ~core] = ImageColor.getrgb(YELLOW)
    part[grown & ~inside] = ImageColor.getrgb(BLACK)
    return drawn


def _around(mask: np.ndarray, margin: int) -> tuple[slice | None, slice | None]:
    """Returns the rows and columns of a mask and a margin; None twice for an empty one."""
    found = []
    for axis in (1, 0):
        places = np.flatnonzero(mask.any(axis=axis))
        if not places.size:
            return None, None
        found.append(slice(max(0, int(places[0]) - margin), int(places[-1]) + 1 + margin))
    return found[0], found[1]
