"""Augmentation: a pure function of its seed; image and mask in step."""

import dataclasses
import io

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from kerascxr.config import AugmentConfig
from kerascxr.data.augment import Augment, _compressed, _reduced

MOVES = AugmentConfig(rotation_degrees=20, shift=0.15, zoom=0.2, flip=True)
COLOURS = AugmentConfig(
    rotation_degrees=0, shift=0, zoom=0, brightness=0.2, contrast=0.3, gamma=0.5, noise=0.05
)


def shapes(batch=4, size=48):
    """Bright discs on black, whose mask is the disc itself."""
    rows, columns = np.mgrid[:size, :size]
    centres = np.random.default_rng(3).uniform(15, size - 15, (batch, 2))
    masks = np.stack(
        [255 * ((rows - y) ** 2 + (columns - x) ** 2 < 81) for y, x in centres]
    ).astype(np.uint8)[..., None]
    return masks.copy(), masks


@settings(max_examples=20)
@given(seed=st.integers(0, 2**31 - 1), step=st.integers(0, 1000))
def test_image_and_mask_never_fall_out_of_step(seed, step):
    images, masks = shapes()
    augment = Augment(AugmentConfig(**{**vars(MOVES), "brightness": 0.0, "contrast": 0.0}))
    moved, moved_masks = augment(images, tf.constant([seed, step], tf.int64), masks)
    assert set(np.unique(moved_masks)) <= {0.0, 255.0}
    np.testing.assert_array_equal(np.asarray(moved) >= 127.5, np.asarray(moved_masks) == 255)


def test_masks_move_at_all_and_differently_in_each_image():
    images, _ = shapes()
    same = np.repeat(images[:1], 4, axis=0)
    _, moved = Augment(MOVES)(same, tf.constant([1, 2], tf.int64), same)
    assert all((np.asarray(moved[i]) != same[0]).any() for i in range(4))
    assert (np.asarray(moved[0]) != np.asarray(moved[1])).any()


def test_the_same_seed_gives_the_same_images_eagerly_and_mapped():
    images, masks = shapes()
    augment = Augment(AugmentConfig(gamma=0.3, noise=0.05, flip=True))
    seed = tf.constant([5, 6], tf.int64)
    first, _ = augment(images, seed, masks)
    again, _ = augment(images, seed, masks)
    np.testing.assert_array_equal(first, again)
    dataset = tf.data.Dataset.from_tensors(images).map(lambda batch: augment(batch, seed)[0])
    mapped = next(iter(dataset))
    other, _ = augment(images, tf.constant([5, 7], tf.int64), masks)
    assert (np.asarray(first) != np.asarray(other)).any()
    assert mapped.shape == images.shape


def test_mapped_equals_eager():
    images, _ = shapes()
    augment = Augment(AugmentConfig(gamma=0.3, noise=0.05))
    seed = tf.constant([5, 6], tf.int64)
    mapped = next(iter(tf.data.Dataset.from_tensors(images).map(lambda b: augment(b, seed)[0])))
    np.testing.assert_allclose(mapped, augment(images, seed)[0], atol=1e-3)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, 0.3) for name in ("brightness", "contrast", "gamma", "noise", "bias_field")),
        ("sharpen", 4.0),
        ("jpeg", 10),
        ("resolution", 0.8),
    ],
)
def test_each_colour_change_changes_grey_values_and_stays_in_range(name, value):
    nothing = dict.fromkeys(("brightness", "contrast", "gamma", "noise"), 0.0)
    config = AugmentConfig(rotation_degrees=0, shift=0, zoom=0, **{**nothing, name: value})
    images = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 1)).astype(np.uint8)
    changed, _ = Augment(config)(images, tf.constant([0, 0], tf.int64))
    changed = np.asarray(changed)
    assert changed.min() >= 0
    assert changed.max() <= 255
    assert all(np.abs(changed[i] - images[i]).mean() > 0.5 for i in range(4))


