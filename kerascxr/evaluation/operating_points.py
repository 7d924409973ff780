"""Thresholds that find most images of a class, and what they then find on other images."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kerascxr.evaluation.classification import checked_predictions
from kerascxr.evaluation.shares import share_interval

SENSITIVITY = 0.95


def operating_points(
    truth: np.ndarray,
    probabilities: np.ndarray,
    classes: Sequence[str],
    sensitivity: float = SENSITIVITY,
) -> dict[str, float | None]:
    """Chooses each class's threshold; use validation images.

    Args:
        truth: True class indices, int ``(n,)``, 0..k-1.
        probabilities: Class probabilities, float ``(n, k)``, each row summing to 1.
        classes: The k class names.
        sensitivity: The share of a class's images that are to be found, over 0 and at most 1.

    Returns:
        Class name -> the highest threshold for which "the class's probability is at least the
        threshold" finds that share of its images here; None for a class without images.

    Raises:
        ValueError: If an argument is not as above.
    """
    truth, probabilities, names = checked_predictions(truth, probabilities, classes)
    if not 0 < sensitivity <= 1:
        raise ValueError(
            f"sensitivity must be over 0 and at most 1. Got sensitivity={sensitivity}."
        )
    thresholds: dict[str, float | None] = {}
    for index, name in enumerate(names):
        of_class = np.sort(probabilities[truth == index, index])[::-1]
        # 0.95 * 20 is 19, whatever the last bit says.
        needed = math.ceil(round(sensitivity * len(of_class), 9))
        thresholds[name] = float(of_class[needed - 1]) if len(of_class) else None
    return thresholds


def score_operating_points(
    thresholds: Mapping[str, float | None],
    truth: np.ndarray,
    probabilities: np.ndarray,
    groups: Sequence[str],
) -> dict[str, dict[str, Any]]:
    """Measures what thresholds do on images that they were not chosen on.

    Args:
        thresholds: Class name -> threshold, in class order, from ``operating_points``.
        truth: True class indices, int ``(n,)``, 0..k-1.
        probabilities: Class probabilities, float ``(n, k)``, each row summing to 1.
        groups: The images' groups, n names.

    Returns:
        Class name -> ``threshold``; ``sensitivity`` of ``positives`` images of the class and
        ``specificity`` of ``negatives`` others, each with its 95% interval [low, high] as
        ``..._interval``, see ``shares.share_interval``. None where there is no threshold or no such
        image; the interval is also None where these images are of one group.

    Raises:
        ValueError: If the predictions are not as above.
    """
    truth, probabilities, names = checked_predictions(truth, probabilities, list(thresholds))
    numbers = np.unique(np.asarray(groups, dtype=str), return_inverse=True)[1]
    scores = {}
    for index, name in enumerate(names):
        threshold, positive = thresholds[name], truth == index
        row: dict[str, Any] = {"threshold": threshold}
        found = probabilities[:, index] >= (math.inf if threshold is None else threshold)
        for measure, members, name_of_count, wanted in (
            ("sensitivity", positive, "positives", found),
            ("specificity", ~positive, "negatives", ~found),
        ):
            n, hits = int(members.sum()), int((members & wanted).sum())
            known = n > 0 and threshold is not None
            row[measure] = hits / n if known else None
            limits = share_interval(wanted[members], numbers[members]) if known else None
            row[f"{measure}_interval"] = limits and list(limits)
            row[name_of_count] = n
        scores[name] = row
    return scores
