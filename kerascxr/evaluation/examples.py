"""Which test images stand for a class: a typical correct one and the most confident error."""

import numpy as np


def typical_images(truth: np.ndarray, probabilities: np.ndarray) -> list[int | None]:
    """Returns, for each class, the correctly classified image of median confidence.

    Args:
        truth: True class indices, int ``(n,)``.
        probabilities: float ``(n, k)``.

    Returns:
        An index a class; None where no image of the class is classified correctly.
    """
    predicted = probabilities.argmax(axis=1)
    found: list[int | None] = []
    for label in range(probabilities.shape[1]):
        right = np.flatnonzero((truth == label) & (predicted == label))
        order = right[np.argsort(probabilities[right, label], kind="stable")]
        found.append(int(order[(len(order) - 1) // 2]) if len(order) else None)
    return found


def confident_errors(truth: np.ndarray, probabilities: np.ndarray) -> list[int | None]:
    """Returns, for each true class, the wrongly classified image of the highest confidence.

    Args:
        truth: As ``typical_images``.
        probabilities: As ``typical_images``.

    Returns:
        An index a class; None where no image of the class is classified wrongly.
    """
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    found: list[int | None] = []
    for label in range(probabilities.shape[1]):
        wrong = np.flatnonzero((truth == label) & (predicted != label))
        found.append(int(wrong[confidence[wrong].argmax()]) if len(wrong) else None)
    return found