@pytest.mark.parametrize("name", ["rotation_degrees", "shift", "zoom", "stretch"])
def test_each_move_moves(name):
    still = dict.fromkeys(("rotation_degrees", "shift", "zoom", "brightness", "contrast"), 0.0)
    config = AugmentConfig(**{**still, name: 30.0 if name == "rotation_degrees" else 0.3})
    images, _ = shapes()
    moved, _ = Augment(config)(images, tf.constant([0, 0], tf.int64))
    assert (np.abs(np.asarray(moved) - images).max(axis=(1, 2, 3)) > 50).all()


STILL = dict.fromkeys(("rotation_degrees", "shift", "zoom", "brightness", "contrast"), 0.0)


def test_a_blur_is_a_gaussian_and_spares_half_of_the_images():
    images = np.zeros((64, 33, 33, 1), np.uint8)
    images[:, 16, 16] = 255
    blurred, _ = Augment(AugmentConfig(**STILL, blur=1.5))(images, tf.constant([0, 0], tf.int64))
    blurred = np.asarray(blurred, np.float64)[..., 0]
    np.testing.assert_allclose(blurred.sum((1, 2)), 255, rtol=1e-3)
    squares = (np.arange(33) - 16.0) ** 2
    deviations = np.sqrt((blurred.sum(2) * squares).sum(1) / 255)
    assert 0.3 < (deviations < 0.05).mean() < 0.7
    assert 1.2 < deviations.max() < 1.5
    assert ((deviations > 0.3) & (deviations < 0.9)).sum() > 5  # a weak blur stays weak
    rare = AugmentConfig(**STILL, blur=1.5, probability=0.4)  # where it is made, it is drawn
    blurred = np.asarray(Augment(rare)(np.tile(images, (4, 1, 1, 1)), tf.constant([0, 0]))[0])
    assert 0.3 < (blurred[:, 16, 16, 0] < 254.9).mean() < 0.5


def test_a_bias_field_is_smooth():
    images = np.full((8, 64, 64, 1), 128, np.uint8)
    config = AugmentConfig(**STILL, bias_field=0.2)
    changed, _ = Augment(config)(images, tf.constant([0, 0], tf.int64))
    changed = np.asarray(changed)[..., 0]
    assert changed.std((1, 2)).max() > 10
    assert np.abs(np.diff(changed, axis=1)).mean() < 0.1 * changed.std()


def test_a_stretch_keeps_the_area():
    images, _ = shapes()
    stretched, _ = Augment(AugmentConfig(**STILL, stretch=0.3))(
        images, tf.constant([0, 0], tf.int64)
    )
    before, after = images.sum((1, 2, 3)), np.asarray(stretched).sum((1, 2, 3))
    np.testing.assert_allclose(after, before, rtol=0.03)


def test_nothing_changes_when_it_is_off():
    images, masks = shapes()
    same, same_masks = Augment(AugmentConfig(enabled=False))(
        images, tf.constant([0, 0], tf.int64), masks
    )
    np.testing.assert_array_equal(same, images)
    np.testing.assert_array_equal(same_masks, masks)
    assert same.dtype == same_masks.dtype == tf.float32


