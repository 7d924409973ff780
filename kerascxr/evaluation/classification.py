"""Classification metrics on saved predictions, as scikit-learn defines them.

A class that has no image in the truth has no recall, F1 and AUC, so it gets ``None`` there, is left
out of every macro average, and is listed under ``absent_classes``.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn import metrics

from kerascxr.evaluation.metrics import METRICS, class_auc, class_scores

ROW_SUM_TOLERANCE = 1e-3


class Curve(NamedTuple):
    """One class's curve, one class against the rest.

    Attributes:
        x: False positive rate (ROC) or recall (precision-recall), float64 ``(points,)``, in [0, 1].
        y: True positive rate (ROC) or precision (precision-recall), same shape and range.
        area: AUC (ROC) or average precision (precision-recall), in [0, 1].
        chance: The area that guessing gets: 0.5 (ROC) or the class's share (precision-recall).
    """

    x: np.ndarray
    y: np.ndarray
    area: float
    chance: float


def evaluate(
    truth: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]
) -> dict[str, Any]:
    """Scores predictions; the predicted class is the most probable one, the first at a tie.

    Args:
        truth: True class indices, int ``(n,)``, 0..k-1.
        probabilities: Class probabilities, float ``(n, k)``, 0..1, each row summing to 1.
        classes: The k class names, in the order of the columns.

    Returns:
        Plain numbers, strings, lists and None, ready for JSON: ``n``; each metric of ``METRICS``
        (macro metrics are the plain mean over the classes present in the truth); ``per_class``
        (name -> precision, recall, f1, auc, specificity, support);
        ``absent_classes``; ``classes``; ``confusion_matrix`` (counts; a row is a true class).
        The precision of a class that is never predicted is None; the macro precision counts it as
        0, as scikit-learn does. ``recall`` and ``f1`` of a class with no image are None, ``auc``
        and ``specificity`` where they are undefined: a class with no image, or with every image.

    Raises:
        ValueError: If shapes, labels, names or probabilities are not as above.

    Source:
        scikit-learn's ``precision_recall_fscore_support`` and ``roc_auc_score``; the macro
        one-vs-rest AUC is that of Provost and Domingos, 2000, without weights.
    """
    truth, probabilities, names = checked_predictions(truth, probabilities, classes)
    k = len(names)
    predicted = probabilities.argmax(axis=1)
    matrix = metrics.confusion_matrix(truth, predicted, labels=range(k))  # (k, k)
    precision, recall, f1, support = class_scores(truth, probabilities)
    return {
        "n": len(truth),
        **{name: metric.function(truth, probabilities) for name, metric in METRICS.items()},
        "per_class": {
            name: {
                "precision": float(precision[index]) if matrix[:, index].any() else None,
                "recall": float(recall[index]) if support[index] else None,
                "f1": float(f1[index]) if support[index] else None,
                "auc": class_auc(truth, probabilities, index),
                "specificity": _specificity(matrix, index),
                "support": int(support[index]),
            }
            for index, name in enumerate(names)
        },
        "absent_classes": [name for name, images in zip(names, support, strict=True) if not images],
        "classes": names,
        "confusion_matrix": matrix.tolist(),
    }


def roc_curves(
    truth: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]
) -> dict[str, Curve]:
    """Computes each class's ROC curve, the class against the rest.

    Args:
        truth: True class indices, int ``(n,)``, 0..k-1.
        probabilities: Class probabilities, float ``(n, k)``, each row summing to 1.
        classes: The k class names.

    Returns:
        Class name -> curve, in class order, of those classes that have images and are not alone.

    Raises:
        ValueError: As ``evaluate``.
    """
    truth, probabilities, names = checked_predictions(truth, probabilities, classes)
    curves = {}
    for index, name in enumerate(names):
        positive, score = truth == index, probabilities[:, index]
        auc = class_auc(truth, probabilities, index)
        if auc is not None:
            false_positive_rate, true_positive_rate, _ = metrics.roc_curve(positive, score)
            curves[name] = Curve(false_positive_rate, true_positive_rate, auc, 0.5)
    return curves


def precision_recall_curves(
    truth: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]
) -> dict[str, Curve]:
    """Computes each class's precision-recall curve, the class against the rest.

    The area is the average precision, a sum of steps: joining the points by straight lines would
    flatter the model, so the curve is to be drawn in steps too.

    Args:
        truth: True class indices, int ``(n,)``, 0..k-1.
        probabilities: Class probabilities, float ``(n, k)``, each row summing to 1.
        classes: The k class names.

    Returns:
        Class name -> curve with falling recall, in class order, of those classes that have images.

    Raises:
        ValueError: As ``evaluate``.

    Source:
        Davis and Goadrich, ICML 2006, on interpolation in precision-recall space.
    """
    truth, probabilities, names = checked_predictions(truth, probabilities, classes)
    curves = {}
    for index, name in enumerate(names):
        positive, score = truth == index, probabilities[:, index]
        if positive.any():
            precision, recall, _ = metrics.precision_recall_curve(
                positive, score, drop_intermediate=True
            )
            area = float(metrics.average_precision_score(positive, score))
            curves[name] = Curve(recall, precision, area, float(positive.mean()))
    return curves


def _specificity(matrix: np.ndarray, index: int) -> float | None:
    """Returns the share of the other classes' images not taken for this class, or None."""
    negatives = matrix.sum() - matrix[index].sum()
    if negatives == 0:
        return None
    false_positives = matrix[:, index].sum() - matrix[index, index]
    return float(1 - false_positives / negatives)


