"""A map of evidence, laid over its image."""

import matplotlib
import numpy as np

_STRONGEST = 0.55  # of the map in the picture, where it is 1


def heat_overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Colours an image by a map; where the map is 0 the image stays as it was.

    Args:
        image: uint8 ``(h, w)``, 0..255.
        heat: float ``(h, w)``, 0..1.

    Returns:
        uint8 ``(h, w, 3)``, 0..255.

    Raises:
        ValueError: If the two are not of one shape.
    """
    if image.shape != heat.shape or image.ndim != 2:
        raise ValueError(
            f"image and heat must be of one shape (height, width). Got {image.shape}, {heat.shape}."
        )
    colours = matplotlib.colormaps["inferno"](np.clip(heat, 0, 1))[..., :3] * 255
    weights = _STRONGEST * np.clip(heat, 0, 1)[..., None]
    return np.rint((1 - weights) * image[..., None] + weights * colours).astype(np.uint8)
