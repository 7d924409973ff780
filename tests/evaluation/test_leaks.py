"""Leaked test images are counted, and the accuracy is compared with that of the others."""

import numpy as np

from kerascxr.evaluation.leaks import NONE, NOT_DECIDED, SHOWN, count_leaks, measure_leak


def names(numbers):
    return [f"group{number}" for number in numbers]


def test_without_shared_groups_there_is_no_leak():
    right = np.array([True, False, True, True])
    found = measure_leak(right, names(range(4)), names(range(4, 9)))
    assert (found["leaked_test_images"], found["verdict"]) == (0, NONE)
    assert found["accuracy_of_leaked"]["value"] is None
    assert found["accuracy_of_others"]["value"] == 0.75


def test_a_leak_that_raises_the_accuracy_is_shown():
    right = np.array([True] * 60 + [True, False] * 50)
    found = measure_leak(right, names(range(160)), names(range(60)))
    assert (found["test_images"], found["leaked_test_images"]) == (160, 60)
    assert found["difference"]["value"] == 0.5
    low, high = found["difference"]["interval"]
    assert 0.3 < low < 0.5 < high < 0.7
    assert found["verdict"] == SHOWN


def test_too_few_leaked_images_do_not_decide():
    right = np.array([True] * 2 + [True, False] * 20)
    found = measure_leak(right, names(range(42)), names(range(2)))
    assert found["verdict"] == NOT_DECIDED


def test_masks_are_only_counted():
    assert count_leaks(names([1, 1, 2]), names([1])) == {"test_images": 3, "leaked_test_images": 2}
