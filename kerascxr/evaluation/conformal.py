"""Conformal prediction sets: for each image the classes that cannot be excluded.

Thresholds are fitted on validation images, one for each class. An image of a class that is
exchangeable with that class's validation images has its class in its set with the stated
probability or more. Images of another collection are not exchangeable, and for them nothing is
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
        float64 ``(k,)``. A class with too few validation images for the coverage (fewer than 19
        for 95 %) has 0, so that it is in every set.
    """
    probabilities = np.asarray(probabilities, np.float64)
    thresholds = np.zeros(probabilities.shape[1])
    for index in range(len(thresholds)):
        known = np.sort(probabilities[truth == index, index])
        # Of n + 1 exchangeable images, at most a share of 1 - coverage is below the rank-th.
        rank = math.floor((len(known) + 1) * (1 - coverage) + 1e-9)
        if rank:
            thresholds[index] = known[rank - 1]
    return thresholds


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
