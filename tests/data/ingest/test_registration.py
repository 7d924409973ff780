"""Laying images over each other: a known crop is found, and a step too far does no harm."""

import itertools

import numpy as np
from scipy import ndimage

from kerascxr.data.ingest.registration import register, warp


def smooth(n, side=48, seed=0):
    """Images of mean 0 and deviation 1 whose neighbouring pixels are alike."""
    noise = np.random.default_rng(seed).normal(size=(n, side, side))
    images = ndimage.gaussian_filter(noise, (0, 4, 4))
    images -= images.mean(axis=(1, 2), keepdims=True)
    return (images / images.std(axis=(1, 2), keepdims=True)).astype(np.float32)


def test_warping_undoes_a_crop():
    rows, columns = np.mgrid[:64, :64] / 64
    image = (rows**2 + np.sin(5 * columns)).astype(np.float32)[None]
    change = np.array([[0.1, 0.05, -0.06, 0.02]], np.float32)
    there, _ = warp(image, change)
    scale = 1 + change[:, ::2]
    inverse = np.stack([1 / scale - 1, -change[:, 1::2] / scale], axis=2).reshape(1, 4)
    back, seen = warp(there, inverse)
    assert seen[0, 8:-8, 8:-8].all()
    np.testing.assert_allclose(back[0, 8:-8, 8:-8], image[0, 8:-8, 8:-8], atol=0.01)


def test_a_known_change_is_found():
    moving = smooth(8)
    change = np.random.default_rng(1).uniform(-0.06, 0.06, (8, 4)).astype(np.float32)
    fixed, _ = warp(moving, change)
    found, alike = register(1.3 * fixed - 0.2, moving, np.zeros_like(change), steps=6)
    np.testing.assert_allclose(found, change, atol=0.004)
    assert (alike > 0.999).all()


def test_more_steps_never_end_worse():
    one, other = smooth(30, seed=2), smooth(30, seed=3)
    start = np.zeros((30, 4), np.float32)
    by_steps = [register(one, other, start, steps, margin=2)[1] for steps in range(5)]
    for fewer, more in itertools.pairwise(by_steps):
        assert (more >= fewer - 1e-6).all()


def test_no_step_is_the_plain_correlation():
    one, other = smooth(3, seed=4), smooth(3, seed=5)
    change, alike = register(one, other, np.zeros((3, 4), np.float32), steps=0, margin=5)
    inner = [images[:, 5:-5, 5:-5].reshape(3, -1) for images in (one, other)]
    expected = [np.corrcoef(a, b)[0, 1] for a, b in zip(*inner, strict=True)]
    np.testing.assert_allclose(alike, expected, atol=1e-5)
    assert not change.any()


def test_plain_images_are_like_nothing():
    plain = np.zeros((2, 32, 32), np.float32)
    change, alike = register(plain, smooth(2, 32), np.zeros((2, 4), np.float32), steps=3)
    assert not alike.any()
    assert np.isfinite(change).all()
    _, none = register(plain[:0], plain[:0], np.zeros((0, 4), np.float32), steps=3)
    assert none.shape == (0,)


def test_pixels_within_the_margin_of_either_image_do_not_count():
    one, other = smooth(4, seed=6), smooth(4, seed=7)
    start = np.array([[0, d, 0, a] for d in (0.09, -0.09) for a in (0.08, -0.08)], np.float32)
    found = register(one, other, start, steps=0, margin=5)
    assert [part.dtype for part in found] == [np.float32, np.float32]
    inner = (slice(None), slice(5, -5), slice(5, -5))
    for place in (0, 1):
        given = [one.copy(), other.copy()]
        noise = np.random.default_rng(8).normal(size=one.shape).astype(np.float32)
        noise[inner] = given[place][inner]
        given[place] = noise
        _, alike = register(*given, start, steps=0, margin=5)
        # Of the moving image, interpolation reaches half a pixel into the margin.
        np.testing.assert_allclose(alike, found[1], atol=(1e-6, 0.05)[place])


def test_three_steps_find_a_change_of_two_pixels():
    moving = smooth(8)
    change = np.random.default_rng(1).uniform(-0.08, 0.08, (8, 4)).astype(np.float32)
    fixed, _ = warp(moving, change)
    found, _ = register(fixed, moving, np.zeros_like(change), steps=3)
    np.testing.assert_allclose(found, change, atol=0.004)


def test_a_value_from_over_half_a_pixel_outside_is_outside():
    images = smooth(1, side=20)
    for pixels in (-1.4, -0.7, -0.4, 0.4, 0.7):
        for margin in (0, 3):
            _, inside = warp(images, np.array([[0, 0, 0, pixels * 2 / 20]], np.float32), margin)
            places = np.arange(20) + pixels
            expected = (places > margin - 0.5) & (places < 20 - margin - 0.5)
            np.testing.assert_array_equal(inside[0, 10], expected)
