"""Input checks: warnings about unusual images. They never reject an image."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression

from kerascxr.data.images import resize_image
from kerascxr.data.pipeline import Images

LEAST_DEVIATION = 8.0  # grey levels; X-rays have 40 to 70
ASPECTS = (0.6, 1.7)  # width over height; chest X-rays lie between 0.75 and 1.35
QUANTILE = 0.99  # of the validation images' distances
_MOST_COMPONENTS = 64
_IMAGES_A_COMPONENT = 8

CONSTANT = "nearly constant"
ASPECT = "unusual shape"
FAR = "unlike the training images"
INVERTED = "perhaps an inverted grey scale"
UPSIDE_DOWN = "perhaps upside down"
ON_ITS_SIDE = "perhaps on its side"

_FITTED_ON = 1000  # images
_TURNED = 300  # of these, also inverted and rotated
_BATCH = 32
_SMOOTHING = 0.01  # inverse strength of the weights' penalty

Pool = Callable[[tf.Tensor], tf.Tensor]
"""Images float32 (batch, height, width, 1), 0..255, to features float32 (batch, channels)."""


@dataclass(frozen=True)
class OODDetector:
    """An out-of-distribution score: the distance from the training images' features.

    Features are modelled by a normal distribution: a few principal components have a variance
    each, and all other directions share one (probabilistic PCA). The score is the Mahalanobis
    distance divided by the square root of the number of features: about 1 for a training image.

    Attributes:
        mean: float32 (channels,).
        components: float32 (k, channels), orthonormal.
        variances: float32 (k,), along the components.
        noise: The variance in every other direction.
        limit: The largest score without a warning.

    Source:
        Tipping and Bishop, J. R. Statist. Soc. B 61 (1999), on the model; Lee et al., NeurIPS 2018,
        on Mahalanobis distances of features for out-of-distribution detection.
    """

    mean: np.ndarray
    components: np.ndarray
    variances: np.ndarray
    noise: float
    limit: float

    @classmethod
    def fit(cls, training: np.ndarray, validation: np.ndarray) -> "OODDetector":
        """Fits the distribution and the limit.

        Args:
            training: Features of training images, float (n, channels), n at least 16.
            validation: Features of validation images; ``QUANTILE`` of them are below the limit.

        Raises:
            ValueError: If there are too few images.
        """
        if len(training) < 2 * _IMAGES_A_COMPONENT or not len(validation):
            raise ValueError(
                f"input checks must have at least {2 * _IMAGES_A_COMPONENT} training images and "
                f"one validation image. Got {len(training)} and {len(validation)}."
            )
        k = min(_MOST_COMPONENTS, len(training) // _IMAGES_A_COMPONENT, training.shape[1] - 1)
        pca = PCA(k, svd_solver="full").fit(training.astype(np.float64))
        found = cls(
            pca.mean_.astype(np.float32),
            pca.components_.astype(np.float32),
            np.maximum(pca.explained_variance_, 1e-9).astype(np.float32),
            max(float(pca.noise_variance_), 1e-9),
            float("inf"),
        )
        distances = found.distance(tf.constant(validation, tf.float32)).numpy()
        limit = float(np.quantile(distances, QUANTILE, method="higher"))
        return cls(found.mean, found.components, found.variances, found.noise, limit)

    def distance(self, features: tf.Tensor) -> tf.Tensor:
        """Returns float32 (batch,) of features (batch, channels)."""
        centred = features - self.mean
        along = tf.linalg.matmul(centred, self.components, transpose_b=True)
        rest = tf.reduce_sum(centred**2, axis=1) - tf.reduce_sum(along**2, axis=1)
        squared = tf.reduce_sum(along**2 / self.variances, axis=1)
        squared += tf.maximum(rest, 0.0) / self.noise
        return tf.sqrt(squared / len(self.mean))


@dataclass(frozen=True)
class OrientationClassifier:
    """Predicts from features whether an image is inverted or rotated.

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
            training: Features float (n, channels) of training images, by kind; "" is unchanged.
            validation: Features of unchanged validation images; ``QUANTILE`` of them are below the
                limit.
            names: The kinds.
        """
        stacked = np.concatenate([training[way] for way in ("", *names)]).astype(np.float64)
        ways = np.repeat(np.arange(1 + len(names)), [len(training[way]) for way in ("", *names)])
        mean, deviation = stacked.mean(axis=0), stacked.std(axis=0) + 1e-6
        model = LogisticRegression(C=_SMOOTHING, max_iter=1000)
        model.fit((stacked - mean) / deviation, ways)
        weights = model.coef_.T / deviation[:, None]
        biases = model.intercept_ - mean @ weights
        scores = validation.astype(np.float64) @ weights + biases
        odds = (scores[:, 1:] - scores[:, :1]).max(axis=1)
        # Never below even odds, however well the validation images are separated.
        limit = max(0.0, float(np.quantile(odds, QUANTILE, method="higher")))
        return cls(names, weights.astype(np.float32), biases.astype(np.float32), limit)

    def predict(self, features: tf.Tensor) -> tf.Tensor:
        """Returns string (batch,), the name of each image's kind, or "" for unchanged."""
        scores = tf.linalg.matmul(features, self.weights) + self.biases
        odds = scores[:, 1:] - scores[:, :1]
        way = tf.gather(tf.constant(self.names), tf.argmax(odds, axis=1))
        return tf.where(tf.reduce_max(odds, axis=1) > self.limit, way, "")


