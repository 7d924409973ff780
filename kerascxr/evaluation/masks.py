"""Checks of masks, and the distances between two masks' surfaces.

A surface is a mask minus its erosion by the 4-neighbourhood; pixels outside the image are
background. HD95 is the larger of the two directed 95th percentiles of surface distances (MedPy
pools both directions first, which usually gives a smaller value). ASSD is the mean over all points
of both surfaces.

Distances come from scipy alone: MedPy 0.5.2 and surface-distance 0.1 had their last release in
2024, and MedPy needs SimpleITK. A k-d tree over the surface points gives the same values as a
distance transform, in half the time.

Source:
    Maier-Hein et al., Metrics reloaded, Nature Methods 2024 (HD95, ASSD); Yeghiazaryan and
    Voiculescu, Journal of Medical Imaging 2018 (ASSD).
"""

import numpy as np
from scipy.spatial import KDTree


def as_mask(mask: np.ndarray, what: str) -> np.ndarray:
    """Returns a mask as bool ``(h, w)``, or raises a ValueError of one line."""
    mask = np.asarray(mask)
    if mask.ndim != 2 or mask.size == 0:
        raise ValueError(f"{what} must be of shape (height, width). Got shape={mask.shape}.")
    if mask.dtype == bool:
        return mask
    if mask.dtype.kind not in "iu":
        raise ValueError(f"{what} must be a mask of bool or integers. Got dtype={mask.dtype}.")
    foreground = mask != 0
    top = mask.max()
    if top not in (0, 1, 255) or (mask[foreground] != top).any():
        other = mask[foreground & (mask != 1) & (mask != 255)]
        got = int(other[0]) if other.size else "0, 1 and 255"
        raise ValueError(f"{what} must hold only 0 and 1, or only 0 and 255. Got value={got}.")
    return foreground


def check_same_shape(truth: np.ndarray, other: np.ndarray, what: str) -> None:
    """Raises a ValueError of one line if the two sizes differ."""
    if truth.shape != other.shape:
        raise ValueError(
            f"{what} must be of the truth's shape {truth.shape}. Got shape={other.shape}."
        )


def surface_distances(
    truth: np.ndarray, prediction: np.ndarray, spacing: tuple[float, float] = (1.0, 1.0)
) -> tuple[float | None, float | None]:
    """Measures the distances between the surfaces of two masks.

    Args:
        truth: Mask, bool ``(h, w)``.
        prediction: Mask, bool ``(h, w)``.
        spacing: Distance of the masks' rows and of their columns, e.g. in mm; see ``resized``.

    Returns:
        HD95 and ASSD in units of the spacing, pixels by default: 0.0 twice if both masks are empty,
        None twice if one is.
    """
    if not truth.any() or not prediction.any():
        return (None, None) if truth.any() or prediction.any() else (0.0, 0.0)
    truth_points = _surface_points(truth) * spacing
    predicted_points = _surface_points(prediction) * spacing
    to_prediction, _ = KDTree(predicted_points).query(truth_points)  # one distance a truth point
    to_truth, _ = KDTree(truth_points).query(predicted_points)
    hd95 = max(np.percentile(to_prediction, 95), np.percentile(to_truth, 95))
    return float(hd95), float(np.concatenate([to_prediction, to_truth]).mean())


def resized(
    spacing: tuple[float, float], size: tuple[int, int], new_size: tuple[int, int]
) -> tuple[float, float]:
    """Returns the spacing of an image's pixels after the image was resized to another size.

    Args:
        spacing: Distance of the rows and of the columns, e.g. in mm.
        size: The (height, width) that this spacing belongs to.
        new_size: The (height, width) after resizing, without padding or cropping.

    Returns:
        Distance of the rows and of the columns at the new size, in the same unit.
    """
    return spacing[0] * size[0] / new_size[0], spacing[1] * size[1] / new_size[1]


def _surface_points(mask: np.ndarray) -> np.ndarray:
    """Returns the (row, column) of a bool mask's surface pixels, int64 ``(points, 2)``."""
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return np.argwhere(mask & ~inner)
