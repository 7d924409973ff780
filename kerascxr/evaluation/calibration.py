"""Calibration: whether a probability of 80% is right in 80 of 100 images, and its correction.

Logits are known from probabilities up to a constant that softmax does not see, so all of this works
on saved predictions. The temperature and the thresholds are chosen on validation images; what they
do is measured on test images.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from kerascxr.evaluation.classification import checked_predictions
from kerascxr.evaluation.operating_points import (
    SENSITIVITY,
    operating_points,
    score_operating_points,
)
from kerascxr.evaluation.shares import share_interval

BINS = 15
TEMPERATURES = (0.1, 10.0)
DEFINITIONS = {
    "ece": f"mean of |accuracy - confidence| over {BINS} bins of equal width of the most probable "
    "class's probability, weighted by the bins' images",
    "brier": "squared distance of the probabilities to 0 and 1, summed over classes, mean over "
    "images; 0..2",
    "nll": "negative natural logarithm of the true class's probability, mean over images",
}
_LEAST = float(np.finfo(np.float64).tiny)  # a probability of 0 has no logarithm

Predictions = tuple[np.ndarray, np.ndarray]
"""True class indices int (n,), and probabilities float (n, k)."""


def fit_temperature(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Finds the temperature under which predictions are likeliest; use validation images.

    Args:
        truth: True class indices, int ``(n,)``, 0..k-1.
        probabilities: Class probabilities, float ``(n, k)``, each row summing to 1.

    Returns:
        The T within ``TEMPERATURES`` for which softmax(log(probabilities) / T) has the lowest
        negative log likelihood: over 1 for an overconfident model, under 1 for a timid one. It is
        1 where every image is recognised: then the lower, the likelier, and no T is the right one.

    Raises:
        ValueError: If the shapes, labels or probabilities are not as above.

    Source:
        Guo et al., ICML 2017, section 4.2.
    """
    truth, probabilities = _checked(truth, probabilities)
    if (probabilities.argmax(axis=1) == truth).all():
        return 1.0

    def loss(log_temperature: float) -> float:
        return -_log_likelihood(truth, _logits(probabilities) / math.exp(log_temperature))

    low, high = map(math.log, TEMPERATURES)
    found = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-6})
    return math.exp(found.x)


def apply_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Returns softmax(logits / temperature) of softmax(logits); the order in a row stays.

    Args:
        probabilities: float ``(n, k)``, each row summing to 1.
        temperature: Over 0; 1 changes nothing.

    Returns:
        float64 ``(n, k)``, each row summing to 1. What was 0 is taken for the smallest number
        that is not, so a high temperature makes it very small instead.

    Raises:
        ValueError: If the temperature is not over 0 and finite.
    """
    if not (math.isfinite(temperature) and temperature > 0):
        raise ValueError(f"temperature must be over 0 and finite. Got temperature={temperature:g}.")
    return np.exp(log_softmax(_logits(np.asarray(probabilities)) / temperature, axis=1))


def reliability_curve(
    truth: np.ndarray,
    probabilities: np.ndarray,
    bins: int = BINS,
    groups: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """Compares confidence, the probability of the most probable class, with accuracy.

    Args:
        truth: True class indices, int ``(n,)``, 0..k-1.
        probabilities: Class probabilities, float ``(n, k)``, each row summing to 1.
        bins: How many bins of equal width between 0 and 1; a bin holds its upper edge.
        groups: The images' groups, n names; by default each image is one.

    Returns:
        For each bin ``over``, ``to``, ``images`` and the mean ``confidence`` and ``accuracy`` of
        these, None where there are none; ``interval`` of the accuracy ([low, high], None for fewer
        than two groups).

    Raises:
        ValueError: If an argument is not as above.
    """
    truth, probabilities = _checked(truth, probabilities)
    if bins < 1:
        raise ValueError(f"bins must be at least 1. Got bins={bins}.")
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    names = np.arange(len(truth)) if groups is None else np.asarray(groups, dtype=str)
    edges = np.linspace(0, 1, bins + 1)
    # By the inner edges, so that 1.0000001, which rounding can give, falls into the last bin.
    place = np.digitize(confidence, edges[1:-1], right=True)
    curve = []
    for index in range(bins):
        inside = place == index
        some = inside.any()
        limits = share_interval(right[inside], names[inside])
        curve.append(
            {
                "over": float(edges[index]),
                "to": float(edges[index + 1]),
                "images": int(inside.sum()),
                "confidence": float(confidence[inside].mean()) if some else None,
                "accuracy": float(right[inside].mean()) if some else None,
                "interval": limits and list(limits),
            }
        )
    return curve


def expected_calibration_error(curve: Sequence[Mapping[str, Any]]) -> float:
    """Returns the mean of |accuracy - confidence| over a ``reliability_curve``, by image.

    Source:
        Naeini et al., AAAI 2015; with bins of equal width as Guo et al., ICML 2017, section 2.
    """
    n = sum(part["images"] for part in curve)
    filled = [part for part in curve if part["images"]]
    return sum(part["images"] / n * abs(part["accuracy"] - part["confidence"]) for part in filled)


def brier_score(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Returns the squared error of the probabilities: summed over classes, mean over images; 0..2.

    Raises:
        ValueError: If the arguments are not as ``fit_temperature`` takes them.

    Source:
        Brier, Monthly Weather Review 78 (1950). Some halve it for two classes; this does not.
    """
    truth, probabilities = _checked(truth, probabilities)
    return float(((probabilities - np.eye(probabilities.shape[1])[truth]) ** 2).sum(axis=1).mean())


