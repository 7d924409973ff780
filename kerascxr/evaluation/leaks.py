"""Leaked test images: how many there are, and what the accuracy is without them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kerascxr.evaluation.combined_intervals import difference_interval
from kerascxr.evaluation.shares import Interval, share_interval

NONE, SHOWN, NOT_DECIDED = "none", "shown", "not_decided"
"""The verdicts: no leaked image; the leak raises the accuracy; too few images to decide."""

EXACT, INDEX = "exact", "index"
"""The searches for near-duplicates: of all images, or of those that an index proposes."""


def search_text(search: Mapping[str, Any]) -> str:
    """Returns in words how a set's near-duplicates were found.

    Args:
        search: As ``data.ingest.candidates.search_of`` gives it.
    """
    if search["search"] == EXACT:
        return "by comparing each image with all others"
    return f"with an index (faiss {search['faiss']})"


def leaked_images(groups: Sequence[str], training_groups: Sequence[str]) -> np.ndarray:
    """Returns which test images share a group with a training image, bool ``(n,)``.

    Args:
        groups: The n test images' groups (near-duplicates, or one patient's images).
        training_groups: The training images' groups.
    """
    return np.isin(np.asarray(groups), np.unique(np.asarray(training_groups)))


def count_leaks(groups: Sequence[str], training_groups: Sequence[str]) -> dict[str, Any]:
    """Counts the leaked test images.

    Args:
        groups: As ``leaked_images``.
        training_groups: As ``leaked_images``.

    Returns:
        Ready for JSON: ``test_images`` and ``leaked_test_images``.
    """
    leaked = leaked_images(groups, training_groups)
    return {"test_images": len(leaked), "leaked_test_images": int(leaked.sum())}


def measure_leak(
    right: np.ndarray, groups: Sequence[str], training_groups: Sequence[str]
) -> dict[str, Any]:
    """Compares a classifier's accuracy on leaked test images with that on the others.

    Args:
        right: Whether each test image is classified correctly, bool ``(n,)``.
        groups: As ``leaked_images``.
        training_groups: As ``leaked_images``.

    Returns:
        Ready for JSON: what ``count_leaks`` returns; ``accuracy_of_leaked`` and
        ``accuracy_of_others``, each ``value`` and ``interval`` (None where there are no such
        images, or too few for an interval); ``difference`` (leaked minus others, likewise); and
        ``verdict``: ``NONE``, ``SHOWN`` if the difference's interval lies above 0, or
        ``NOT_DECIDED``.
    """
    leaked, numbers = leaked_images(groups, training_groups), np.asarray(groups)
    parts = [_accuracy(right[part], numbers[part]) for part in (leaked, ~leaked)]
    difference: dict[str, Any] = {"value": None, "interval": None}
    (first, ends), (second, other_ends) = parts
    if first is not None and second is not None:
        difference["value"] = first - second
        if ends and other_ends:
            limits = difference_interval((second, first), (other_ends, ends), 0.0)
            difference["interval"] = list(limits)
    verdict = NOT_DECIDED if leaked.any() else NONE
    if difference["interval"] and difference["interval"][0] > 0:
        verdict = SHOWN
    return {
        **count_leaks(groups, training_groups),
        "accuracy_of_leaked": {"value": first, "interval": ends},
        "accuracy_of_others": {"value": second, "interval": other_ends},
        "difference": difference,
        "verdict": verdict,
    }


def _accuracy(right: np.ndarray, groups: np.ndarray) -> tuple[float | None, Interval]:
    if not len(right):
        return None, None
    return float(right.mean()), share_interval(right, groups)
