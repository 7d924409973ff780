"""The images that stand for a class: typical, and most confidently wrong."""

import numpy as np

from kerascxr.evaluation.examples import confident_errors, typical_images

TRUTH = np.array([0, 0, 0, 0, 1, 1, 2])
PROBABILITIES = np.array(
    [
        [0.9, 0.1, 0.0],
        [0.5, 0.3, 0.2],
        [0.6, 0.4, 0.0],
        [0.3, 0.7, 0.0],
        [0.8, 0.2, 0.0],
        [0.6, 0.4, 0.0],
        [0.1, 0.1, 0.8],
    ]
)


def test_the_typical_image_is_correct_and_of_median_confidence():
    assert typical_images(TRUTH, PROBABILITIES) == [2, None, 6]


def test_the_error_is_the_most_confident_one():
    assert confident_errors(TRUTH, PROBABILITIES) == [3, 4, None]
