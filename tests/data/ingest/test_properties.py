"""The simple properties of an image, by value, and where the rule for corner markers ends."""

import numpy as np
import pytest
from scipy import ndimage

from kerascxr.data.ingest.properties import corner_markers, frame_widths, measure, opening

SIDES = ("top", "bottom", "left", "right")


def test_grey_levels_are_measured_on_all_pixels():
    counts = {3: 12, 7: 5, 100: 500, 150: 470, 200: 13}
    pixels = np.repeat([*counts], [*counts.values()]).astype(np.uint8).reshape(20, 50)
    measured = measure(pixels, 3000)
    assert {type(value) for value in measured.values()} == {float}
    expected = {
        "height": 20,
        "width": 50,
        "bytes": 3000,
        "bytes_per_pixel": 3,
        "mean": pixels.mean(),
        "deviation": pixels.std(),
        "percentile_1": 3,
        "median": 100,
        "percentile_99": 200,
        "share_black": 0.017,
        "share_white": 0,
    }
    assert {name: measured[name] for name in expected} == pytest.approx(expected)


def test_black_is_at_most_10_and_white_at_least_245():
    measured = measure(np.array([[9, 10, 11, 244, 245, 246]], np.uint8), 0)
    assert measured["share_black"] == measured["share_white"] == pytest.approx(1 / 3)


def test_a_frame_has_its_own_width_on_each_side():
    for dark, edge, next_to in ((True, 10, 11), (False, 245, 244)):
        pixels = np.full((20, 40), 120, np.uint8)
        for level, expected in ((next_to, [0, 0, 0, 0]), (edge, [0.05, 0.15, 0.075, 0.125])):
            pixels[:1] = pixels[-3:] = pixels[:, :3] = pixels[:, -5:] = level
            assert frame_widths(pixels, dark) == expected
        names = [f"{('white', 'black')[dark]}_{side}" for side in SIDES]
        measured = measure(pixels, 0)
        assert [measured[name] for name in names] == expected
        assert sum(value > 0 for name, value in measured.items() if name.endswith(SIDES)) == 4


def test_a_line_of_a_frame_may_have_five_percent_of_other_pixels():
    pixels = np.full((3, 20), 120, np.uint8)
    pixels[0, :19] = pixels[2, :18] = 0
    assert frame_widths(pixels, dark=True)[:2] == [1 / 3, 0]


# ---- corner markers: an image of 256x256 pixels is measured as it is


def outline(height, width, stroke=3):
    shape = np.ones((height, width), bool)
    shape[stroke:-stroke, stroke:-stroke] = False
    return shape


def solid(height, width):
    return np.ones((height, width), bool)


def with_share(height, width, count):
    """A connected shape of that many pixels that reaches all sides of its box."""
    shape = np.zeros((height, width), bool)
    shape[:, 0] = shape[-1] = True
    free = [place for place in np.ndindex(height, width) if not shape[place]]
    # Column by column from the left, bottom up, so that each pixel touches one before it.
    for row, column in sorted(free, key=lambda place: (place[1], -place[0])):
        if shape.sum() < count:
            shape[row, column] = True
    assert shape.sum() == count
    return shape


def draw(shape, y=10, x=10, contrast=100, pixels=None):
    pixels = np.full((256, 256), 100, np.uint8) if pixels is None else pixels
    pixels[y : y + shape.shape[0], x : x + shape.shape[1]][shape] = 100 + contrast
    return pixels


@pytest.mark.parametrize(
    ("is_marker", "is_none"),
    [
        ({"contrast": 71}, {"contrast": 70}),
        ({"shape": outline(7, 20, 2)}, {"shape": outline(6, 20, 2)}),
        ({"shape": outline(35, 20)}, {"shape": outline(36, 20)}),
        ({"shape": solid(20, 3)}, {"shape": solid(20, 2)}),
        ({"shape": outline(20, 35)}, {"shape": outline(20, 36)}),
        ({"shape": solid(20, 8)}, {"shape": solid(20, 9)}),
        ({"shape": solid(17, 8)}, {"shape": solid(16, 8)}),
        ({"shape": with_share(20, 20, 60)}, {"shape": with_share(20, 20, 59)}),
        ({"shape": with_share(10, 8, 68)}, {"shape": with_share(10, 8, 69)}),
        ({"x": 1}, {"x": 0}),
        ({"y": 1}, {"y": 0}),
        ({"x": 56}, {"x": 57}),
        ({"y": 56}, {"y": 57}),
    ],
)
def test_where_the_rule_ends(is_marker, is_none):
    assert corner_markers(draw(**{"shape": outline(20, 20)} | is_marker)) == [True] + [False] * 3
    assert corner_markers(draw(**{"shape": outline(20, 20)} | is_none)) == [False] * 4


def test_each_corner_has_its_own_answer_in_the_stated_order():
    for corner in range(4):
        y, x = (10 if corner < 2 else 220), (10 if corner % 2 == 0 else 220)
        found = corner_markers(draw(outline(20, 20), y, x))
        assert found == [place == corner for place in range(4)]
        assert corner_markers(draw(solid(20, 9), y, x)) == [False] * 4
    both = draw(outline(20, 20), 10, 256 - 77 + 10, pixels=draw(outline(20, 20)))
    assert corner_markers(both) == [True, True, False, False]


def test_a_patch_that_is_none_does_not_hide_a_marker_before_it():
    pixels = draw(solid(4, 4), 50, 50, pixels=draw(outline(20, 20)))
    assert corner_markers(pixels)[0]


def test_pixels_that_touch_at_a_corner_are_one_patch():
    half = solid(5, 3)
    assert corner_markers(draw(half, 15, 13, pixels=draw(half)))[0]
    assert not corner_markers(draw(half, 16, 13, pixels=draw(half)))[0]


def test_a_larger_image_is_measured_at_256_pixels_a_side():
    pixels = draw(outline(20, 20))
    assert corner_markers(pixels.repeat(3, axis=0).repeat(2, axis=1)) == [True] + [False] * 3


@pytest.mark.parametrize(("shape", "size"), [((4, 77, 77), 9), ((3, 20, 31), 5), ((1, 9, 9), 9)])
def test_an_opening_is_that_of_scipy(shape, size):
    images = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    expected = ndimage.grey_opening(images, (1, size, size))
    np.testing.assert_array_equal(opening(images, size), expected)
