"""Conformal prediction sets: for each image the classes that cannot be excluded.

Thresholds are fitted on validation images. One for each class gives each class its coverage: an
image that is exchangeable with its class's validation images has its class in its set with the
stated probability or more. One for all classes gives that on average over the images alone, with
smaller sets. Images of another collection are not exchangeable, and for them nothing is
guaranteed: see ``models.ood_detector``.

Source:
    Vovk, Conditional validity of inductive conformal predictors, ACML 2012; Sadinle, Lei and
    Wasserman, Least ambiguous set-valued classifiers with bounded error levels, JASA 114 (2019).
"""

import math

import numpy as np

COVERAGE = 0.95


def class_thresholds(
    truth: np.ndarray, probabilities: np.ndarray, coverage: float = COVERAGE
) -> np.ndarray:
    """Finds the probability from which on a class is in the prediction set.

    Args:
        truth: True class indices of validation images, int ``(n,)``, 0..k-1.
        probabilities: Their class probabilities, float ``(n, k)``.
        coverage: The share of a class's images that must have the class in their set, 0..1.

    Returns:
        float64 ``(k,)``. A class with too few validation images for the coverage (fewer than
        ``least_images``, 19 for 95 %) has 0, so that it is in every set.
    """
    probabilities = np.asarray(probabilities, np.float64)
    thresholds = np.zeros(probabilities.shape[1])
    for index in range(len(thresholds)):
        thresholds[index] = _threshold(probabilities[truth == index, index], coverage)
    return thresholds


def common_threshold(
    truth: np.ndarray, probabilities: np.ndarray, coverage: float = COVERAGE
) -> float:
    """Finds the probability that the true classes of a share of the images reach.

    An image that is exchangeable with these has a true class below it with a probability of at most
    1 - coverage. So has an image whose one class over it is a wrong one.

    Args:
        truth: True class indices of validation images, int ``(n,)``, 0..k-1.
        probabilities: Their class probabilities, float ``(n, k)``.
        coverage: The share, 0..1.

    Returns:
        0 for too few images (fewer than 19 for 95 %).
    """
    of_truth = np.asarray(probabilities, np.float64)[np.arange(len(truth)), truth]
    return _threshold(of_truth, coverage)


def least_images(coverage: float = COVERAGE) -> int:
    """Returns how many validation images of a class exclude it from some prediction set.

    Args:
        coverage: As for ``class_thresholds``.
    """
    return math.ceil(1 / (1 - coverage) - 1e-9) - 1


def _threshold(of_truth: np.ndarray, coverage: float) -> float:
    # Of n + 1 exchangeable images, at most a share of 1 - coverage is below the rank-th smallest.
    rank = math.floor((len(of_truth) + 1) * (1 - coverage) + 1e-9)
    return float(np.sort(of_truth)[rank - 1]) if rank else 0.0


def prediction_sets(probabilities: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Returns which classes are in each image's set, bool ``(n, k)``.

    Args:
        probabilities: float ``(n, k)``.
        thresholds: From ``class_thresholds``.

    Returns:
        The classes whose probability reaches their threshold, and the most probable class, so that
        no set is empty.
    """
    probabilities = np.asarray(probabilities)
    sets = probabilities >= thresholds
    sets[np.arange(len(sets)), probabilities.argmax(axis=1)] = True
    return sets
