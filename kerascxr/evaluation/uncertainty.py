"""Intervals of 95 % for test metrics.

A share of images (accuracy, and precision, recall and specificity of one class) has Wilson's
interval, see ``shares.py``; so has F1, a function of such a share. The other metrics are resampled
in whole groups.

The bootstrap gives their standard error; the interval is symmetric on the logit scale (distances:
on the log scale), with Student's t for the few groups that a rare class has. Percentiles of
resamples are not used: near 1 they cover the truth far less often than they say, and not at all
where a small test shows no error. ``docs/design/intervals.md`` has the measured coverage of both.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from kerascxr.evaluation.metrics import MASK_METRICS, METRICS, Metric
from kerascxr.evaluation.resampling import (
    RESAMPLES,
    SEED,
    group_numbers,
    group_strata,
    resample,
)
from kerascxr.evaluation.segmentation import MM_MEASURES
from kerascxr.evaluation.shares import LEVEL, Interval, macro_interval, share_interval, wilson
from kerascxr.evaluation.weighted import MEASURES, weighted_scores

METHOD = (
    "shares of images and F1: Wilson on the effective number of images; other metrics: logit scale "
    "(distances: log), standard error from a stratified bootstrap of groups"
)
SEGMENTATION_MEANS = ("dice", "iou", "hd95", "assd")


class Evidence(NamedTuple):
    """What the number of groups behind a metric says of its standard error.

    Attributes:
        inflation: By how much the bootstrap's variance is too small: drawing g groups from g
            gives (g-1)/g of it.
        degrees_of_freedom: Degrees of freedom of that variance.
        groups: The number of equally informative groups that one mean over them all would need.
    """

    inflation: float
    degrees_of_freedom: float
    groups: float


class Resampled(NamedTuple):
    """A metric of a test set.

    Attributes:
        value: On the test set itself; None where undefined.
        resamples: On each resample, float64 ``(resamples,)``, NaN where undefined.
        evidence: None where some class it needs has fewer than two groups.
        limits: The interval, where ``direct``.
        direct: Whether the interval comes from counts of images and not from the resamples.
    """

    value: float | None
    resamples: np.ndarray
    evidence: Evidence | None
    limits: Interval = None
    direct: bool = False

    @property
    def variance(self) -> float:
        """Returns the squared standard error."""
        assert self.evidence is not None
        return float(np.nanvar(self.resamples)) * self.evidence.inflation


def evidence(sizes: np.ndarray, equal: bool, most: int) -> Evidence | None:
    """Combines strata.

    Args:
        sizes: Groups of each stratum that a metric depends on, int ``(strata,)``.
        equal: Whether each stratum counts the same, as in a macro mean; otherwise each counts by
            its groups, as in the accuracy, and strata of one group are passed over.
        most: All groups; a group that several strata share is no more than one.

    Source:
        Satterthwaite, Biometrics Bulletin 1946, on the degrees of freedom.
    """
    sizes = np.asarray(sizes, np.float64)
    if not equal:
        sizes = sizes[sizes > 1]
    if not len(sizes) or (sizes < 2).any():
        return None
    share = 1 / sizes if equal else sizes  # of each stratum in the variance
    return Evidence(
        float((share * sizes / (sizes - 1)).sum() / share.sum()),
        min(most - 1.0, float(share.sum() ** 2 / (share**2 / (sizes - 1)).sum())),
        min(float(most), float(len(sizes) ** 2 / share.sum() if equal else sizes.sum())),
    )


def interval(metric: Resampled, distance: bool = False) -> Interval:
    """Computes a metric's interval.

    Args:
        metric: The metric.
        distance: Whether it runs from 0 without an upper end, rather than from 0 to 1.

    Returns:
        Lower and upper end, or None where nothing can be said: the metric is undefined, a class
        has fewer than two groups, or all distances are 0.

    Source:
        The logit scale: Pepe, The Statistical Evaluation of Medical Tests, 2003, section 5.2.
        At 0 and 1, and where resamples do not differ: Wilson, JASA 1927, on the number of groups.
    """
    if metric.direct:
        return metric.limits
    value, evidence = metric.value, metric.evidence
    if value is None or evidence is None:
        return None
    variance = metric.variance
    t = float(stats.t.ppf((1 + LEVEL) / 2, evidence.degrees_of_freedom))
    if distance:
        if value <= 0:
            return None
        step = t * variance**0.5 / value
        return value * float(np.exp(-step)), value * float(np.exp(step))
    if not 0 < value < 1 or variance < 1e-15:
        return wilson(value, evidence.groups, t)
    centre, step = np.log(value / (1 - value)), t * variance**0.5 / (value * (1 - value))
    low, high = 1 / (1 + np.exp(-(centre + np.array([-step, step]))))
    return float(low), float(high)


def classification_metrics(
    truth: np.ndarray,
    probabilities: np.ndarray,
    groups: Sequence[str],
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> tuple[dict[str, Resampled], dict[str, list[Resampled]]]:
    """Resamples every metric of ``classification.evaluate``.

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
    k = probabilities.shape[1]
    score = weighted_scores(truth, probabilities)
    numbers = group_numbers(groups)
    strata = group_strata(numbers, truth)
    # A patient's images may be of several classes: all groups that hold one of a class speak of it.
    sizes = np.array([len(np.unique(numbers[truth == index])) for index in range(k)])
    present = sizes > 0
    exact = score(np.ones((len(truth), 1)))
    # What ``weighted_scores`` computes for all resamples at once, and what is computed for each.
    others = {name: metric for name, metric in METRICS.items() if name not in exact.overall}
    drawn = []
    drawn_others: dict[str, list[np.ndarray]] = {name: [] for name in others}
    for weights in resample(numbers, strata, resamples, seed):
        drawn.append(score(weights))
        for name, metric in others.items():
            drawn_others[name].append(_of_resamples(metric, truth, probabilities, weights))
    most = len(strata)
    macro = evidence(sizes[present], True, most)
    plain = evidence(sizes[present], False, most)
    limits = _class_limits(truth, probabilities.argmax(axis=1), numbers, k)
    per_class = {}
    for measure in MEASURES:
        values = np.concatenate([piece.per_class[measure] for piece in drawn], axis=1)  # (k, b)
        per_class[measure] = [
            Resampled(
                _value(exact.per_class[measure][index, 0]),
                values[index],
                evidence(np.delete(sizes, index), False, most)
                if measure == "specificity"
                else evidence(sizes[[index]], True, most),
                limits.get(measure, [None] * k)[index],
                measure in limits,
            )
            for index in range(k)
        ]
    overall = {
        measure: Resampled(
            _value(exact.overall[measure][0]),
            np.concatenate([piece.overall[measure] for piece in drawn]),
            plain if measure == "accuracy" else macro,
        )
        for measure in exact.overall
    }
    right = probabilities.argmax(axis=1) == truth
    overall["accuracy"] = overall["accuracy"]._replace(
        limits=share_interval(right, numbers), direct=True
    )
    for measure in ("precision", "recall", "f1"):
        of_classes = [per_class[measure][index] for index in np.flatnonzero(present)]
        overall[measure] = overall[measure]._replace(
            limits=macro_interval(
                [(metric.value, metric.limits) for metric in of_classes], interval(overall[measure])
            ),
            direct=True,
        )
    for name, metric in others.items():
        overall[name] = Resampled(
            metric.function(truth, probabilities),
            np.concatenate(drawn_others[name]),
            macro if metric.macro else plain,
        )
    return overall, per_class


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
        **{measure: interval(metric) for measure, metric in overall.items()},
        "per_class": {
            name: {measure: interval(per_class[measure][index]) for measure in MEASURES}
            for index, name in enumerate(classes)
        },
        **_description(groups, resamples),
    }