def negative_log_likelihood(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Returns the mean of -log(probability of the true class).

    Raises:
        ValueError: If the arguments are not as ``fit_temperature`` takes them.
    """
    truth, probabilities = _checked(truth, probabilities)
    return -_log_likelihood(truth, _logits(probabilities))


def calibrate(
    validation: Predictions, test: Predictions, classes: Sequence[str], groups: Sequence[str]
) -> dict[str, Any]:
    """Fits temperature and thresholds on validation images and measures them on test images.

    Args:
        validation: Truth and raw probabilities of the validation images.
        test: The same of the test images.
        classes: The k class names.
        groups: The test images' groups.

    Returns:
        Plain values, ready for JSON: ``temperature``; ``bounds`` of its search; ``at_bound``,
        whether the search ended at one of them; ``fitted_on``, a text; ``before`` and
        ``after``, on the test, each with ``ece``, ``brier``, ``nll`` and ``bins`` (a
        ``reliability_curve``); ``definitions`` of these; ``sensitivity``, what the thresholds were
        chosen for; ``operating_points``, as ``score_operating_points`` gives them, thresholds and
        scores being of probabilities after the temperature.

    Raises:
        ValueError: If the predictions are not as ``evaluate`` takes them.
    """
    checked_predictions(*validation, classes)
    temperature = fit_temperature(*validation)
    recognised = (validation[1].argmax(axis=1) == validation[0]).all()
    n = len(validation[0])
    fitted_on = f"{n:,} validation images, by negative log likelihood"
    if recognised:
        fitted_on = f"nothing: all {n:,} validation images are recognised, so it is left at 1"
    truth, raw = test
    served = apply_temperature(raw, temperature)
    thresholds = operating_points(
        validation[0], apply_temperature(validation[1], temperature), classes
    )
    return {
        "temperature": temperature,
        "bounds": list(TEMPERATURES),
        "at_bound": any(math.isclose(temperature, bound, rel_tol=1e-3) for bound in TEMPERATURES),
        "fitted_on": fitted_on,
        "before": _scores(truth, raw, groups),
        "after": _scores(truth, served, groups),
        "definitions": DEFINITIONS,
        "sensitivity": SENSITIVITY,
        "operating_points": score_operating_points(thresholds, truth, served, groups),
    }


def _scores(truth: np.ndarray, probabilities: np.ndarray, groups: Sequence[str]) -> dict[str, Any]:
    curve = reliability_curve(truth, probabilities, groups=groups)
    return {
        "ece": expected_calibration_error(curve),
        "brier": brier_score(truth, probabilities),
        "nll": negative_log_likelihood(truth, probabilities),
        "bins": curve,
    }


def _logits(probabilities: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(probabilities.astype(np.float64), _LEAST))


def _log_likelihood(truth: np.ndarray, logits: np.ndarray) -> float:
    return float(log_softmax(logits, axis=1)[np.arange(len(truth)), truth].mean())


def _checked(truth: np.ndarray, probabilities: np.ndarray) -> Predictions:
    shape = np.shape(probabilities)
    names = [str(index) for index in range(shape[1] if len(shape) == 2 else 2)]
    truth, probabilities, _ = checked_predictions(truth, probabilities, names)
    return truth, probabilities
