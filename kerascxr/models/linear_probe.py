"""A linear probe: a softmax regression of layer statistics, averaged with the head's answer.

What a fine-tuned head answers hangs on the last stage alone. The statistics of all frozen stages
hold much of the same and err elsewhere, so the mean of both is better than either: see
docs/design/linear-probe.md.
"""

from collections.abc import Sequence

import keras
import numpy as np
from scipy.special import softmax

from kerascxr.evaluation.logistic_regression import fit_logistic_regression
from kerascxr.models.classifier import head_logits
from kerascxr.models.layer_statistics import layer_statistics
from kerascxr.models.layers import LINEAR_PROBE, LinearProbe
from kerascxr.models.ood_detector import mean_and_deviation

_PENALTY = 0.03  # inverse strength
_ITERATIONS = 400
_TOLERANCE = 1e-3


class StatisticsRegression:
    """A softmax regression of layer statistics.

    Args:
        kernel: float32 (statistics, classes).
        bias: float32 (classes,).
    """

    def __init__(self, kernel: np.ndarray, bias: np.ndarray):
        self.kernel = kernel
        self.bias = bias

    @classmethod
    def fit(
        cls, statistics: Sequence[np.ndarray], labels: np.ndarray, balanced: bool = False
    ) -> "StatisticsRegression":
        """Fits the regression to training images and their augmented copies.

        The images as they are have half of the weight, as in training; without copies all of it.

        Args:
            statistics: Layer statistics, float (n, statistics) each: of n images as they are, then
                of their augmented copies, if there are any.
            labels: int (n,), 0..k-1, each class at least once.
            balanced: Whether each class has the same weight.
        """
        copies = len(statistics) - 1
        together = np.concatenate(statistics).astype(np.float64)
        mean, deviation = mean_and_deviation(together)
        weights = np.ones(len(together))
        weights[: len(labels)] = max(1, copies)
        weights *= len(labels) * (1 + copies) / weights.sum()
        model = fit_logistic_regression(
            (together - mean) / deviation,
            np.tile(labels, 1 + copies),
            weights,
            C=_PENALTY,
            max_iter=_ITERATIONS,
            tol=_TOLERANCE,
            class_weight="balanced" if balanced else None,
        )
        kernel, bias = model.coef_.T, model.intercept_
        if kernel.shape[1] == 1:  # of two classes scikit-learn gives the log odds of the second
            kernel, bias = np.hstack([-kernel, kernel]) / 2, np.hstack([-bias, bias]) / 2
        kernel = kernel / deviation[:, None]
        return cls(kernel.astype(np.float32), (bias - mean @ kernel).astype(np.float32))

    def probabilities(self, statistics: np.ndarray) -> np.ndarray:
        """Returns float64 (n, k) of layer statistics, float (n, statistics)."""
        logits = np.asarray(statistics, np.float64) @ self.kernel + self.bias
        return softmax(logits, axis=1)


def add_linear_probe(
    model: keras.Model, regression: StatisticsRegression, temperatures: tuple[float, float]
) -> keras.Model:
    """Adds a linear probe to a classifier.

    Args:
        model: A classifier from ``build_classifier``.
        regression: Of its layer statistics.
        temperatures: By which the head's and the regression's logits are divided.

    Returns:
        A classifier that shares the layers of ``model``. Its logits are the mean of two log
        softmaxes: of the head and of the regression.
    """
    layer = LinearProbe(name=LINEAR_PROBE, dtype="float32", trainable=False)
    logits = layer([head_logits(model), layer_statistics(model).output])
    layer.set(regression.kernel, regression.bias, temperatures)
    return keras.Model(model.input, logits, name=model.name)
