"""Where an input shows the lungs, whatever its region of interest does to grey values."""

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from kerascxr.audits.attention import visible_lungs
from kerascxr.data.images import resize_image

SIZE = (64, 64)


@pytest.fixture(scope="module")
def lungs():
    """Two ellipses, uint8 (128, 128, 1)."""
    rows, columns = np.mgrid[:128, :128] / 128
    found = sum(((rows - 0.5) / 0.3) ** 2 + ((columns - x) / 0.13) ** 2 < 1 for x in (0.3, 0.7))
    return (255 * found[..., None]).astype(np.uint8)


def visible(roi, lungs, own):
    config = SimpleNamespace(roi=roi, image_size=SIZE)
    return visible_lungs(config, tf.constant(lungs), tf.constant(own)).numpy()


@pytest.mark.parametrize(
    ("roi", "like"), [("lungs_only", "none"), ("lungs_equalized", "lung_crop")]
)
def test_all_lungs_that_a_region_shows_are_counted(lungs, roi, like):
    shown = visible(roi, lungs, lungs)
    np.testing.assert_array_equal(shown, visible(like, lungs, lungs))
    assert 0.1 < shown.mean() < 0.6


def test_what_the_region_hides_is_not_counted(lungs):
    half = lungs.copy()
    half[:64] = 0
    for roi in ("lungs_only", "lungs_equalized"):
        hidden = visible(roi, lungs, half)
        np.testing.assert_array_equal(hidden, visible(roi, half, half))
        assert 0.05 < hidden.mean() < visible(roi, lungs, lungs).mean()
    plain = resize_image(tf.constant(half), SIZE).numpy()[..., 0] >= 128
    np.testing.assert_array_equal(visible("lungs_only", lungs, half), plain)
