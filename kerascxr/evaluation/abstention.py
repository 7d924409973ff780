"""Abstention: how often a classifier answers, and how good the answers are that it gives."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kerascxr.evaluation.shares import share_interval

NOT_DECIDED = "not decided"
SEVERAL = "several classes possible"
SEPARATOR = "; "
"""Between the classes of a prediction set and between warnings."""

CONFIDENT = 0.9


@dataclass(frozen=True)
class Decisions:
    """What a model answers for n images.

    Attributes:
        decisions: The class, or ``NOT_DECIDED``.
        sets: bool ``(n, k)``, the classes in each prediction set.
        ood_scores: float ``(n,)``.
        warnings: The reasons for not deciding, joined by ``SEPARATOR``; "" for none.
    """

    decisions: tuple[str, ...]
    sets: np.ndarray
    ood_scores: np.ndarray
    warnings: tuple[str, ...]

    @property
    def decided(self) -> np.ndarray:
        """Whether each image has a decision, bool ``(n,)``."""
        return np.array([decision != NOT_DECIDED for decision in self.decisions], bool)

    def columns(self, classes: Sequence[str]) -> dict[str, Sequence[Any]]:
        """Returns the columns of a table of predictions."""
        named = [
            SEPARATOR.join(name for name, inside in zip(classes, row, strict=True) if inside)
            for row in self.sets
        ]
        return {
            "decision": self.decisions,
            "prediction_set": named,
            "ood_score": [float(score) for score in self.ood_scores],
            "warnings": self.warnings,
        }


def measure_abstention(
    found: Decisions,
    truth: np.ndarray,
    probabilities: np.ndarray,
    classes: Sequence[str],
    groups: Sequence[str],
) -> dict[str, Any]:
    """Measures decisions on labelled images.

    Args:
        found: The decisions for n images.
        truth: True class indices, int ``(n,)``, 0..k-1.
        probabilities: float ``(n, k)``, calibrated.
        classes: The k class names.
        groups: The images' groups, n names.

    Returns:
        What ``measure_answers`` returns, and ``accuracy_of_decided``; ``coverage``, the share of
        images whose true class is in their set, "all" and by class (None without such images);
        ``set_sizes``, size -> images. Shares are ``{"value", "interval", "n"}``.
    """
    names = np.asarray(groups, dtype=str)
    right = probabilities.argmax(axis=1) == truth
    covered = found.sets[np.arange(len(truth)), truth]
    decided = found.decided
    sizes, counts = np.unique(found.sets.sum(axis=1), return_counts=True)
    return measure_answers(found, probabilities, classes, groups) | {
        "accuracy_of_decided": _share(right[decided], names[decided]),
        "coverage": {
            "all": _share(covered, names),
            "classes": {
                name: _share(covered[truth == index], names[truth == index])
                for index, name in enumerate(classes)
            },
        },
        "set_sizes": {str(size): int(count) for size, count in zip(sizes, counts, strict=True)},
    }


def measure_answers(
    found: Decisions, probabilities: np.ndarray, classes: Sequence[str], groups: Sequence[str]
) -> dict[str, Any]:
    """Measures decisions on images whose classes are not known.

    Args:
        found: The decisions for n images.
        probabilities: float ``(n, k)``, calibrated.
        classes: The k class names.
        groups: The images' groups, n names.

    Returns:
        ``n``; ``not_decided``; ``reasons``, warning -> share of images; ``mean_confidence``;
        ``confident_from``; ``answers``, by class: ``predicted``, ``mean_confidence`` of these (None
        without any), ``confident`` (a probability of ``confident_from`` or more) and
        ``confident_and_decided``. Shares
        are of all n images, ``{"value", "interval", "n"}``.
    """
    names = np.asarray(groups, dtype=str)
    confidence, predicted = probabilities.max(axis=1), probabilities.argmax(axis=1)
    confident, decided = confidence >= CONFIDENT, found.decided
    reasons = sorted({text for one in found.warnings for text in one.split(SEPARATOR) if text})
    answers = {}
    for index, name in enumerate(classes):
        this = predicted == index
        answers[name] = {
            "predicted": _share(this, names),
            "mean_confidence": float(confidence[this].mean()) if this.any() else None,
            "confident": _share(this & confident, names),
            "confident_and_decided": _share(this & confident & decided, names),
        }
    return {
        "n": len(predicted),
        "not_decided": _share(~decided, names),
        "reasons": {
            reason: _share(
                np.array([reason in one.split(SEPARATOR) for one in found.warnings]), names
            )
            for reason in reasons
        },
        "mean_confidence": float(confidence.mean()),
        "confident_from": CONFIDENT,
        "answers": answers,
    }


def _share(hits: np.ndarray, groups: np.ndarray) -> dict[str, Any] | None:
    """Returns a share of images with its 95 % interval; None without images."""
    if not len(hits):
        return None
    limits = share_interval(hits, groups)
    return {
        "value": float(hits.mean()),
        "interval": limits and list(limits),
        "n": len(hits),
    }
