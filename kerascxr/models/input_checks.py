"""Input checks: warnings about unusual images. They never reject an image."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from kerascxr.evaluation.abstention import SEPARATOR
from kerascxr.evaluation.logistic_regression import fit_logistic_regression
from kerascxr.models.ood_detector import OODDetector, mean_and_deviation

LEAST_DEVIATION = 8.0  # grey levels; X-rays have 40 to 70
ASPECTS = (0.6, 1.7)  # width over height; chest X-rays lie between 0.75 and 1.35
QUANTILE = 0.99  # of the validation images' log-odds

CONSTANT = "nearly constant"
ASPECT = "unusual shape"
FAR = "unlike the training images"
INVERTED = "perhaps an inverted grey scale"
UPSIDE_DOWN = "perhaps upside down"
ON_ITS_SIDE = "perhaps on its side"

_SMOOTHING = 0.01  # inverse strength of the weights' penalty


@dataclass(frozen=True)
class OrientationClassifier:
    """Predicts from layer statistics whether an image is inverted or rotated.

    A logistic regression, fitted to training images and to inverted and rotated copies of them.

    Attributes:
        names: The warning for each kind of copy.
        weights: float32 (channels, 1 + kinds); the first column is for unchanged images.
        biases: float32 (1 + kinds,).
        limit: The log-odds of a kind against unchanged above which there is a warning.
    """

    names: tuple[str, ...]
    weights: np.ndarray
    biases: np.ndarray
    limit: float

    @classmethod
    def fit(
        cls, training: dict[str, np.ndarray], validation: np.ndarray, names: tuple[str, ...]
    ) -> "OrientationClassifier":
        """Fits the regression and the limit.

        Args:
            training: Statistics, float (n, channels), of training images by kind; "" is unchanged.
            validation: Those of unchanged validation images; ``QUANTILE`` of them are below the
                limit.
            names: The kinds.
        """
        stacked = np.concatenate([training[way] for way in ("", *names)]).astype(np.float64)
        ways = np.repeat(np.arange(1 + len(names)), [len(training[way]) for way in ("", *names)])
        mean, deviation = mean_and_deviation(stacked)
        standardised = (stacked - mean) / deviation
        model = fit_logistic_regression(standardised, ways, C=_SMOOTHING, max_iter=1000)
        weights = model.coef_.T / deviation[:, None]
        biases = model.intercept_ - mean @ weights
        scores = validation.astype(np.float64) @ weights + biases
        odds = (scores[:, 1:] - scores[:, :1]).max(axis=1)
        # Never below even odds, however well the validation images are separated.
        limit = max(0.0, float(np.quantile(odds, QUANTILE, method="higher")))
        return cls(names, weights.astype(np.float32), biases.astype(np.float32), limit)

    def predict(self, features: tf.Tensor) -> tf.Tensor:
        """Returns string (batch,), the name of each image's kind, or "" for unchanged."""
        return joined_names(self.names, self.found(features))

    def found(self, features: tf.Tensor) -> tf.Tensor:
        """Returns bool (batch, kinds), true for each image's kind, nowhere for unchanged."""
        scores = tf.linalg.matmul(features, self.weights) + self.biases
        odds = scores[:, 1:] - scores[:, :1]
        best = tf.one_hot(tf.argmax(odds, axis=1), len(self.names), True, False, dtype=tf.bool)
        return best & (tf.reduce_max(odds, axis=1, keepdims=True) > self.limit)


def turned_copies(pixels: np.ndarray) -> dict[str, np.ndarray]:
    """Returns inverted and rotated copies of images.

    Args:
        pixels: uint8 (n, height, width, channels), 0..255.

    Returns:
        Warning -> uint8 (n, height, width, channels), or (n, width, height, channels) of those on
        their side.
    """
    left, right = (np.rot90(pixels[begin::2], 1 + 2 * begin, axes=(1, 2)) for begin in (0, 1))
    return {
        INVERTED: 255 - pixels,
        UPSIDE_DOWN: pixels[:, ::-1],
        ON_ITS_SIDE: np.concatenate([left, right]),
    }


