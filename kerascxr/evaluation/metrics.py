"""The registry of classification metrics: one number for a whole test set.

An entry in ``METRICS`` is computed for every classifier: it appears in metrics.json and metrics.md
with its 95 % interval, and in comparisons of validation epochs.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sklearn import metrics


@dataclass(frozen=True)
class Metric:
    """A metric of a classifier on a test set.

    Attributes:
        function: Truth, int (n,), 0..k-1, and probabilities, float (n, k), to a value in 0..1, or
            None where it is undefined.
        macro: Whether each class counts the same, as in a macro mean; otherwise each image does.
    """

    function: Callable[[np.ndarray, np.ndarray], float | None]
    macro: bool = True


def class_auc(truth: np.ndarray, probabilities: np.ndarray, index: int) -> float | None:
    """Returns one class's area under the ROC curve, or None where one side has no image."""
    positive = truth == index
    if positive.all() or not positive.any():
        return None
    return float(metrics.roc_auc_score(positive, probabilities[:, index]))


def class_scores(truth: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, ...]:
    """Returns precision, recall, F1 and support of each class, (k,) each; 0/0 counts as 0."""
    k = probabilities.shape[1]
    return metrics.precision_recall_fscore_support(
        truth, probabilities.argmax(axis=1), labels=range(k), zero_division=0
    )


def _accuracy(truth: np.ndarray, probabilities: np.ndarray) -> float:
    return float((probabilities.argmax(axis=1) == truth).mean())


def _macro(number: int) -> Callable[[np.ndarray, np.ndarray], float]:
    """The mean of a score of ``class_scores`` over the classes with images."""

    def mean(truth: np.ndarray, probabilities: np.ndarray) -> float:
        scores = class_scores(truth, probabilities)
        return float(scores[number][scores[3] > 0].mean())

    return mean


def _macro_auc(truth: np.ndarray, probabilities: np.ndarray) -> float | None:
    k = probabilities.shape[1]
    aucs = [class_auc(truth, probabilities, index) for index in range(k)]
    defined = [auc for auc in aucs if auc is not None]
    return float(np.mean(defined)) if defined else None


METRICS: dict[str, Metric] = {
    "accuracy": Metric(_accuracy, macro=False),
    "precision": Metric(_macro(0)),
    "recall": Metric(_macro(1)),
    "f1": Metric(_macro(2)),
    "auc": Metric(_macro_auc),
}
