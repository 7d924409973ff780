"""The gate: what is odd about an image, told with its answer. Nothing is ever refused for it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from sklearn.decomposition import PCA

LEAST_DEVIATION = 8.0  # grey levels; X-rays have 40 to 70
ASPECTS = (0.6, 1.7)  # width over height; chest X-rays lie between 0.75 and 1.35
QUANTILE = 0.99  # of the validation images' distances
_MOST_COMPONENTS = 64
_IMAGES_A_COMPONENT = 8

CONSTANT = "nearly constant"
ASPECT = "unusual shape"
FAR = "unlike the training images"
INVERTED = "perhaps an inverted grey scale"


@dataclass(frozen=True)
class Neighbourhood:
    """Where the training images lie in feature space, as a normal distribution.

    A few principal directions have a variance each, all others one in common (probabilistic PCA).
    The distance is Mahalanobis', over the root of the number of features: about 1 for a training
    image.

    Attributes:
        mean: float32 (channels,).
        components: float32 (k, channels), orthonormal.
        variances: float32 (k,), along the components.
        noise: The variance in every other direction.
        limit: The largest distance that is not far.

    Source:
        Tipping and Bishop, J. R. Statist. Soc. B 61 (1999), on the model; Lee et al., NeurIPS 2018,
        on Mahalanobis distances of features to find strange inputs.
    """

    mean: np.ndarray
    components: np.ndarray
    variances: np.ndarray
    noise: float
    limit: float

    @classmethod
    def fit(cls, training: np.ndarray, validation: np.ndarray) -> "Neighbourhood":
        """Measures it.

        Args:
            training: Features of training images, float (n, channels), n at least 16.
            validation: Features of validation images; ``QUANTILE`` of them are not far.

        Raises:
            ValueError: If there are too few images.
        """
        if len(training) < 2 * _IMAGES_A_COMPONENT or not len(validation):
            raise ValueError(
                f"the gate must have at least {2 * _IMAGES_A_COMPONENT} training images and one "
                f"validation image. Got {len(training)} and {len(validation)}."
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


def warn(
    images: tf.Tensor,
    features: tf.Tensor,
    pool: Callable[[tf.Tensor], tf.Tensor],
    neighbourhood: Neighbourhood,
    own_sizes: tf.Tensor | None = None,
) -> tf.Tensor:
    """Tells what is odd about images.

    An image is called inverted if it is far and its negative would not be; only then are negatives
    looked at.

    Args:
        images: float32 (batch, height, width, 1), 0..255.
        features: float32 (batch, channels), their pooled features.
        pool: Gives the features of images.
        neighbourhood: Where the training images are.
        own_sizes: int32 (batch, 2), the (height, width) of the files, where they are known.

    Returns:
        string (batch,), the warnings joined by "; ", "" for none.
    """
    deviations = tf.math.reduce_std(images, axis=(1, 2, 3))
    constant = deviations < LEAST_DEVIATION
    far = neighbourhood.distance(features) > neighbourhood.limit
    negative_fits = tf.cond(
        tf.reduce_any(far),
        lambda: neighbourhood.distance(pool(255.0 - images)) <= neighbourhood.limit,
        lambda: tf.zeros_like(far),
    )
    told = [(constant, CONSTANT), (far, FAR), (far & negative_fits & ~constant, INVERTED)]
    if own_sizes is not None:
        ratio = tf.cast(own_sizes[:, 1] / own_sizes[:, 0], tf.float32)
        told.append(((ratio < ASPECTS[0]) | (ratio > ASPECTS[1]), ASPECT))
    texts = tf.stack([tf.where(which, text, "") for which, text in told], axis=1)
    joined = tf.strings.reduce_join(texts, axis=1, separator="; ")
    joined = tf.strings.regex_replace(joined, "(; )+", "; ")
    return tf.strings.regex_replace(joined, "^; |; $", "")
