"""Corruptions: how strong, how deterministic, and whether masks follow."""

import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from kerascxr.config import AugmentConfig
from kerascxr.data.corruptions import CORRUPTIONS, SEVERITIES, corrupt, trained_on


@pytest.fixture(scope="module")
def images():
    """Smooth, like an X-ray: uint8 (4, 96, 160, 1), 0..200."""
    noise = np.random.default_rng(0).uniform(size=(4, 96, 160, 1))
    smooth = ndimage.gaussian_filter(noise, (0, 3, 3, 0))
    low, high = smooth.min(), smooth.max()
    return np.rint(200 * (smooth - low) / (high - low)).astype(np.uint8)


def square(top, left, side=16):
    image = np.zeros((1, 64, 64, 1), np.uint8)
    image[:, top : top + side, left : left + side] = 255
    return image


def distance(one, other):
    return np.abs(one.astype(float) - other).mean()


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_it_grows_with_severity_and_stays_an_image(images, name):
    effects = []
    for severity in SEVERITIES:
        worse, _ = corrupt(name, images, severity, seed=0)
        assert worse.dtype == np.uint8 and worse.shape == images.shape
        effects.append(distance(worse, images))
    assert effects[0] > 0.1
    assert np.all(np.diff(effects) > 0), effects


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_seed_settles_it_whatever_else_is_in_the_batch(images, name):
    first, _ = corrupt(name, images, 3, seed=1)
    kept = images.copy()
    np.testing.assert_array_equal(corrupt(name, images, 3, seed=1)[0], first)
    np.testing.assert_array_equal(corrupt(name, images[:1], 3, seed=1)[0], first[:1])
    np.testing.assert_array_equal(images, kept)


@pytest.mark.parametrize("name", ["noise", "shift"])
def test_another_seed_draws_otherwise(images, name):
    assert distance(corrupt(name, images, 3, seed=1)[0], corrupt(name, images, 3, seed=2)[0]) > 0.1


def test_strengths_are_what_the_table_says(images):
    grey = np.full((1, 128, 128, 1), 100, np.uint8)
    for severity in SEVERITIES[:4]:  # at 64, values are cut off at black
        worse, _ = corrupt("noise", grey, severity, seed=0)
        assert worse.std() == pytest.approx(CORRUPTIONS["noise"].strengths[severity - 1], rel=0.05)
    for severity in SEVERITIES:
        worse, _ = corrupt("brightness", grey, severity, seed=0)
        assert np.all(worse == 100 + CORRUPTIONS["brightness"].strengths[severity - 1])
        less, _ = corrupt("contrast", images[:1], severity, seed=0)
        left = CORRUPTIONS["contrast"].strengths[severity - 1]
        assert less.std() / images[:1].std() == pytest.approx(left, abs=0.02)


def test_shift_and_rotation_go_as_far_as_the_table_says():
    image = square(24, 24)
    for severity in SEVERITIES:
        moved, _ = corrupt("shift", image, severity, seed=0)
        went = np.subtract(
            ndimage.center_of_mass(moved[0, ..., 0]), ndimage.center_of_mass(image[0, ..., 0])
        )
        assert np.hypot(*went) / 64 == pytest.approx(
            CORRUPTIONS["shift"].strengths[severity - 1], abs=0.012
        )
    bar = np.zeros((1, 65, 65, 1), np.uint8)
    bar[:, 30:35, 5:60] = 255
    for severity in SEVERITIES:
        turned, _ = corrupt("rotation", bar, severity, seed=0)
        rows, columns = np.nonzero(turned[0, ..., 0] > 127)
        angle = np.degrees(np.arctan(np.polyfit(columns, rows, 1)[0]))
        assert abs(angle) == pytest.approx(CORRUPTIONS["rotation"].strengths[severity - 1], rel=0.1)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_mask_goes_where_the_image_goes(name):
    image = np.concatenate([square(10, 30), square(30, 12), square(36, 36)])
    worse, mask = corrupt(name, image, 4, seed=0, masks=image)
    assert mask.dtype == np.uint8 and set(np.unique(mask)) == {0, 255}
    if CORRUPTIONS[name].moves_pixels:
        np.testing.assert_array_equal(mask, np.where(worse >= 128, 255, 0))
        assert all(distance(*pair) > 1 for pair in zip(mask, image, strict=True))
    else:
        np.testing.assert_array_equal(mask, image)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nois", np.zeros((1, 8, 8, 1), np.uint8), 1), "did you mean 'noise'"),
        (
            ("noise", np.zeros((1, 8, 8, 1), np.uint8), 0),
            "severity must be one of .* Got severity=0",
        ),
        (("noise", np.zeros((1, 8, 8, 1), np.float32), 1), "images must be uint8 .* Got float32"),
        (("noise", np.zeros((8, 8, 1), np.uint8), 1), r"Got uint8, shape=\(8, 8, 1\)"),
    ],
)
def test_wrong_input_is_one_line(arguments, words):
    with pytest.raises(ValueError, match=words):
        corrupt(*arguments, seed=0)


def test_corruptions_of_the_training_are_told_by_its_augmentation():
    config = AugmentConfig(
        rotation_degrees=0, shift=0, zoom=0.2, brightness=0, contrast=0.5, jpeg=9
    )
    assert trained_on(config) == ["contrast", "jpeg"]
    assert trained_on(dataclasses.replace(config, enabled=False)) == []
    options = {field.name for field in dataclasses.fields(AugmentConfig)}
    assert {one.augmentation for one in CORRUPTIONS.values()} <= options
