"""Lung masks: all but the two largest components go, in every image by itself."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from kerascxr.models.segmenter import Segmenter, masks_by_threshold, small_components

SIDE = 64


def boxes(*places):
    """A mask of rectangles (top, left, height, width)."""
    mask = np.zeros((SIDE, SIDE, 1), bool)
    for top, left, height, width in places:
        mask[top : top + height, left : left + width] = True
    return mask


def left(masks):
    return masks & ~small_components(tf.constant(masks))[0].numpy()


def test_each_image_keeps_its_two_largest_components():
    two = boxes((8, 4, 40, 16), (8, 36, 36, 16))
    three = two | boxes((56, 8, 4, 8))
    many = boxes((0, 0, 4, 4), (0, 20, 8, 8), (20, 0, 12, 12), (40, 40, 20, 20), (40, 0, 4, 4))
    kept = left(np.stack([two, three, many]))
    np.testing.assert_array_equal(kept[0], two)
    np.testing.assert_array_equal(kept[1], two)
    np.testing.assert_array_equal(kept[2], boxes((20, 0, 12, 12), (40, 40, 20, 20)))


@pytest.mark.parametrize("places", [[], [(20, 20, 24, 8)], [(0, 0, SIDE, SIDE)]])
def test_fewer_than_two_components_stay_as_they_are(places):
    mask = boxes(*places)[None]
    np.testing.assert_array_equal(left(mask), mask)


def test_a_long_winding_component_is_one():
    rows = [(top, 0, 4, SIDE) for top in range(0, SIDE, 8)]
    turns = [
        (top + 4, SIDE - 4 if turn % 2 == 0 else 0, 4, 4)
        for turn, top in enumerate(range(0, SIDE - 8, 8))
    ]
    snake = boxes(*rows, *turns)[None]
    np.testing.assert_array_equal(left(snake), snake)


def test_the_two_largest_are_those_of_scipys_labels():
    random = np.random.default_rng(0)
    masks = []
    for _ in range(20):
        # One box in each square of 16 pixels, so that all are 8 pixels apart; of many sizes.
        sizes = random.permutation([(high, wide) for high in range(4, 8) for wide in (4, 9)])
        squares = random.permutation([(top, side) for top in (0, 16, 32, 48) for side in (0, 16)])
        chosen = random.integers(0, 9)
        masks.append(boxes(*np.hstack([squares, sizes])[:chosen].tolist()))
    _, counts = small_components(tf.constant(np.stack(masks)))
    for mask, kept, count in zip(masks, left(np.stack(masks)), counts.numpy(), strict=True):
        parts = sorted(_parts(mask), key=lambda part: -part.sum())
        assert count == len(parts)
        if len(parts) < 3 or parts[1].sum() > parts[2].sum():
            largest = sum(parts[:2], np.zeros_like(mask[..., 0]))
            np.testing.assert_array_equal(kept[..., 0], largest)


def _parts(mask):
    labels, count = ndimage.label(mask[..., 0])
    return [labels == number for number in range(1, count + 1)]


def test_masks_by_threshold_are_those_of_a_segmenter_at_each():
    logits = np.random.default_rng(0).normal(0, 2, (3, SIDE, SIDE, 1)).astype(np.float32)
    model = keras.Sequential([keras.Input((SIDE, SIDE, 1)), keras.layers.Identity()])
    steps = (0.1, 0.5, 0.95)
    found = masks_by_threshold(tf.sigmoid(logits), steps).numpy()
    for place, step in enumerate(steps):
        masks = Segmenter(model, step).masks(tf.constant(logits)).numpy()
        np.testing.assert_array_equal(found[:, place], masks[..., 0] > 0)
    assert 0 < found[:, 2].mean() < (tf.sigmoid(logits).numpy() >= 0.95).mean()


def test_a_mask_of_another_size_is_interpolated_before_the_threshold():
    probabilities = np.where(np.arange(16) < 8, 0.2, 0.9) * np.ones((16, 1))
    segmenter = Segmenter(keras.Sequential([keras.Input((16, 16, 1))]), 0.4)
    given = tf.constant(probabilities[..., None], tf.float32)
    mask = segmenter.mask_at(given, tf.constant([48, 48])).numpy()[..., 0]
    # Between 0.2 and 0.9, column 23 has 0.43; the nearest pixel alone would give it 0.2.
    np.testing.assert_array_equal(mask, np.where(np.arange(48) < 23, 0, 255) * np.ones((48, 1)))


def test_a_pixel_at_the_threshold_is_lung_and_other_components_get_probability_0():
    probabilities = np.zeros((2, 16, 16, 1), np.float32)
    probabilities[0, :8, :8] = 0.5
    probabilities[0, :4, :4] = 0.49
    probabilities[1, :4, :4] = probabilities[1, 8:, :4] = probabilities[1, 8:, 12:] = 0.9
    segmenter = Segmenter(keras.Sequential([keras.Input((16, 16, 1))]), 0.5)
    lungs, components = segmenter.lungs_and_components(tf.constant(probabilities))
    assert components.numpy().tolist() == [1, 3]
    expected = probabilities.copy()
    expected[1, :4, :4] = 0
    np.testing.assert_array_equal(lungs, expected)
    masks = segmenter.binarise(lungs).numpy()
    assert masks.dtype == np.uint8
    np.testing.assert_array_equal(masks, np.where(expected >= 0.5, 255, 0))
    assert (masks[0] > 0).sum() == 48


def test_components_are_compared_by_pixels_and_touch_at_corners():
    wide = boxes(*((0, left, 1, 1) for left in range(0, SIDE, 4)))  # 16 pixels in 16 cells
    small, middle = boxes((16, 0, 5, 5)), boxes((32, 0, 6, 6))
    kept = left((wide | small | middle)[None])[0]
    np.testing.assert_array_equal(kept, small | middle)
    diagonal = boxes((0, 0, 4, 4), (4, 4, 4, 4))  # 32 pixels, one component
    others = boxes((20, 0, 5, 5)), boxes((40, 0, 6, 6))
    kept = left((diagonal | others[0] | others[1])[None])[0]
    np.testing.assert_array_equal(kept, diagonal | others[1])


@pytest.mark.parametrize("size", [(16, 32), (32, 16)])
def test_images_that_are_not_square(size):
    mask = np.zeros((*size, 1), bool)
    expected = mask.copy()
    expected[:6, :6] = expected[-5:, -5:] = True
    mask[:4, -4:] = True
    np.testing.assert_array_equal(left((mask | expected)[None])[0], expected)
    image = keras.Input((*size, 1))
    assert Segmenter(keras.Model(image, keras.layers.Identity()(image)), 0.5).size == size
