"""Altered copies: other images of the same chests, by the seed."""

import numpy as np
import pytest

from kerascxr.data.altered_copies import ALTERATIONS, altered_copies

RANDOM = np.random.default_rng(0)


@pytest.fixture(scope="module")
def images():
    rows = np.linspace(40, 200, 224)[:, None, None]
    return np.clip(rows + RANDOM.normal(0, 15, (12, 224, 224, 1)), 0, 255).astype(np.uint8)


def test_each_image_is_altered_and_the_seed_settles_how(images):
    copies = altered_copies(images, seed=3)
    assert copies.dtype == np.uint8 and copies.shape == images.shape
    assert all((copy != image).any() for copy, image in zip(copies, images, strict=True))
    np.testing.assert_array_equal(copies, altered_copies(images, seed=3))
    np.testing.assert_array_equal(copies[:4], altered_copies(images[:4], seed=3))
    assert (copies != altered_copies(images, seed=4)).any()


def test_the_lungs_stay(images):
    lungs = RANDOM.integers(0, 2, images.shape).astype(np.uint8) * 255
    copies = altered_copies(np.concatenate([images, lungs], axis=-1), seed=0)
    np.testing.assert_array_equal(copies[..., 1:], lungs)
    np.testing.assert_array_equal(copies[..., :1], altered_copies(images, seed=0))


@pytest.mark.parametrize("name", ALTERATIONS)
def test_each_way_changes_an_image_and_keeps_the_chest(images, name):
    given = [ALTERATIONS[name](images[0], np.random.default_rng(seed)) for seed in range(5)]
    for copy in given:
        assert copy.dtype == np.uint8 and copy.shape == images[0].shape
        assert np.corrcoef(copy.ravel(), images[0].ravel())[0, 1] > 0.6
    assert any((copy != images[0]).any() for copy in given)
    sharpness = [np.abs(np.diff(copy.astype(float), axis=0)).mean() for copy in given]
    before = np.abs(np.diff(images[0].astype(float), axis=0)).mean()
    if name in ("blur", "resampling"):
        assert max(sharpness) < before
    if name in ("sharpening", "noise"):
        assert min(sharpness) > before