def segmentation_metrics(
    rows: Sequence[dict[str, Any]], resamples: int = RESAMPLES, seed: int = SEED
) -> dict[str, Resampled]:
    """Resamples the means over images, and the pooled Dice.

    Args:
        rows: One dict an image: ``group``, what ``segmentation.score_image`` gives, and ``label``
            where the images have classes; as in predictions.csv.
        resamples: How many.
        seed: Of the draw.

    Returns:
        Measure -> its resamples; the distances in mm are among them where a row has them.
    """
    numbers = group_numbers([str(row["group"]) for row in rows])
    labels = group_numbers([str(row.get("label", "")) for row in rows])
    strata = group_strata(numbers, labels)
    sizes = np.bincount(strata)
    score = _weighted_means(rows)
    exact = score(np.ones((len(rows), 1)))
    drawn = np.concatenate(
        [score(weights) for weights in resample(numbers, strata, resamples, seed)], axis=1
    )
    return {
        measure: Resampled(
            _value(exact[index, 0]), drawn[index], evidence(sizes, False, len(strata))
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
        **{name: interval(metric, MASK_METRICS[name].distance) for name, metric in metrics.items()},
        **_description(groups, resamples),
    }


def _means(rows: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    in_mm = any(row.get(MM_MEASURES[0]) is not None for row in rows)
    return SEGMENTATION_MEANS + (MM_MEASURES if in_mm else ())


def _weighted_means(rows: Sequence[dict[str, Any]]) -> Callable[[np.ndarray], np.ndarray]:
    """Prepares (measures, b) of weights (n, b): each measure is a ratio of two weighted sums."""
    parts, wholes = [], []
    for measure in _means(rows):
        values = [row.get(measure) for row in rows]
        parts.append([0.0 if value is None else value for value in values])
        wholes.append([value is not None for value in values])
    parts.append([2 * row["overlap_pixels"] for row in rows])
    wholes.append([row["truth_pixels"] + row["predicted_pixels"] for row in rows])
    part, whole = np.array(parts, np.float64), np.array(wholes, np.float64)  # (measures, n)
    # Without any pixel the pooled masks are empty and agree; without any distance there is no mean.
    otherwise = np.array([np.nan] * len(parts[:-1]) + [1.0])[:, None]

    def score(weights: np.ndarray) -> np.ndarray:
        below = whole @ weights
        return np.where(below > 0, (part @ weights) / np.where(below > 0, below, 1), otherwise)

    return score


def _description(groups: Sequence[str], resamples: int) -> dict[str, Any]:
    return {
        "level": LEVEL,
        "method": METHOD,
        "resamples": resamples,
        "groups": len(set(groups)),
    }


def _value(number: float) -> float | None:
    return None if np.isnan(number) else float(number)
