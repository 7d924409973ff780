"""Whether a model's score on another set is lower than on its own test images."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kerascxr.evaluation.classification import evaluate
from kerascxr.evaluation.combined_intervals import difference_interval
from kerascxr.evaluation.uncertainty import classification_intervals

LOWER, HIGHER, NOT_DECIDED = "lower", "higher", "not_decided"
"""The verdicts on an external test; not decided does not mean equal."""


def compare_with_internal(
    internal: Mapping[str, Any], external: Mapping[str, Any], measures: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Compares a test on another set with that on a run's own test images.

    Args:
        internal: ``test`` of a run's metrics.json: values of measures, and ``intervals``.
        external: The same of the other set, whose images are others.
        measures: Those to compare; of each, more is better.

    Returns:
        Measure -> ``difference`` (external minus internal), ``interval`` (its 95 % ends, or None
        where either has none) and ``verdict``.
    """
    found = {}
    for measure in measures:
        first, second = internal.get(measure), external.get(measure)
        if first is None or second is None:
            continue
        ends, other_ends = (test.get("intervals", {}).get(measure) for test in (internal, external))
        limits = None
        if ends and other_ends:
            limits = difference_interval((first, second), (ends, other_ends), 0.0)
        verdict = NOT_DECIDED
        if limits and not limits[0] <= 0 <= limits[1]:
            verdict = LOWER if limits[1] < 0 else HIGHER
        found[measure] = {
            "difference": second - first,
            "interval": limits and list(limits),
            "verdict": verdict,
        }
    return found


def of_common_classes(
    truth: np.ndarray,
    probabilities: np.ndarray,
    classes: Sequence[str],
    groups: Sequence[str],
    external: Mapping[str, Any],
) -> dict[str, Any] | None:
    """Scores those of a classifier's own test images that are of the classes of another set.

    A set without the class that is the hardest has higher scores for that alone, and macro metrics
    are means over other classes there.

    Args:
        truth: True class indices of the own test images, int ``(n,)``, 0..k-1.
        probabilities: float ``(n, k)``.
        classes: The k class names.
        groups: The images' groups, n names.
        external: ``test`` of the other set, with ``absent_classes``.

    Returns:
        What ``evaluate`` returns, and ``intervals``; None where the other set has all classes of
        these images, or none.
    """
    absent = [classes.index(name) for name in external["absent_classes"]]
    kept = ~np.isin(truth, absent)
    if kept.all() or not kept.any():
        return None
    names = np.asarray(groups, dtype=str)[kept].tolist()
    tested = (truth[kept], probabilities[kept], classes)
    return evaluate(*tested) | {"intervals": classification_intervals(*tested, names)}