@pytest.mark.parametrize("name", ["rotation_degrees", "shift", "zoom", "stretch"])
def test_what_comes_in_from_outside_is_black(name):
    white = augmented(np.full((32, 32), 255), **{name: 20.0 if name == "rotation_degrees" else 0.3})
    corners = white[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert (white[:, 16, 16] > 254).all() and (corners.min(axis=1) < 1).mean() > 0.3


def test_without_flip_left_stays_left():
    half = np.zeros((8, 32, 32, 1), np.uint8)
    half[:, :, :16] = 255
    for step in range(5):
        moved, _ = Augment(AugmentConfig())(half, tf.constant([0, step], tf.int64))
        moved = np.asarray(moved)
        assert (moved[:, :, :16].mean((1, 2, 3)) > moved[:, :, 16:].mean((1, 2, 3))).all()


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_images_keep_full_precision_under_any_policy(policy):
    images, masks = shapes()
    seed = tf.constant([1, 2], tf.int64)
    full, full_masks = Augment(AugmentConfig())(images, seed, masks)
    keras.config.set_dtype_policy(policy)
    try:
        half, half_masks = Augment(AugmentConfig())(images, seed, masks)
    finally:
        keras.config.set_dtype_policy("float32")
    assert half.dtype == tf.float32
    np.testing.assert_array_equal(full, half)
    np.testing.assert_array_equal(full_masks, half_masks)


def test_the_probability_decides_for_each_image_and_change():
    config = AugmentConfig(
        probability=0.25, rotation_degrees=10, shift=0, zoom=0, brightness=0, contrast=0, jpeg=10
    )
    image = np.random.default_rng(0).integers(0, 256, (1, 24, 24, 1)).astype(np.uint8)
    many = np.repeat(image, 64, axis=0)
    changed, _ = Augment(config)(many, tf.constant([3, 4], tf.int64))
    rotated_only, _ = Augment(dataclasses.replace(config, jpeg=0))(
        many, tf.constant([3, 4], tf.int64)
    )
    kept = np.isclose(changed, many, atol=0.01).all(axis=(1, 2, 3))
    not_rotated = np.isclose(rotated_only, many, atol=0.01).all(axis=(1, 2, 3))
    assert 38 <= not_rotated.sum() <= 58
    assert 24 <= kept.sum() <= 48
    assert (kept <= not_rotated).all()
    half = bright(slice(None), slice(0, 32))
    flipped = augmented(half, flip=True, probability=0.3)[:, 0, 0] == 0
    assert 0.05 < flipped.mean() < 0.27  # half of those that are drawn


def test_each_kind_of_draw_has_a_seed_of_its_own(monkeypatch):
    seeds = []

    def record(draw):
        return lambda shape, seed, *more: (
            seeds.append(tuple(map(int, seed))) or draw(shape, seed, *more)
        )

    for name in ("stateless_uniform", "stateless_normal"):
        monkeypatch.setattr(tf.random, name, record(getattr(tf.random, name)))
    augmented(np.zeros((8, 8)), noise=0.1, bias_field=0.1, probability=0.5)
    assert len(seeds) == len(set(seeds)) == 6


def test_both_directions_of_a_shift_are_one_change():
    config = AugmentConfig(
        probability=0.5, rotation_degrees=0, shift=0.2, zoom=0, brightness=0, contrast=0
    )
    dots = np.zeros((64, 41, 41, 1), np.uint8)
    dots[:, 20, 20] = 255
    moved = Augment(config)(dots, tf.constant([1, 2], tf.int64))[0].numpy()[..., 0]
    in_rows, in_columns = (moved.sum(axis=axis)[:, 20] < 254 for axis in (2, 1))
    np.testing.assert_array_equal(in_rows, in_columns)
    assert 16 < in_rows.sum() < 48


CHANGES = {
    **{"rotation_degrees": 20.0, "shift": 0.3, "zoom": 0.3, "stretch": 0.5, "brightness": 0.3},
    **{"contrast": 0.5, "gamma": 0.5, "noise": 0.1, "bias_field": 0.2, "blur": 2.0, "sharpen": 3.0},
    **{"jpeg": 10, "resolution": 0.8},
}


def test_no_change_hangs_on_the_draw_of_another():
    rows, columns = np.mgrid[:16, :16]
    noise = np.random.default_rng(0).normal(0, 20, (16, 16))
    image = np.clip(60 + 8 * np.hypot(rows - 4, columns - 7) + noise, 10, 245).astype(np.uint8)
    given = np.repeat(image[None, ..., None], 128, axis=0)
    sizes = []
    for name, value in CHANGES.items():
        config = AugmentConfig(**STILL | {name: value})
        changed, _ = Augment(config)(given, tf.constant([3, 4], tf.int64))
        sizes.append(np.abs(np.asarray(changed, np.float64) - given).mean(axis=(1, 2, 3)))
    together = np.corrcoef(sizes) - np.eye(len(sizes))
    assert np.abs(together).max() < 0.35


def test_gamma_of_what_other_changes_made_darker_than_black_is_a_number():
    assert np.isfinite(augmented(np.zeros((16, 16)), bias_field=0.3, gamma=0.5)).all()


def test_jpeg_compression_is_that_of_a_file_of_this_quality():
    config = AugmentConfig(
        rotation_degrees=0, shift=0, zoom=0, brightness=0, contrast=0, jpeg=95
    )  # the lowest is the best quality: there is only one
    smooth = np.linspace(20, 230, 32 * 32).reshape(1, 32, 32, 1).astype(np.uint8)
    changed, _ = Augment(config)(smooth, tf.constant([0, 0], tf.int64))
    file = io.BytesIO()
    Image.fromarray(smooth[0, ..., 0]).save(file, "JPEG", quality=95)
    np.testing.assert_allclose(changed[0, ..., 0], np.asarray(Image.open(file)), atol=2)


def test_jpeg_qualities_are_on_a_log_scale_from_the_best_to_the_lowest():
    images = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 1)).astype(np.float32)
    images[3] = 99.6
    given = _compressed(tf.constant(images), tf.constant([0.0, 0.5, 1.0, 0.0]), lowest=20)
    for image, quality, found in zip(images, (95, 44, 20), given, strict=False):
        file = tf.io.encode_jpeg(image.astype(np.uint8), quality=quality)
        expected = tf.io.decode_jpeg(file, dct_method="INTEGER_ACCURATE")
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(given[3], np.full((16, 16, 1), 100))


