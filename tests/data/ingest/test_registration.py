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
