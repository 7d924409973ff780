"""Intervals of 95 % for test metrics.

A share of images (accuracy, and precision, recall and specificity of one class) has a modified
Wilson interval, see ``shares.py``; so has F1, a function of such a share. One class's AUC has
Newcombe's, a mean over images that of a studentised bootstrap, and a macro metric the combination
of its classes' intervals. Resamples of whole groups say how metrics are correlated.
``docs/design/intervals.md`` has the measured coverage.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.special import expit, logit, stdtrit

from kerascxr.evaluation.auc_intervals import auc_interval
from kerascxr.evaluation.combined_intervals import macro_interval
from kerascxr.evaluation.mean_intervals import mean_interval
from kerascxr.evaluation.metrics import MASK_METRICS, METRICS, Metric
from kerascxr.evaluation.resampling import (
    RESAMPLES,
    SEED,
    group_numbers,
    group_strata,
    resample,
)
from kerascxr.evaluation.segmentation import MM_MEASURES
from kerascxr.evaluation.shares import LEVEL, Interval, share_interval, wilson
from kerascxr.evaluation.weighted import MEASURES, Scores, weighted_scores

METHOD = (
    "shares of images and F1: modified Wilson; AUC: Newcombe's score interval; macro: combined "
    "from the classes; means over images: studentised bootstrap; all on the effective number of "
    "images"
)
SEGMENTATION_MEANS = ("dice", "iou", "hd95", "assd")
_SHARES = ("accuracy", "precision", "recall", "f1")


class Resampled(NamedTuple):
    """A metric of a test set.

    Attributes:
        value: On the test set itself; None where undefined.
        interval: Its 95 % interval; None where the images are too few for one.
        resamples: On each resample, float64 ``(resamples,)``, NaN where undefined; they say how two
            metrics of the same images are correlated.
        groups: The number of groups of a share of images, or of a macro metric of shares; None for
            other metrics.
    """

    value: float | None
    interval: Interval
    resamples: np.ndarray
    groups: int | None = None


def classification_metrics(
    truth: np.ndarray,
    probabilities: np.ndarray,
    groups: Sequence[str],
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> tuple[dict[str, Resampled], dict[str, list[Resampled]]]:
    """Computes every metric of ``classification.evaluate`` with its interval.

    Args:
        truth: True class indices, int ``(n,)``, 0..k-1.
        probabilities: Class probabilities, float ``(n, k)``, each row summing to 1.
        groups: The images' groups, n names.
        resamples: How many.
        seed: Of the draw.

    Returns:
        ``accuracy`` and the macro metrics; and the metrics of each class, in class order.
    """
    truth, probabilities = np.asarray(truth), np.asarray(probabilities, np.float64)
    score = weighted_scores(truth, probabilities)
    numbers = group_numbers(groups)
    strata = group_strata(numbers, truth)
    exact = score(np.ones((len(truth), 1)))
    # What ``weighted_scores`` computes for all resamples at once, and what is computed for each.
    others = {name: metric for name, metric in METRICS.items() if name not in exact.overall}
    drawn = []
    drawn_others: dict[str, list[np.ndarray]] = {name: [] for name in others}
    for weights in resample(numbers, strata, resamples, seed):
        drawn.append(score(weights))
        for name, metric in others.items():
            drawn_others[name].append(_of_resamples(metric, truth, probabilities, weights))
    per_class = _per_class(truth, probabilities, numbers, exact, drawn)
    present = np.unique(truth)
    right = probabilities.argmax(axis=1) == truth
    count = len(strata)
    sizes = np.array([len(np.unique(numbers[truth == index])) for index in present])
    overall = {}
    for measure in exact.overall:
        values = np.concatenate([piece.overall[measure] for piece in drawn])
        if measure == "accuracy":
            limits = share_interval(right, numbers)
        else:
            of_classes = [per_class[measure][index] for index in present]
            if measure == "auc":  # a class that is alone has no AUC, and is not averaged
                of_classes = [metric for metric in of_classes if metric.value is not None]
            limits = macro_interval(
                [metric.value for metric in of_classes],
                [metric.interval for metric in of_classes],
                np.array([metric.resamples for metric in of_classes]),
                _resampled_interval(_value(exact.overall[measure][0]), values, sizes),
            )
        overall[measure] = Resampled(
            _value(exact.overall[measure][0]),
            limits,
            values,
            count if measure in _SHARES else None,
        )
    for name, metric in others.items():
        value, values = metric.function(truth, probabilities), np.concatenate(drawn_others[name])
        limits = _resampled_interval(value, values, sizes if metric.macro else np.array([count]))
        if value in (0, 1) and count > 1:  # resamples have no variance
            limits = wilson(float(value), count)
        overall[name] = Resampled(value, limits, values)
    return overall, per_class


def _per_class(
    truth: np.ndarray,
    probabilities: np.ndarray,
    groups: np.ndarray,
    exact: Scores,
    drawn: Sequence[Scores],
) -> dict[str, list[Resampled]]:
    """Puts together the metrics of each class, in class order."""
    k = probabilities.shape[1]
    limits = _class_limits(truth, probabilities.argmax(axis=1), groups, k)
    limits["auc"] = [
        None
        if np.isnan(exact.per_class["auc"][index, 0])
        else auc_interval(truth == index, probabilities[:, index], groups)
        for index in range(k)
    ]
    found = {}
    for measure in MEASURES:
        values = np.concatenate([piece.per_class[measure] for piece in drawn], axis=1)  # (k, b)
        found[measure] = [
            Resampled(
                _value(exact.per_class[measure][index, 0]),
                limits[measure][index],
                values[index],
                len(np.unique(groups[truth == index])) if measure == "recall" else None,
            )
            for index in range(k)
        ]
    return found


def _resampled_interval(value: float | None, resamples: np.ndarray, sizes: np.ndarray) -> Interval:
    """Computes an interval from resamples alone.

    Args:
        value: The metric, 0..1.
        resamples: On each resample.
        sizes: The number of groups of each class, or of all images together.

    Returns:
        On the logit scale, with Student's t; None where the metric is undefined, 0 or 1, resamples
        do not differ, or a class has fewer than two groups.

    Source:
        Pepe, The Statistical Evaluation of Medical Tests, 2003, section 5.2.
    """
    if value is None or not 0 < value < 1 or sizes.min() < 2:
        return None
    # Drawing g groups from g gives (g - 1) / g of the variance.
    error = float(np.nanvar(resamples) * (sizes / (sizes - 1)).mean()) ** 0.5
    if error < 1e-9:
        return None
    step = float(stdtrit((sizes - 1).sum(), (1 + LEVEL) / 2)) * error / (value * (1 - value))
    return float(expit(logit(value) - step)), float(expit(logit(value) + step))


def _class_limits(
    truth: np.ndarray, predicted: np.ndarray, groups: np.ndarray, k: int
) -> dict[str, list[Interval]]:
    """Computes the intervals of each class's shares and F1, in class order."""
    limits: dict[str, list[Interval]] = {
        "precision": [],
        "recall": [],
        "f1": [],
        "specificity": [],
    }
    for index in range(k):
        of_class, taken = truth == index, predicted == index
        for measure, members, wanted in (
            ("precision", taken, of_class),
            ("recall", of_class, taken),
            ("specificity", ~of_class, ~taken),
        ):
            limits[measure].append(share_interval(wanted[members], groups[members]))
        # F1 is 2 J / (1 + J), where J is the share of hits among images of or taken for the class.
        either = of_class | taken
        jaccard = share_interval((of_class & taken)[either], groups[either])
        limits["f1"].append(
            None
            if jaccard is None or not of_class.any()
            else (2 * jaccard[0] / (1 + jaccard[0]), 2 * jaccard[1] / (1 + jaccard[1]))
        )
    return limits