def test_reducing_averages_all_pixels_and_a_loss_of_0_keeps_them():
    stripes = np.zeros((2, 32, 32, 1), np.float32)
    stripes[:, :, ::4] = 240
    none, three_quarters = _reduced(tf.constant(stripes), tf.constant([0.0, 0.75]))
    np.testing.assert_allclose(none, stripes[0], atol=1e-3)
    np.testing.assert_allclose(three_quarters[:, 8:24], 60, atol=6)


def test_sharpening_enlarges_edges():
    config = AugmentConfig(rotation_degrees=0, shift=0, zoom=0, brightness=0, contrast=0, sharpen=2)
    edge = np.full((1, 32, 32, 1), 100, np.uint8)
    edge[:, :, 16:] = 150
    changed = np.asarray(Augment(config)(edge, tf.constant([0, 1], tf.int64))[0])
    assert changed[0, 16, 15, 0] < 99
    assert changed[0, 16, 16, 0] > 151
    np.testing.assert_allclose(changed[0, :, :8], 100, atol=0.01)


def augmented(images, **strengths):
    """64 copies of an image (height, width), each augmented by its own draw, float64."""
    config = AugmentConfig(**STILL | strengths)
    given = np.repeat(np.asarray(images, np.uint8)[None, ..., None], 64, axis=0)
    changed, _ = Augment(config)(given, tf.constant([3, 4], tf.int64))
    return np.asarray(changed, np.float64)[..., 0]


def assert_fills(values, low, high):
    """The draws are within the bounds, and near both of them."""
    margin = 0.15 * (high - low)
    assert low <= values.min() <= low + margin
    assert high - margin <= values.max() <= high


def test_strengths_of_grey_changes_are_what_the_config_says():
    plain = np.full((16, 16), 64)
    shifts = augmented(plain + 64, brightness=0.2)[:, 0, 0] - 128
    assert_fills(shifts / 255, -0.2, 0.2)
    levels = np.where(np.arange(16) < 8, 78, 178) * np.ones((16, 1))
    spread = augmented(levels, contrast=0.3)
    assert_fills(np.ptp(spread, axis=(1, 2)) / 100, 0.7, 1.3)
    np.testing.assert_allclose(spread.mean(axis=(1, 2)), 128, atol=0.1)
    exponents = np.log(augmented(plain, gamma=0.5)[:, 0, 0] / 255) / np.log(64 / 255)
    assert_fills(np.log(exponents), -np.log(1.5), np.log(1.5))
    deviations = augmented(np.full((64, 64), 128), noise=0.05).std(axis=(1, 2)) / 255
    assert_fills(deviations, 0, 0.0515)  # the 64x64 values themselves vary by 3 %
    noisy = augmented(plain + 64, noise=0.05)
    two = noisy[np.argsort(noisy.std(axis=(1, 2)))[-2:]].reshape(2, -1)
    assert abs(np.corrcoef(two)[0, 1]) < 0.3  # noise of its own in each image


