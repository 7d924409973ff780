"""Checking, thresholding and cleaning masks; surface distances against brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from kerascxr.evaluation.masks import (
    as_mask,
    binarise,
    largest_components,
    resized,
    surface_distances,
)

MASKS = arrays(bool, (7, 9))


def brute_force_surface(mask):
    return [
        (row, column)
        for row, column in np.argwhere(mask)
        if any(
            not (0 <= row + down < mask.shape[0] and 0 <= column + right < mask.shape[1])
            or not mask[row + down, column + right]
            for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1))
        )
    ]


def brute_force_distances(truth, prediction):
    a, b = brute_force_surface(truth), brute_force_surface(prediction)
    from_a = [min(np.hypot(p[0] - q[0], p[1] - q[1]) for q in b) for p in a]
    from_b = [min(np.hypot(p[0] - q[0], p[1] - q[1]) for q in a) for p in b]
    return max(np.percentile(from_a, 95), np.percentile(from_b, 95)), np.mean(from_a + from_b)


@settings(max_examples=60)
@given(MASKS, MASKS)
def test_distances_are_those_of_brute_force(truth, prediction):
    distances = surface_distances(truth, prediction)
    if truth.any() and prediction.any():
        assert distances == pytest.approx(brute_force_distances(truth, prediction))
    else:
        assert distances == ((None, None) if truth.any() or prediction.any() else (0.0, 0.0))
    assert surface_distances(prediction, truth) == pytest.approx(distances)


@settings(max_examples=60)
@given(MASKS, MASKS)
def test_distances_are_zero_only_between_equal_surfaces(truth, prediction):
    assert surface_distances(truth, truth) == (0.0, 0.0)
    if truth.any() and prediction.any():
        equal = brute_force_surface(truth) == brute_force_surface(prediction)
        assert (surface_distances(truth, prediction)[1] == 0) == equal


def test_a_square_moved_aside():
    truth = np.zeros((40, 40), bool)
    truth[10:20, 10:20] = True
    hd95, assd = surface_distances(truth, np.roll(truth, 4, axis=1))
    assert hd95 == 4.0
    assert 0 < assd < 4


def test_distances_in_mm_are_stretched_each_way_by_its_own_spacing():
    truth = np.zeros((40, 40), bool)
    truth[10:20, 10:20] = True
    assert surface_distances(truth, np.roll(truth, 4, axis=0), (0.5, 3.0))[0] == 2.0
    assert surface_distances(truth, np.roll(truth, 4, axis=1), (0.5, 3.0))[0] == 12.0
    # Equal to the same masks with each pixel drawn as 1 x 6 pixels, except for half a pixel.
    moved = np.roll(truth, (3, 2), axis=(0, 1))
    wide = surface_distances(
        np.kron(truth, np.ones((1, 6))) > 0, np.kron(moved, np.ones((1, 6))) > 0
    )
    assert surface_distances(truth, moved, (1.0, 6.0))[0] == pytest.approx(wide[0], abs=3)


def test_a_resized_image_has_other_millimetres_a_pixel_each_way():
    assert resized((0.15, 0.15), (2500, 2000), (256, 256)) == pytest.approx((1.4648, 1.1719), 1e-4)


def test_hd95_takes_the_worse_direction():
    truth = np.zeros((60, 60), bool)
    truth[5:15, 5:15] = True
    prediction = truth.copy()
    prediction[45:55, 45:55] = True  # far from all truth; every truth point is met exactly
    hd95, _ = surface_distances(truth, prediction)
    assert hd95 == pytest.approx(brute_force_distances(truth, prediction)[0])
    assert hd95 > 45


def test_the_image_edge_is_a_surface():
    full = np.ones((5, 5), bool)
    inner = np.zeros((5, 5), bool)
    inner[1:4, 1:4] = True
    # The full image's surface is its rim, 1 from the inner square's rim but sqrt(2) at corners.
    assert surface_distances(full, inner)[0] == pytest.approx(np.sqrt(2))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_threshold_itself_is_foreground(dtype):
    for threshold in (0.05, 0.3, 0.35, 0.7, 0.95):
        at = np.array([[threshold]], dtype)
        below = np.nextafter(at, dtype(0))
        assert binarise(at, threshold).all()
        assert not binarise(below, threshold).any()


def test_masks_of_every_kind_are_taken_as_they_are():
    mask = np.array([[0, 1], [1, 0]])
    for given_mask in (mask.astype(bool), mask.astype(np.uint8), (255 * mask).astype(np.uint8)):
        assert (binarise(given_mask, 0.99) == mask.astype(bool)).all()


@pytest.mark.parametrize(
    ("prediction", "threshold", "message"),
    [
        (np.array([[0.2, np.nan]]), 0.5, "must be between 0 and 1. Got range=nan..nan"),
        (np.array([[0.2, 3.5]]), 0.5, r"Got range=0\.2\.\.3\.5"),
        (np.array([[-0.1, 0.5]]), 0.5, "must be between 0 and 1"),
        (np.zeros((2, 2, 1), np.float32), 0.5, r"\(height, width\)\. Got shape=\(2, 2, 1\)"),
        (np.zeros((2, 2)), 0.0, "threshold must be between 0 and 1. Got threshold=0.0"),
        (np.zeros((2, 2)), 1.5, "threshold must be"),
        (np.array([["a"]]), 0.5, "mask of bool or integers"),
    ],
)
def test_what_is_neither_probabilities_nor_mask_is_refused(prediction, threshold, message):
    with pytest.raises(ValueError, match=message):
        binarise(prediction, threshold)


@pytest.mark.parametrize(
    ("values", "got"),
    [
        ([0, 1, 2], "value=2"),
        ([0, 128], "value=128"),
        ([0, 1, 255], "0, 1 and 255"),
        ([-1, 0], "-1"),
    ],
)
def test_grey_masks_are_refused(values, got):
    with pytest.raises(ValueError, match=f"truth must hold only 0 and 1.*{got}"):
        as_mask(np.array([values]), "truth")


def test_the_two_largest_components_stay():
    mask = np.zeros((10, 10), bool)
    mask[0:3, 0:3] = True  # 9 pixels
    mask[6:10, 5:10] = True  # 20
    mask[0, 9] = mask[3, 3] = True  # 1 each, the second touching the first square by a corner only
    kept = largest_components(mask)
    assert kept.sum() == 29
    assert not kept[0, 9]
    assert not kept[3, 3]
    assert largest_components(mask, 1).sum() == 20
    assert (largest_components(mask, 9) == mask).all()


@settings(max_examples=60)
@given(MASKS, st.integers(1, 4))
def test_components_kept_are_the_largest(mask, keep):
    kept = largest_components(mask, keep)
    assert not (kept & ~mask).any()
    components, count = ndimage.label(mask)
    sizes = sorted((np.sum(components == number) for number in range(1, count + 1)), reverse=True)
    assert kept.sum() == sum(sizes[:keep])
    assert ndimage.label(kept)[1] == min(keep, count)
    assert (largest_components(kept, keep) == kept).all()


def test_of_equal_components_the_topmost_stays():
    mask = np.array([[0, 0, 1], [1, 0, 0], [0, 0, 1]], bool)
    assert np.argwhere(largest_components(mask, 1)).tolist() == [[0, 2]]


def test_keeping_none_is_refused():
    with pytest.raises(ValueError, match=r"keep must be 1 or more\. Got keep=0"):
        largest_components(np.ones((2, 2), bool), 0)
