"""Registration of one small image to another: stretch, shift, gain and offset."""

import numpy as np

_LARGEST_CHANGE = 0.16  # in half sides: up to 8 % cut off one side
_PLAIN = 1e-4  # variance below which an image has no structure to compare


def register(
    fixed: np.ndarray, moving: np.ndarray, change: np.ndarray, steps: int, margin: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Registers images by Gauss-Newton steps on stretch, shift, gain and offset.

    A step can overshoot, so the result is the best position of all steps, not the last.

    Args:
        fixed: float32 (n, side, side), of mean 0 and deviation 1.
        moving: float32 (n, side, side), likewise.
        change: float32 (n, 4), the start; see ``warp``.
        steps: Number of steps.
        margin: Number of pixels at the edges of both images that are ignored.

    Returns:
        The changes, float32 (n, 4), and the correlations where both images overlap, float32 (n,):
        0 where one of them is constant there.

    Source:
        Lucas and Kanade, IJCAI 1981.
    """
    n, side = fixed.shape[:2]
    grid = pixel_grid(side)
    inner = np.zeros((side, side), bool)
    inner[margin : side - margin, margin : side - margin] = True
    best, best_change = np.full(n, -1, np.float32), change
    # moved, 1, d/d stretch down, d/d shift down, the same across, and the image to approximate
    terms = np.empty((n, 7, side, side), np.float32)
    for step in range(steps + 1):
        moved, inside = warp(moving, change, margin)
        seen = (inside & inner).astype(np.float32)
        np.multiply(moved, seen, out=terms[:, 0])
        terms[:, 1] = seen
        slope = seen * (side / 2)
        for place, axis in ((3, 1), (5, 2)):
            np.multiply(np.gradient(moved, axis=axis), slope, out=terms[:, place])
        np.multiply(terms[:, 3], grid[:, None], out=terms[:, 2])
        np.multiply(terms[:, 5], grid, out=terms[:, 4])
        np.multiply(fixed, seen, out=terms[:, 6])
        flat = terms.reshape(n, 7, side * side)
        products = flat @ flat.transpose(0, 2, 1)
        alike = _correlation(products)
        best_change = np.where((alike > best)[:, None], change, best_change)
        best = np.maximum(alike, best)
        if step < steps:
            change = np.clip(change + _step(products), -_LARGEST_CHANGE, _LARGEST_CHANGE)
    return best_change, best


def _step(products: np.ndarray) -> np.ndarray:
    """Solves the normal equations in (n, 7, 7) products for the change, float32 (n, 4)."""
    normal, wanted = products[:, :6, :6], products[:, :6, 6:]
    scale = np.trace(normal, axis1=1, axis2=2)[:, None, None] / 6
    damped = normal + (1e-4 * scale + 1e-6) * np.eye(6, dtype=np.float32)
    solved = np.linalg.solve(damped, wanted)[..., 0]
    # Without gain the two images have nothing in common, and no step is taken.
    gain = np.where(np.abs(solved[:, :1]) > 0.1, solved[:, :1], np.inf)
    return solved[:, 2:] / gain


def _correlation(products: np.ndarray) -> np.ndarray:
    """Correlates terms 0 and 6 of (n, 7, 7) products, term 1 being the pixels that count."""
    count = np.maximum(products[:, 1, 1], 1)

    def covariance(one: int, other: int) -> np.ndarray:
        means = products[:, one, 1] * products[:, other, 1] / count
        return (products[:, one, other] - means) / count

    first, second = covariance(0, 0), covariance(6, 6)
    varied = np.minimum(first, second) > _PLAIN
    norm = np.sqrt(np.where(varied, first * second, 1))
    return np.where(varied, covariance(0, 6) / norm, 0).astype(np.float32)


def warp(images: np.ndarray, change: np.ndarray, margin: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Stretches and shifts images along their axes, with linear interpolation.

    Args:
        images: float32 (n, side, side).
        change: float32 (n, 4): stretch and shift down, then across, in half sides. The pixel at
            y (-1..1) takes the value at ``(1 + stretch) y + shift``.
        margin: Number of pixels at the images' edges that count as outside.

    Returns:
        The images, and bool (n, side, side): where their values come from inside.
    """
    side = images.shape[1]
    weights, inside = [], []
    for stretch, shift in ((change[:, 0], change[:, 1]), (change[:, 2], change[:, 3])):
        place = (1 + stretch[:, None]) * pixel_grid(side) + shift[:, None]
        place = (place + 1) * (side / 2) - 0.5
        inside.append((place > margin - 0.5) & (place < side - margin - 0.5))
        apart = np.clip(place, 0, side - 1)[:, :, None] - np.arange(side, dtype=np.float32)
        weights.append(np.maximum(1 - np.abs(apart), 0))
    down, across = weights
    moved = down @ images @ across.transpose(0, 2, 1)
    return moved, inside[0][:, :, None] & inside[1][:, None, :]


def pixel_grid(side: int) -> np.ndarray:
    """Returns the pixels' centres along a side, float32 (side,), from -1 to 1 between the edges."""
    return ((np.arange(side, dtype=np.float32) + 0.5) / side) * 2 - 1