_WAYS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    INVERTED: lambda pixels: 255 - pixels,
    UPSIDE_DOWN: lambda pixels: pixels[:, ::-1],
    ON_ITS_SIDE: lambda pixels: np.concatenate(
        [np.rot90(pixels[::2], 1, axes=(1, 2)), np.rot90(pixels[1::2], 3, axes=(1, 2))]
    ),
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
        """All warnings that the checks can give."""
        return (
            CONSTANT,
            ASPECT,
            FAR,
            *(self.orientation_classifier.names if self.orientation_classifier else ()),
        )

    @classmethod
    def fit(
        cls, pool: Pool, training: Images, validation: Images, whole_images: bool = True
    ) -> "InputChecks":
        """Fits the checks to some of the training and validation images.

        Args:
            pool: Computes the classifier's features.
            training: Training images.
            validation: Validation images.
            whole_images: Whether they are full images; if not, rotation is not checked.

        Raises:
            ValueError: If there are too few images.
        """
        size = training.pixels.shape[1:3]

        def features(pixels: np.ndarray) -> np.ndarray:
            batches = np.array_split(pixels, -(-len(pixels) // _BATCH))
            return np.concatenate(
                [pool(tf.cast(resize_image(batch, size), tf.float32)) for batch in batches]
            )

        as_is = features(_some(training, _FITTED_ON))
        held_out = features(_some(validation, _FITTED_ON))
        few = _some(training, _TURNED)
        # A rotated crop is not the crop of a rotated image.
        ways = _WAYS if whole_images else {}
        shown = {name: features(way(few)) for name, way in ways.items()}
        return cls(
            OODDetector.fit(as_is, held_out),
            OrientationClassifier.fit({"": as_is} | shown, held_out, tuple(ways)) if ways else None,
        )

    def warnings(
        self, images: tf.Tensor, features: tf.Tensor, own_sizes: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Returns the warnings about images.

        Args:
            images: float32 (batch, height, width, 1 or 2), 0..255; the first channel is checked.
            features: float32 (batch, channels), their pooled features.
            own_sizes: int32 (batch, 2), the (height, width) of the files, if known.

        Returns:
            string (batch,), the warnings joined by "; ", "" for none.
        """
        constant = _is_constant(images)
        far = self.ood_detector.distance(features) > self.ood_detector.limit
        found = [tf.where(constant, CONSTANT, ""), tf.where(far, FAR, "")]
        if self.orientation_classifier is not None:
            found.append(tf.where(constant, "", self.orientation_classifier.predict(features)))
        if own_sizes is not None:
            found.append(_aspect_warnings(own_sizes))
        return _joined(found)


def unfitted_warnings(images: tf.Tensor, own_sizes: tf.Tensor) -> tf.Tensor:
    """Returns the warnings that need no training images: nearly constant, unusual shape.

    Args:
        images: float32 (batch, height, width, 1), 0..255.
        own_sizes: int32 (batch, 2), the (height, width) of the files.

    Returns:
        string (batch,), the warnings joined by "; ", "" for none.
    """
    return _joined([tf.where(_is_constant(images), CONSTANT, ""), _aspect_warnings(own_sizes)])


def _is_constant(images: tf.Tensor) -> tf.Tensor:
    return tf.math.reduce_std(images[..., 0], axis=(1, 2)) < LEAST_DEVIATION


def _aspect_warnings(own_sizes: tf.Tensor) -> tf.Tensor:
    ratio = tf.cast(own_sizes[:, 1] / own_sizes[:, 0], tf.float32)
    return tf.where((ratio < ASPECTS[0]) | (ratio > ASPECTS[1]), ASPECT, "")


def _joined(found: list[tf.Tensor]) -> tf.Tensor:
    joined = tf.strings.reduce_join(tf.stack(found, axis=1), axis=1, separator="; ")
    joined = tf.strings.regex_replace(joined, "(; )+", "; ")
    return tf.strings.regex_replace(joined, "^; |; $", "")


def _some(images: Images, count: int) -> np.ndarray:
    count = min(len(images), count)
    return images.pixels[np.unique(np.linspace(0, len(images) - 1, count).astype(np.int64))]
