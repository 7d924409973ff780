"""Versions of an export, and the test images on which it is compared with its run."""

import numpy as np
import pytest
import tensorflow as tf

from kerascxr.serving.publishing import files_spec, next_version, pixels_spec, some_of


def test_the_next_version_is_one_above_the_highest_number(tmp_path):
    to = tmp_path / "model"
    with next_version(to) as place:
        assert place == to / "1"
    for name in ("1", "2", "10", "latest", "11a"):
        (to / name).mkdir()
    with next_version(to) as place:
        assert place == to / "11" and not place.exists()


@pytest.mark.parametrize(("n", "step"), [(1, 1), (16, 1), (31, 1), (32, 2), (459, 28)])
def test_up_to_sixteen_images_from_all_of_the_test_are_compared(n, step):
    ids = [f"{place:03d}" for place in range(n)]
    shuffled = np.random.default_rng(0).permutation(ids).tolist()
    assert some_of(shuffled) == set(ids[::step][:16])


def test_signatures_take_any_number_of_files_or_images():
    assert files_spec() == tf.TensorSpec((None,), tf.string, "images")
    assert pixels_spec((32, 48)) == tf.TensorSpec((None, 32, 48, 1), tf.float32, "images")