@dataclass(frozen=True)
class InputChecks:
    """Checks of images, fitted to a classifier's training images.

    Attributes:
        ood_detector: Scores images unlike the training images.
        orientation_classifier: Finds inverted and rotated images; None for a region of interest.
    """

    ood_detector: OODDetector
    orientation_classifier: OrientationClassifier | None

    @property
    def kinds(self) -> tuple[str, ...]:
        """All warnings that the checks can give, in the order in which they are given."""
        orientation = self.orientation_classifier
        return (CONSTANT, FAR, *(orientation.names if orientation else ()), ASPECT)

    def warnings(
        self,
        images: tf.Tensor,
        statistics: tf.Tensor,
        ood_scores: tf.Tensor,
        own_sizes: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Returns the warnings about images.

        Args:
            images: float32 (batch, height, width, 1 or 2), 0..255; the first channel is checked.
            statistics: float32 (batch, n), their layer statistics.
            ood_scores: float32 (batch,), from ``ood_detector.score``.
            own_sizes: int32 (batch, 2), the (height, width) of the files, if known.

        Returns:
            string (batch,), the warnings joined by "; ", "" for none.
        """
        return joined_names(self.kinds, self.found(images, statistics, ood_scores, own_sizes))

    def found(
        self,
        images: tf.Tensor,
        statistics: tf.Tensor,
        ood_scores: tf.Tensor,
        own_sizes: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Returns bool (batch, kinds), which of ``kinds`` hold; see ``warnings``."""
        constant = _is_constant(images)
        far = ~(ood_scores <= self.ood_detector.limit)  # NaN is far
        columns = [constant[:, None], far[:, None]]
        if self.orientation_classifier is not None:
            columns.append(self.orientation_classifier.found(statistics) & ~constant[:, None])
        odd = tf.zeros_like(constant) if own_sizes is None else _is_odd_shape(own_sizes)
        return tf.concat([*columns, odd[:, None]], axis=1)


def unfitted_warnings(images: tf.Tensor, own_sizes: tf.Tensor) -> tf.Tensor:
    """Returns the warnings that need no training images: nearly constant, unusual shape.

    Args:
        images: float32 (batch, height, width, 1), 0..255.
        own_sizes: int32 (batch, 2), the (height, width) of the files.

    Returns:
        string (batch,), the warnings joined by "; ", "" for none.
    """
    found = tf.stack([_is_constant(images), _is_odd_shape(own_sizes)], axis=1)
    return joined_names((CONSTANT, ASPECT), found)


def _is_constant(images: tf.Tensor) -> tf.Tensor:
    return tf.math.reduce_std(images[..., 0], axis=(1, 2)) < LEAST_DEVIATION


def _is_odd_shape(own_sizes: tf.Tensor) -> tf.Tensor:
    ratio = tf.cast(own_sizes[:, 1] / own_sizes[:, 0], tf.float32)
    return (ratio < ASPECTS[0]) | (ratio > ASPECTS[1])


def joined_names(names: Sequence[str], which: tf.Tensor) -> tf.Tensor:
    """Joins by "; " those of k names for which bool (batch, k) is true: string (batch,)."""
    return joined(tf.unstack(tf.where(which, tf.constant(list(names)), ""), axis=1))


def joined(found: list[tf.Tensor]) -> tf.Tensor:
    """Joins texts, string (batch,) each, by "; ", without the empty ones."""
    text = tf.strings.reduce_join(tf.stack(found, axis=1), axis=1, separator=SEPARATOR)
    text = tf.strings.regex_replace(text, f"({SEPARATOR})+", SEPARATOR)
    return tf.strings.regex_replace(text, f"^{SEPARATOR}|{SEPARATOR}$", "")
