"""The overlay of a mask: pixel by pixel, at the image's size, visible on black and on white."""

import numpy as np
import pytest

from kerascxr.plots.overlay import overlay

pytestmark = pytest.mark.figures


def square(side=60, begin=20, end=40):
    mask = np.zeros((side, side + 10), bool)
    mask[begin:end, begin:end] = True
    return mask


def test_the_contour_is_the_masks_edge_and_the_rest_of_the_image_stays():
    image = np.random.default_rng(0).integers(0, 256, (60, 70)).astype(np.uint8)
    drawn = overlay(image, square())
    assert drawn.shape == (60, 70, 3) and drawn.dtype == np.uint8
    inner, outer = square(begin=21, end=39), square(begin=19, end=41)
    edge = square() & ~inner
    assert len(np.unique(drawn[edge], axis=0)) == 1  # of one colour
    assert (drawn[outer & ~square()] == 0).all()
    np.testing.assert_array_equal(drawn[~outer], np.repeat(image[~outer][:, None], 3, axis=1))
    tint = drawn[inner].astype(int) - image[inner][:, None]
    assert np.abs(tint).max() < 60 and (drawn[inner, 2] > drawn[inner, 0]).all()
    darker = np.argsort(image[inner], kind="stable")  # what is in the lungs stays visible
    assert (np.diff(drawn[inner][darker].astype(int), axis=0) >= 0).all()


@pytest.mark.parametrize("grey", [0, 255])
def test_the_contour_stands_out_from_black_and_from_white(grey):
    image = np.full((60, 70), grey, np.uint8)
    drawn = overlay(image, square()).astype(int)
    line = drawn[30, 19:22]  # outside, contour, inside
    assert np.abs(line[1] - line[0]).max() > 200
    assert np.abs(line[1] - line[2]).max() > 100


def test_the_contour_is_wider_on_a_larger_image():
    for side, width in ((60, 1), (450, 2), (900, 3)):
        mask = square(side, side // 3, 2 * side // 3)
        row = overlay(np.full(mask.shape, 128, np.uint8), mask)[side // 2]
        contour = (row == row[side // 3]).all(axis=1)
        assert contour.sum() == 2 * width
        assert (row[side // 3 - width : side // 3] == 0).all()


def test_a_mask_at_the_border_is_closed_and_a_full_or_empty_one_is_drawn():
    image = np.full((60, 70), 128, np.uint8)
    full = overlay(image, np.ones((60, 70), bool))
    assert (full[0] == full[0, 0]).all() and (full[:, -1] == full[0, 0]).all()
    assert (full[1:-1, 1:-1] != full[0, 0]).any(axis=2).all()
    np.testing.assert_array_equal(
        overlay(image, np.zeros((60, 70), bool)), np.full((60, 70, 3), 128)
    )


def test_neither_the_image_nor_the_mask_is_changed():
    image, mask = np.full((60, 70), 128, np.uint8), square()
    overlay(image, mask)
    assert (image == 128).all() and (mask == square()).all()


@pytest.mark.parametrize(
    ("image", "mask", "message"),
    [
        (np.zeros((4, 5)), np.zeros((4, 5), bool), "image must be uint8"),
        (np.zeros((4, 5, 3), np.uint8), np.zeros((4, 5), bool), "image must be uint8"),
        (np.zeros((4, 5), np.uint8), np.zeros((4, 5), np.uint8), "mask bool"),
        (np.zeros((4, 5), np.uint8), np.zeros((5, 4), bool), r"shape \(4, 5\). Got shape=\(5, 4\)"),
    ],
)
def test_wrong_input_is_refused(image, mask, message):
    with pytest.raises(ValueError, match=message):
        overlay(image, mask)
