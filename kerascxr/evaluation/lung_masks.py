"""Whether lung masks can be lungs: share of the image, number of parts, place, way up.

The bounds are those of 400 masks of the Shenzhen set (drawn by hand) and 300 of the phantom, made
wider; they accept 697 of these 700 masks. They hold for frontal, upright chest X-rays.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kerascxr.evaluation.lung_areas import measure_lungs

MOST_IMPLAUSIBLE = 0.25
"""Largest share of implausible masks in a set that is used."""

_GRID = 64  # pixels of the shorter side at which masks are checked
_SHARE = (0.05, 0.5)  # of the image; measured: 0.083 to 0.432
_LEAST_LUNG = 0.02  # of the image, each lung; measured: from 0.035
_LEAST_BALANCE = 0.25  # smaller lung / larger lung; measured: from 0.37
_MOST_COMPONENTS = 4  # measured: up to 3 in 99.7 %, 5 in one mask
_ACROSS = (0.35, 0.65)  # centroid, share of the width; measured: 0.397 to 0.554
_DOWN = (0.25, 0.6)  # centroid, share of the height; measured: 0.296 to 0.549
_WIDEST_TOP = 1.03  # width of the top quarter / of the bottom quarter; measured: 0.667 to 1.02

_EMPTY = "is empty"
_OF_SHARE = f"does not cover {_SHARE[0]:.0%} to {_SHARE[1]:.0%} of the image"
_OF_PLACE = "does not lie in the middle of the image"
_OF_WAY_UP = "is wider at the top than at the bottom"


def lung_mask_faults(mask: np.ndarray) -> tuple[str, ...]:
    """Returns why a mask cannot be the lungs of a frontal, upright chest X-ray.

    Args:
        mask: Mask, ``(h, w)``, bool or 0 and 255.

    Returns:
        Each reason, to follow "the mask" in a sentence; none if the mask is plausible.
    """
    inside = _on_grid(mask)
    share = inside.mean()
    if not share:
        return (_EMPTY,)
    height, width = inside.shape
    rows, columns = np.nonzero(inside)
    areas = measure_lungs(inside)
    faults = []
    if not _SHARE[0] <= share <= _SHARE[1]:
        faults.append(_OF_SHARE)
    smaller, larger = sorted((areas.right_lung_pixels or 0, areas.left_lung_pixels or 0))
    if smaller < max(_LEAST_LUNG * inside.size, _LEAST_BALANCE * larger):
        faults.append("does not have two lungs side by side")
    if areas.components > _MOST_COMPONENTS:
        faults.append(f"has more than {_MOST_COMPONENTS} parts")
    across, down = (columns.mean() + 0.5) / width, (rows.mean() + 0.5) / height
    if not (_ACROSS[0] <= across <= _ACROSS[1] and _DOWN[0] <= down <= _DOWN[1]):
        faults.append(_OF_PLACE)
    first, last = rows.min(), rows.max() + 1
    quarter = max(1, (last - first) // 4)
    top, bottom = inside[first : first + quarter], inside[last - quarter : last]
    if _extent(top) > _WIDEST_TOP * _extent(bottom):
        faults.append(_OF_WAY_UP)
    return tuple(faults)


def checks_without_components() -> dict[str, Any]:
    """Returns the bounds and the reasons of the checks that need no connected components.

    The browser page, which has other code, computes these: share of the image, place and way up.
    """
    return {
        "grid": _GRID,
        "share": list(_SHARE),
        "across": list(_ACROSS),
        "down": list(_DOWN),
        "widest_top": _WIDEST_TOP,
        "reasons": {
            "empty": _EMPTY,
            "share": _OF_SHARE,
            "place": _OF_PLACE,
            "way_up": _OF_WAY_UP,
        },
    }


class ImplausibleMasksError(ValueError):
    """Too many of a set's lung masks cannot be lungs."""


@dataclass(frozen=True)
class LungMaskCheck:
    """How many of a set's lung masks are plausible.

    Attributes:
        images: Number of masks.
        implausible: Number of masks that cannot be lungs.
        reasons: Reason -> number of masks, see ``lung_mask_faults``; a mask can have several.
    """

    images: int
    implausible: int
    reasons: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, faults: Sequence[tuple[str, ...]]) -> "LungMaskCheck":
        """Counts what ``lung_mask_faults`` returned for each mask."""
        reasons = Counter(reason for reasons in faults for reason in reasons)
        return cls(len(faults), sum(map(bool, faults)), reasons)

    @property
    def share(self) -> float:
        """Share of the masks that are implausible, 0..1."""
        return self.implausible / self.images if self.images else 0.0

    def require_plausible(self, origin: str, option: str = "--lungs") -> None:
        """Stops where too many masks are implausible.

        Args:
            origin: Where the masks come from.
            option: The option that takes a segmentation run.

        Raises:
            ImplausibleMasksError: If more than ``MOST_IMPLAUSIBLE`` of the masks are implausible.
        """
        if self.share <= MOST_IMPLAUSIBLE:
            return
        reason, count = self.reasons.most_common(1)[0]
        raise ImplausibleMasksError(
            f"at most {MOST_IMPLAUSIBLE:.0%} of the lung masks may be implausible. Got "
            f"{self.implausible:,} of {self.images:,} ({self.share:.0%}) from {origin}; the "
            f"commonest reason, in {count:,}: the mask {reason}. Train a better U-Net and give its "
            f"run ({option} RUN)."
        )

    def __str__(self) -> str:
        if not self.implausible:
            return f"All {self.images:,} lung masks are plausible."
        reason, count = self.reasons.most_common(1)[0]
        return (
            f"{self.implausible:,} of {self.images:,} lung masks are implausible; the commonest "
            f"reason, in {count:,}: the mask {reason}."
        )

    def to_dict(self) -> dict[str, object]:
        """Returns what JSON files hold: ``images``, ``implausible`` and ``reasons``."""
        return {
            "images": self.images,
            "implausible": self.implausible,
            "reasons": dict(self.reasons.most_common()),
        }


def _on_grid(mask: np.ndarray) -> np.ndarray:
    step = max(1, min(mask.shape) // _GRID)
    return mask[step // 2 :: step, step // 2 :: step] > 0


def _extent(rows: np.ndarray) -> int:
    columns = np.flatnonzero(rows.any(axis=0))
    return int(columns[-1] - columns[0] + 1) if len(columns) else 0