def checked_predictions(
    truth: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Returns the three as int64, float64 and list of str.

    Raises:
        ValueError: If shapes, labels, names or probabilities are not as ``evaluate`` takes them.
    """
    truth, probabilities = np.asarray(truth), np.asarray(probabilities)
    if isinstance(classes, str):
        raise ValueError(f"classes must be a sequence of names. Got classes={classes!r}.")
    names = [str(name) for name in classes]
    if len(names) < 2 or len(set(names)) < len(names):
        raise ValueError(f"classes must be two or more different names. Got classes={names}.")
    if truth.ndim != 1 or len(truth) == 0:
        raise ValueError(f"truth must be of shape (n,) with n > 0. Got shape={truth.shape}.")
    if truth.dtype.kind not in "iu":
        raise ValueError(f"truth must be integer class indices. Got dtype={truth.dtype}.")
    wrong = truth[(truth < 0) | (truth >= len(names))]
    if wrong.size:
        raise ValueError(f"truth must be in 0..{len(names) - 1}. Got label={int(wrong[0])}.")
    if probabilities.shape != (len(truth), len(names)):
        raise ValueError(
            "probabilities must be of shape (images, classes) = "
            f"({len(truth)}, {len(names)}). Got shape={probabilities.shape}."
        )
    if probabilities.dtype.kind not in "fiu":
        raise ValueError(f"probabilities must be real numbers. Got dtype={probabilities.dtype}.")
    probabilities = probabilities.astype(np.float64)
    if not np.isfinite(probabilities).all():
        row = int(np.flatnonzero(~np.isfinite(probabilities).all(axis=1))[0])
        raise ValueError(
            f"probabilities must be finite. Got row {row}={_shown(probabilities[row])}."
        )
    sums = probabilities.sum(axis=1)
    # Softmax in float16 may leave a negative zero or 1.0005, never more than the tolerance.
    bad = (np.abs(sums - 1) > ROW_SUM_TOLERANCE) | (probabilities < -ROW_SUM_TOLERANCE).any(axis=1)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise ValueError(
            "probabilities must be 0 or more and sum to 1 in each row (logits need a softmax). "
            f"Got row {row}={_shown(probabilities[row])}."
        )
    return truth.astype(np.int64), probabilities, names


def _shown(row: np.ndarray) -> str:
    """Formats a row of numbers on one line, its first six entries."""
    shown = ", ".join(f"{value:.4g}" for value in row[:6])
    return f"[{shown}{', ...' if len(row) > 6 else ''}]"
