"""An out-of-distribution score: how unlike the training images an image is.

Two parts, both of the statistics of a backbone's layers (see ``layer_statistics``):

- the distance to the nearest training images in one late layer: what an image shows;
- a classifier of all layers that separates training images from altered copies of themselves
  (blurred, noisy, compressed, ...): how an image was made.

Each part is standardised by validation images. The score is the larger one of the two.

Source:
    Sun et al., ICML 2022, on nearest neighbours; Lee et al., NeurIPS 2018, on several layers;
    Hendrycks et al., ICLR 2019 ("outlier exposure"), on training against outliers, which are
    altered training images here.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from kerascxr.evaluation.logistic_regression import fit_logistic_regression

FALSE_ALARMS = 0.06
"""Share of images like the validation images whose score is over the limit, at most."""

_NEIGHBOURS = 5
_LEAST = 1e-6
_LEAST_SHARE = 1e-3  # of a mean, for its deviation
_PENALTY = 0.03  # inverse strength of the regression's penalty
_ITERATIONS = 200


@dataclass(frozen=True)
class OODDetector:
    """A score of layer statistics, and its limit.

    Attributes:
        begin: The first of the m statistics that the distance is of.
        mean: float32 (m,), of the training images.
        deviation: float32 (m,), of the training images.
        known: float32 (images, m), statistics of training images, standardised by both.
        weights: float32 (n,), of the classifier of all n statistics.
        bias: Its bias.
        centres: float32 (2,), the validation images' mean of the log distance and of the log odds.
        scales: float32 (2,), their deviations.
        limit: The largest score without a warning.
    """

    begin: int
    mean: np.ndarray
    deviation: np.ndarray
    known: np.ndarray
    weights: np.ndarray
    bias: float
    centres: np.ndarray
    scales: np.ndarray
    limit: float

    @classmethod
    def fit(
        cls,
        training: np.ndarray,
        altered: np.ndarray,
        validation: np.ndarray,
        sizes: Sequence[int],
    ) -> "OODDetector":
        """Fits both parts to training images, and the limit to validation images.

        Args:
            training: float (images, n), layer statistics.
            altered: float (copies, n), of altered copies.
            validation: float (images, n); see ``limit_for``.
            sizes: How many of the n statistics each layer has.
        """
        begin, size = _distance_layer(sizes)
        layer = training[:, begin : begin + size].astype(np.float64)
        mean, deviation = mean_and_deviation(layer)
        weights, bias = _regression(training, altered)
        raw = cls(
            begin,
            mean.astype(np.float32),
            deviation.astype(np.float32),
            ((layer - mean) / deviation).astype(np.float32),
            weights,
            bias,
            np.zeros(2, np.float32),
            np.ones(2, np.float32),
            math.inf,
        )
        parts = raw._parts(tf.constant(validation, tf.float32)).numpy()
        found = dataclasses.replace(
            raw, centres=parts.mean(axis=0), scales=parts.std(axis=0) + np.float32(_LEAST)
        )
        scores = found.score(tf.constant(validation, tf.float32)).numpy()
        return dataclasses.replace(found, limit=limit_for(scores))

    def score(self, statistics: tf.Tensor) -> tf.Tensor:
        """Returns float32 (batch,) of layer statistics, float32 (batch, n)."""
        return tf.reduce_max((self._parts(statistics) - self.centres) / self.scales, axis=1)

    def _parts(self, statistics: tf.Tensor) -> tf.Tensor:
        """Returns float32 (batch, 2): the log distance and the log odds."""
        layer = statistics[:, self.begin : self.begin + len(self.mean)]
        layer = (layer - self.mean) / self.deviation
        squared = tf.reduce_sum(layer**2, axis=1, keepdims=True)
        squared += tf.reduce_sum(tf.constant(self.known) ** 2, axis=1)
        squared -= 2 * tf.linalg.matmul(layer, self.known, transpose_b=True)
        nearest, _ = tf.math.top_k(-squared, min(_NEIGHBOURS, len(self.known)), sorted=False)
        distance = tf.reduce_mean(tf.sqrt(tf.maximum(-nearest, 0.0)), axis=1)
        odds = tf.linalg.matvec(statistics, self.weights) + self.bias
        return tf.stack([tf.math.log(distance + _LEAST), odds], axis=1)


def limit_for(scores: np.ndarray, false_alarms: float = FALSE_ALARMS) -> float:
    """Returns the limit that an image like these exceeds with at most a stated probability.

    Args:
        scores: float (n,), of validation images.
        false_alarms: The probability, for n of at least 1 / probability - 1; with fewer images the
            limit is the largest score.

    Source:
        Vovk et al., Algorithmic Learning in a Random World, 2005, on exchangeable scores.
    """
    rank = math.ceil((len(scores) + 1) * (1 - false_alarms) - 1e-9)
    return float(np.sort(scores)[min(rank, len(scores)) - 1])


def _distance_layer(sizes: Sequence[int]) -> tuple[int, int]:
    """Returns begin and size of the layer before the last; of the last one if there is one only."""
    place = max(len(sizes) - 2, 0)
    return sum(sizes[:place]), sizes[place]


def _regression(training: np.ndarray, altered: np.ndarray) -> tuple[np.ndarray, float]:
    """Fits a logistic regression of altered copies against training images."""
    together = np.concatenate([training, altered]).astype(np.float64)
    is_altered = np.repeat([0, 1], [len(training), len(altered)])
    mean, deviation = mean_and_deviation(training.astype(np.float64))
    model = fit_logistic_regression(
        (together - mean) / deviation,
        is_altered,
        C=_PENALTY,
        max_iter=_ITERATIONS,
        class_weight="balanced",
    )
    weights = model.coef_[0] / deviation
    return weights.astype(np.float32), float(model.intercept_[0] - mean @ weights)


def mean_and_deviation(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns both by column; a column that hardly varies is not enlarged to rounding errors.

    Args:
        values: float64 (images, n).
    """
    mean = values.mean(axis=0)
    return mean, values.std(axis=0) + _LEAST_SHARE * np.abs(mean) + _LEAST