def _of_resamples(
    metric: Metric, truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Computes a metric for each column of weights, float64 (b,); NaN where it is undefined."""
    values = []
    for column in weights.T:
        rows = np.repeat(np.arange(len(truth)), column.astype(int))
        value = metric.function(truth[rows], probabilities[rows])
        values.append(np.nan if value is None else value)
    return np.array(values)


def classification_intervals(
    truth: np.ndarray,
    probabilities: np.ndarray,
    classes: Sequence[str],
    groups: Sequence[str],
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> dict[str, Any]:
    """Computes the intervals of every metric of ``classification.evaluate``.

    Args:
        truth: True class indices, int ``(n,)``, 0..k-1.
        probabilities: Class probabilities, float ``(n, k)``, each row summing to 1.
        classes: The k class names.
        groups: The images' groups, n names; as many as images where none belong together.
        resamples: How many.
        seed: Of the draw.

    Returns:
        Ready for JSON: each overall metric -> (low, high) or None; ``per_class`` (name -> metric ->
        the same); ``level``, ``method``, ``resamples`` and ``groups`` (how many).
    """
    overall, per_class = classification_metrics(truth, probabilities, groups, resamples, seed)
    return {
        **{measure: metric.interval for measure, metric in overall.items()},
        "per_class": {
            name: {measure: per_class[measure][index].interval for measure in MEASURES}
            for index, name in enumerate(classes)
        },
        **_description(groups, resamples),
    }


def segmentation_metrics(
    rows: Sequence[dict[str, Any]], resamples: int = RESAMPLES, seed: int = SEED
) -> dict[str, Resampled]:
    """Computes the means over images, and the pooled Dice, with their intervals.

    Args:
        rows: One dict an image: ``group`` and what ``segmentation.score_image`` gives; as in
            predictions.csv.
        resamples: How many.
        seed: Of the draw.

    Returns:
        Measure -> its value and interval; the distances in mm are among them where a row has them.
    """
    numbers = group_numbers([str(row["group"]) for row in rows])
    strata = np.zeros(numbers.max() + 1, np.int64)
    first = np.unique(numbers, return_index=True)[1]  # an image of each group
    part, whole = _parts_and_wholes(rows)
    # Without any pixel the pooled masks are empty and agree; without any distance there is no mean.
    otherwise = np.array([np.nan] * (len(part) - 1) + [1.0])[:, None]

    def score(weights: np.ndarray) -> np.ndarray:
        below = whole @ weights
        return np.where(below > 0, (part @ weights) / np.where(below > 0, below, 1), otherwise)

    exact = score(np.ones((len(rows), 1)))
    drawn = list(resample(numbers, strata, resamples, seed))
    counts = np.concatenate([weights[first] for weights in drawn], axis=1)
    values = np.concatenate([score(weights) for weights in drawn], axis=1)
    return {
        measure: Resampled(
            _value(exact[index, 0]),
            mean_interval(
                np.bincount(numbers, part[index]),
                np.bincount(numbers, whole[index]),
                counts,
                MASK_METRICS[measure].distance,
            ),
            values[index],
        )
        for index, measure in enumerate((*_means(rows), "pooled_dice"))
    }


def segmentation_intervals(
    rows: Sequence[dict[str, Any]], resamples: int = RESAMPLES, seed: int = SEED
) -> dict[str, Any]:
    """Computes the intervals of the means over images, and of the pooled Dice.

    Args:
        rows: As ``segmentation_metrics``.
        resamples: How many.
        seed: Of the draw.

    Returns:
        Ready for JSON: measure -> (low, high) or None; ``level``, ``method``, ``resamples`` and
        ``groups``.
    """
    metrics = segmentation_metrics(rows, resamples, seed)
    groups = [str(row["group"]) for row in rows]
    return {
        **{name: metric.interval for name, metric in metrics.items()},
        **_description(groups, resamples),
    }


def _means(rows: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    in_mm = any(row.get(MM_MEASURES[0]) is not None for row in rows)
    return SEGMENTATION_MEANS + (MM_MEASURES if in_mm else ())


def _parts_and_wholes(rows: Sequence[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """Returns (measures, n) twice: each measure is a ratio of two sums over images."""
    parts, wholes = [], []
    for measure in _means(rows):
        values = [row.get(measure) for row in rows]
        parts.append([0.0 if value is None else value for value in values])
        wholes.append([float(value is not None) for value in values])
    parts.append([2 * row["overlap_pixels"] for row in rows])
    wholes.append([row["truth_pixels"] + row["predicted_pixels"] for row in rows])
    return np.array(parts, np.float64), np.array(wholes, np.float64)


def _description(groups: Sequence[str], resamples: int) -> dict[str, Any]:
    return {
        "level": LEVEL,
        "method": METHOD,
        "resamples": resamples,
        "groups": len(set(groups)),
    }


def _value(number: float) -> float | None:
    return None if np.isnan(number) else float(number)