def moments(images):
    """Mass, centre (row, column) and covariance of each image's bright pixels, in pixels."""
    mass = images.sum(axis=(1, 2))
    rows, columns = np.mgrid[: images.shape[1], : images.shape[2]]
    centre = np.stack([(images * at).sum(axis=(1, 2)) / mass for at in (rows, columns)], axis=1)
    apart = [at - centre[:, axis, None, None] for axis, at in enumerate((rows, columns))]
    covariance = [[(images * a * b).sum(axis=(1, 2)) / mass for a in apart] for b in apart]
    return mass, centre, np.moveaxis(np.array(covariance), -1, 0)


def bright(rows, columns):
    image = np.zeros((64, 64))
    image[rows, columns] = 255
    return image


def test_strengths_of_moves_are_what_the_config_says():
    bar = bright(slice(28, 36), slice(12, 52))
    _, _, covariance = moments(augmented(bar, rotation_degrees=20))
    angles = np.arctan2(2 * covariance[:, 0, 1], covariance[:, 1, 1] - covariance[:, 0, 0]) / 2
    assert_fills(np.degrees(angles), -20.3, 20.3)
    square = bright(slice(24, 40), slice(24, 40))
    _, centres, _ = moments(augmented(square, shift=0.15))
    moved = (centres - 31.5) / 64
    assert_fills(moved[:, 0], -0.151, 0.151)
    assert_fills(moved[:, 1], -0.151, 0.151)
    assert abs(np.corrcoef(moved.T)[0, 1]) < 0.4
    mass, _, covariance = moments(augmented(square, zoom=0.2))
    assert_fills(np.sqrt(mass / square.sum()), 1 / 1.21, 1 / 0.79)
    np.testing.assert_allclose(covariance[:, 0, 0], covariance[:, 1, 1], rtol=0.02)
    mass, _, covariance = moments(augmented(square, stretch=0.3))
    aspects = np.log(covariance[:, 1, 1] / covariance[:, 0, 0]) / 2
    assert_fills(aspects, -np.log(1.31), np.log(1.31))
    np.testing.assert_allclose(mass, square.sum(), rtol=0.03)
    flipped = augmented(bright(slice(None), slice(0, 32)), flip=True)[:, 0, 0] == 0
    assert 0.3 < flipped.mean() < 0.7


def test_a_second_channel_moves_with_the_image_and_stays_a_mask():
    _, masks = shapes()
    images = 200 - masks // 2
    seed = tf.constant([1, 2], tf.int64)
    both, none = Augment(MOVES)(np.concatenate([images, masks], axis=-1), seed)
    alone, moved = Augment(MOVES)(images, seed, masks)
    assert none is None
    np.testing.assert_array_equal(both, np.concatenate([alone, moved], axis=-1))


def test_a_loss_of_resolution_keeps_the_place_and_the_mean_and_removes_detail():
    config = AugmentConfig(
        rotation_degrees=0, shift=0, zoom=0, brightness=0, contrast=0, resolution=0.9
    )
    rows, columns = np.mgrid[:64, :64]
    checks = np.where((rows + columns) % 2, 120, 80)
    image = np.where(columns < 32, checks, 200).astype(np.uint8)[None, ..., None]
    many = np.repeat(image, 8, axis=0)
    changed = np.asarray(Augment(config)(many, tf.constant([1, 1], tf.int64))[0])[..., 0]
    np.testing.assert_allclose(changed[:, 8:-8, 8:16].mean(axis=(1, 2)), 100, atol=3)
    np.testing.assert_allclose(changed[:, :, 56:].mean(axis=(1, 2)), 200, atol=6)
    assert np.median(changed[:, 8:-8, 8:16].std(axis=(1, 2))) < 8
