"""Checks of masks; surface distances against brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays

from kerascxr.evaluation.masks import as_mask, resized, surface_distances

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
    # An image of 375 x 400 mm, whose new size is not square either.
    assert resized((0.15, 0.2), (2500, 2000), (250, 100)) == pytest.approx((1.5, 4.0))


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


def test_masks_of_every_kind_are_taken_as_they_are():
    mask = np.array([[0, 1], [1, 0]])
    for given_mask in (mask.astype(bool), mask.astype(np.uint8), (255 * mask).astype(np.uint8)):
        assert (as_mask(given_mask, "mask") == mask.astype(bool)).all()


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros((2, 2, 1), bool), r"\(height, width\)\. Got shape=\(2, 2, 1\)"),
        (np.array([["a"]]), "mask of bool or integers"),
        (np.zeros((2, 2), np.float32), "Got dtype=float32"),
    ],
)
def test_what_is_no_mask_is_refused(mask, message):
    with pytest.raises(ValueError, match=message):
        as_mask(mask, "prediction")
