"""The registry of metrics: one number for a whole test set, its label and its direction.

An entry in ``METRICS`` is computed for every classifier: it appears in metrics.json and metrics.md
with its 95 % interval, and in the comparison of runs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Metric:
    """A metric of a classifier on a test set.

    Attributes:
        function: Truth, int (n,), 0..k-1, and probabilities, float (n, k), to a value in 0..1, or
            None where it is undefined.
        label: Its name in tables, without "macro".
        macro: Whether each class counts the same, as in a macro mean; otherwise each image does.
        less_is_better: Whether a smaller value is the better one.
        compared: Whether ``compare`` has a row of it for each pair of runs.
    """

    function: Callable[[np.ndarray, np.ndarray], float | None]
    label: str
    macro: bool = True
    less_is_better: bool = False
    compared: bool = True

    @property
    def title(self) -> str:
        """Returns the label of the whole test set's value, e.g. "macro F1"."""
        return f"macro {self.label}" if self.macro else self.label


@dataclass(frozen=True)
class MaskMetric:
    """A metric of a U-Net, computed by ``segmentation.summarise``.

    Attributes:
        title: Its name in tables.
        distance: Whether it runs from 0 without an upper end, rather than from 0 to 1.
    """

    title: str
    distance: bool = False

    @property
    def less_is_better(self) -> bool:
        """Returns whether a smaller value is the better one: of distances it is."""
        return self.distance


def class_auc(truth: np.ndarray, probabilities: np.ndarray, index: int) -> float | None:
    """Returns one class's area under the ROC curve, or None where one side has no image."""
    positive = truth == index
    if positive.all() or not positive.any():
        return None
    # By ranks (Mann and Whitney): scikit-learn's function takes twenty times as long for few
    # images, and validation calls it for each class in each epoch.
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    ranks = stats.rankdata(probabilities[:, index])[positive].sum()
    return float((ranks - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))


def class_scores(truth: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, ...]:
    """Returns precision, recall, F1 and support of each class, (k,) each; 0/0 counts as 0."""
    k = probabilities.shape[1]
    predicted = probabilities.argmax(axis=1)
    right = np.bincount(truth[truth == predicted], minlength=k)
    named, support = np.bincount(predicted, minlength=k), np.bincount(truth, minlength=k)
    counts = (named, support, named + support)
    precision, recall, half_f1 = (
        np.divide(right, of, out=np.zeros(k), where=of > 0) for of in counts
    )
    return precision, recall, 2 * half_f1, support


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
    "accuracy": Metric(_accuracy, "accuracy", macro=False),
    "precision": Metric(_macro(0), "precision", compared=False),
    "recall": Metric(_macro(1), "recall", compared=False),
    "f1": Metric(_macro(2), "F1"),
    "auc": Metric(_macro_auc, "AUC"),
}

MASK_METRICS: dict[str, MaskMetric] = {
    "dice": MaskMetric("Dice"),
    "iou": MaskMetric("IoU"),
    "sensitivity": MaskMetric("sensitivity"),
    "precision": MaskMetric("precision"),
    "hd95": MaskMetric("HD95 (pixels)", distance=True),
    "assd": MaskMetric("ASSD (pixels)", distance=True),
    "hd95_mm": MaskMetric("HD95 (mm)", distance=True),
    "assd_mm": MaskMetric("ASSD (mm)", distance=True),
    "pooled_dice": MaskMetric("pooled Dice"),
    "pooled_iou": MaskMetric("pooled IoU"),
    "pooled_sensitivity": MaskMetric("pooled sensitivity"),
    "pooled_precision": MaskMetric("pooled precision"),
}

_OTHERS = {"n": "images", "support": "images", "empty_pairs": "pairs of empty masks"}
_OTHERS |= {"n_mm": "images with distances in mm"}
_OTHERS |= {"ece": "ECE", "accuracy_of_decided": "accuracy of the decisions"}

_BY_TASK: dict[str, Mapping[str, Metric | MaskMetric]] = {
    "classification": METRICS,
    "segmentation": MASK_METRICS,
}


def metric_title(task: str, key: str, of_class: bool = False) -> str:
    """Returns what tables call a number of metrics.json.

    Args:
        task: "classification" or "segmentation".
        key: The number's key; one that is no registered metric is shown with spaces.
        of_class: Whether the number is of one class's images, and so no macro mean.
    """
    metric = _BY_TASK[task].get(key)
    if metric is None:
        return _OTHERS.get(key, key.replace("_", " "))
    return metric.label if of_class and isinstance(metric, Metric) else metric.title


def less_is_better(task: str, key: str) -> bool:
    """Returns whether a smaller value of a metric is the better one; see ``metric_title``."""
    return _BY_TASK[task][key].less_is_better
