"""Corruptions: how strong, how deterministic, and whether masks follow."""

import dataclasses
import io
import zlib

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from kerascxr.config import AugmentConfig
from kerascxr.data import arrays
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


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_many_images_are_corrupted_some_at_a_time_and_kept_on_disk(name, tmp_path, monkeypatch):
    corruption, given = CORRUPTIONS[name], []
    images = np.random.default_rng(0).integers(0, 256, (150, 16, 16, 1), np.uint8)
    masks = np.where(images > 127, 255, 0).astype(np.uint8)
    draws = [zlib.crc32(name.encode())]
    wholes = [
        corruption.apply(of, corruption.strengths[2], np.random.default_rng([5, *draws]))
        for of in (images, masks)
    ]

    def apply(part, strength, rng):
        given.append(len(part))
        return corruption.apply(part, strength, rng)

    monkeypatch.setitem(CORRUPTIONS, name, dataclasses.replace(corruption, apply=apply))
    monkeypatch.setattr(arrays, "free_memory", lambda: 4 * images.nbytes)
    worse, moved = corrupt(name, images, 3, 5, masks, tmp_path)
    assert max(given) < len(images) and isinstance(worse, np.memmap)
    np.testing.assert_array_equal(worse, wholes[0])
    if corruption.moves_pixels:
        assert isinstance(moved, np.memmap)
        np.testing.assert_array_equal(moved, np.where(wholes[1] >= 128, 255, 0))
    assert not isinstance(corrupt(name, images, 3, 5, masks)[0], np.memmap)


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
    assert sorted(trained_on(config)) == ["contrast", "jpeg"]
    assert trained_on(dataclasses.replace(config, enabled=False)) == []
    options = {field.name for field in dataclasses.fields(AugmentConfig)}
    assert {one.augmentation for one in CORRUPTIONS.values()} <= options


def test_the_strengths_are_those_of_every_version():
    """Scores of robustness are compared between runs and with the documentation's."""
    assert {name: kind.strengths for name, kind in CORRUPTIONS.items()} == {
        "noise": (4, 8, 16, 32, 64),
        "blur": (0.005, 0.01, 0.015, 0.02, 0.03),
        "contrast": (0.75, 0.5, 0.35, 0.2, 0.1),
        "brightness": (20, 40, 60, 80, 100),
        "jpeg": (50, 30, 20, 10, 5),
        "rotation": (3, 6, 10, 15, 20),
        "shift": (0.02, 0.04, 0.08, 0.12, 0.16),
    }
    moving = {name for name, kind in CORRUPTIONS.items() if kind.moves_pixels}
    assert moving == {"rotation", "shift"}


def test_blur_is_a_gaussian_of_a_share_of_the_width():
    point = np.zeros((1, 61, 200, 1), np.uint8)
    point[0, 30, 100] = point[0, 0, 40] = 255
    spread = ndimage.gaussian_filter(point[0, ..., 0].astype(float), 0.01 * 200, mode="nearest")
    blurred, _ = corrupt("blur", point, 2, seed=0)
    np.testing.assert_array_equal(blurred[0, ..., 0], np.rint(spread))
    edge = np.full((1, 40, 40, 1), 200, np.uint8)
    np.testing.assert_array_equal(corrupt("blur", edge, 5, seed=0)[0], edge)


def test_values_beyond_black_and_white_are_clipped():
    levels = np.repeat(np.array([0, 5, 250, 255], np.uint8), 400).reshape(1, 40, 40, 1)
    brighter, _ = corrupt("brightness", levels, 1, seed=0)
    np.testing.assert_array_equal(brighter, np.minimum(levels.astype(int) + 20, 255))
    noisy = corrupt("noise", levels, 5, seed=0)[0].astype(int)
    assert np.abs(noisy - levels).max() < 255 and {0, 255} <= set(np.unique(noisy))
    # Half of the noise is cut off at an end: the mean of the other half is 0.4 deviations.
    away = np.abs(noisy - levels).reshape(4, 400).mean(axis=1)
    np.testing.assert_allclose(away, 0.4 * 64, atol=6)


def test_jpeg_is_a_file_of_the_stated_quality(images):
    file = io.BytesIO()
    Image.fromarray(images[1, ..., 0]).save(file, "JPEG", quality=20)
    compressed, _ = corrupt("jpeg", images, 3, seed=0)
    np.testing.assert_array_equal(compressed[1, ..., 0], np.asarray(Image.open(file)))


def test_contrast_keeps_the_mean_and_directions_differ(images):
    less, _ = corrupt("contrast", images, 4, seed=0)
    np.testing.assert_allclose(less.mean(axis=(1, 2)), images.mean(axis=(1, 2)), atol=0.3)
    many = np.repeat(square(24, 24), 40, axis=0)
    centres = [ndimage.center_of_mass(x[..., 0]) for x in corrupt("shift", many, 3, seed=0)[0]]
    angles = np.arctan2(*(np.array(centres).T - 31.5))
    assert np.ptp(np.histogram(angles, 4, (-np.pi, np.pi))[0]) < 16  # 10 in each quarter
    marked = many.copy()
    marked[:, :32, 32:] = 0  # three quarters of a square: it shows which way it is turned
    turned = corrupt("rotation", marked, 5, seed=0)[0]
    ways = {tuple(image[..., 0].ravel()) for image in turned}
    assert len(ways) == 2
