"""Classification metrics of many weighted copies of one test set at once.

A weight says how often an image counts, so that a bootstrap resample is a column of weights, and
its metrics are those that ``classification.evaluate`` gives for the images so repeated.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

MEASURES = ("precision", "recall", "f1", "auc", "specificity")


class Scores(NamedTuple):
    """Metrics of b weightings; NaN where undefined.

    Attributes:
        overall: ``accuracy``, and macro ``precision``, ``recall``, ``f1`` and ``auc``, float64
            ``(b,)`` each.
        per_class: ``precision``, ``recall``, ``f1``, ``auc``, ``specificity``, float64 ``(k, b)``.
    """

    overall: dict[str, np.ndarray]
    per_class: dict[str, np.ndarray]


def weighted_scores(truth: np.ndarray, probabilities: np.ndarray) -> Callable[[np.ndarray], Scores]:
    """Prepares the scoring of one test set under many weightings; scores are sorted here, once.

    Args:
        truth: True class indices, int ``(n,)``, 0..k-1.
        probabilities: Class probabilities, float ``(n, k)``.

    Returns:
        A function of weights, float64 ``(n, b)``, whole numbers of 0 or more.
    """
    n, k = probabilities.shape
    cells = np.zeros((n, k * k))  # which cell of the confusion matrix each image falls in
    cells[np.arange(n), truth * k + probabilities.argmax(axis=1)] = 1
    ranks = [_Ranking(truth == index, probabilities[:, index]) for index in range(k)]

    def score(weights: np.ndarray) -> Scores:
        matrices = (cells.T @ weights).reshape(k, k, -1)  # (truth, predicted, b)
        hits = np.einsum("iib->ib", matrices)  # (k, b)
        true, predicted = matrices.sum(axis=1), matrices.sum(axis=0)
        total = true.sum(axis=0)  # (b,)
        present = true > 0
        negatives = total - true
        per_class = {
            "precision": _ratio(hits, predicted, np.nan),
            "recall": _ratio(hits, true, np.nan),
            "f1": np.where(present, _ratio(2 * hits, true + predicted), np.nan),
            "auc": np.stack([rank.auc(weights) for rank in ranks]),
            "specificity": 1 - _ratio(predicted - hits, negatives, np.nan),
        }
        overall = {"accuracy": hits.sum(axis=0) / total}
        for measure in ("precision", "recall", "f1"):
            values = np.where(present, np.nan_to_num(per_class[measure]), 0)
            overall[measure] = values.sum(axis=0) / present.sum(axis=0)
        aucs = per_class["auc"]
        defined = ~np.isnan(aucs)
        overall["auc"] = _ratio(
            np.where(defined, aucs, 0).sum(axis=0), defined.sum(axis=0).astype(float), np.nan
        )
        return Scores(overall, per_class)

    return score


class _Ranking:
    """One class's scores in rising order, in runs.

    The AUC is the share of pairs (positive, negative) in which the positive has the higher score,
    a tie counting half. Only the order between positives and negatives matters, so neighbours of
    one kind are one run; images of equal score and different kind share a run, too.
    """

    def __init__(self, positive: np.ndarray, score: np.ndarray):
        self._order = np.argsort(score, kind="stable")
        self._positive = positive[self._order, None]  # (n, 1)
        _, tie, sizes = np.unique(score[self._order], return_inverse=True, return_counts=True)
        share = np.bincount(tie, self._positive[:, 0]) / sizes  # of positives, by distinct score
        mixed = (share > 0) & (share < 1)
        first = np.r_[True, mixed[1:] | mixed[:-1] | (share[1:] != share[:-1])]
        self._starts = (np.cumsum(sizes) - sizes)[first]

    def auc(self, weights: np.ndarray) -> np.ndarray:
        """Returns the AUC of each column of weights, float64 ``(b,)``; NaN where undefined."""
        ordered = weights[self._order]  # (n, b)
        positive = np.add.reduceat(ordered * self._positive, self._starts, axis=0)  # (runs, b)
        negative = np.add.reduceat(ordered, self._starts, axis=0) - positive
        below = negative.cumsum(axis=0) - negative / 2
        pairs = positive.sum(axis=0) * negative.sum(axis=0)
        return _ratio((positive * below).sum(axis=0), pairs, np.nan)


def _ratio(part: np.ndarray, whole: np.ndarray, otherwise: float = 0.0) -> np.ndarray:
    """Divides; ``otherwise`` where the denominator is 0."""
    return np.divide(part, whole, out=np.full(whole.shape, otherwise), where=whole > 0)
