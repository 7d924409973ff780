"""Areas of the lungs, right and left, whatever a mask looks like."""

import numpy as np
import pytest

from kerascxr.evaluation.lung_areas import LEFT, RIGHT, lung_sides, measure_lungs

SHAPE = (200, 240)


def ellipse(row, column, height, width, shape=SHAPE):
    """A filled ellipse by its centre and half axes."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return ((rows - row) / height) ** 2 + ((columns - column) / width) ** 2 <= 1


ON_LEFT, ON_RIGHT = ellipse(100, 75, 70, 32), ellipse(105, 165, 60, 28)
BRIDGE = np.zeros(SHAPE, bool)
BRIDGE[95:105, 75:165] = True


def assert_sides(mask, right, left):
    sides = lung_sides(mask)
    np.testing.assert_array_equal(sides, np.where(right, RIGHT, np.where(left, LEFT, 0)))


def test_the_right_lung_is_on_the_images_left():
    assert_sides(ON_LEFT | ON_RIGHT, ON_LEFT, ON_RIGHT)
    areas = measure_lungs(ON_LEFT | ON_RIGHT, (0.5, 0.2))
    assert areas.right_lung_pixels == ON_LEFT.sum() > areas.left_lung_pixels == ON_RIGHT.sum()
    assert areas.lung_pixels == ON_LEFT.sum() + ON_RIGHT.sum()
    assert areas.lung_fraction == areas.lung_pixels / (200 * 240)
    assert areas.right_lung_mm2 == pytest.approx(0.1 * ON_LEFT.sum())
    assert areas.left_lung_mm2 == pytest.approx(0.1 * ON_RIGHT.sum())
    assert areas.lung_mm2 == pytest.approx(0.1 * areas.lung_pixels)
    assert areas.components == 2


def test_without_a_spacing_there_are_no_square_millimetres():
    areas = measure_lungs(ON_LEFT | ON_RIGHT)
    assert areas.lung_mm2 is areas.right_lung_mm2 is areas.left_lung_mm2 is None
    assert areas.right_lung_pixels == ON_LEFT.sum()


@pytest.mark.parametrize("shift", [-40, 0, 40])
def test_joined_lungs_are_cut_at_their_waist_wherever_they_lie(shift):
    joined = np.roll(ON_LEFT | ON_RIGHT | BRIDGE, shift, axis=1)
    areas = measure_lungs(joined)
    assert areas.components == 1
    bridge = (joined.sum() - ON_LEFT.sum() - ON_RIGHT.sum()) / ON_LEFT.sum()
    assert areas.right_lung_pixels == pytest.approx(ON_LEFT.sum(), rel=bridge + 0.01)
    assert areas.left_lung_pixels == pytest.approx(ON_RIGHT.sum(), rel=bridge + 0.01)
    assert areas.right_lung_pixels + areas.left_lung_pixels == joined.sum()
    sides = lung_sides(joined)
    assert np.nonzero(sides == RIGHT)[1].max() < np.nonzero(sides == LEFT)[1].min()


@pytest.mark.parametrize("shift", [-60, 60])
def test_two_lungs_off_the_middle_of_the_image(shift):
    mask = np.pad(ON_LEFT | ON_RIGHT, ((0, 0), (60, 60)))
    mask = np.roll(mask, shift, axis=1)
    sides = lung_sides(mask)
    assert (sides == RIGHT).sum() == ON_LEFT.sum() and (sides == LEFT).sum() == ON_RIGHT.sum()


def test_a_missing_lung_has_no_area_though_the_other_crosses_the_middle():
    assert_sides(ON_LEFT, ON_LEFT, np.zeros(SHAPE, bool))
    crossing = np.roll(ON_RIGHT, -30, axis=1)
    assert crossing[:, :119].any()
    assert_sides(crossing, np.zeros(SHAPE, bool), crossing)


def test_the_pieces_of_one_lung_are_not_two_lungs():
    pieces = ON_LEFT.copy()
    pieces[:, 74:77] = False
    assert measure_lungs(pieces).components == 2
    assert_sides(pieces, pieces, np.zeros(SHAPE, bool))
    stacked = ON_RIGHT.copy()
    stacked[100:110] = False
    assert_sides(stacked, np.zeros(SHAPE, bool), stacked)
    assert_sides(stacked | ON_LEFT, ON_LEFT, stacked)


def test_a_small_component_beside_one_lung_is_no_lung_of_its_own():
    small = ellipse(100, 180, 3, 3)
    assert_sides(ON_LEFT | small, ON_LEFT, small)
    near = ellipse(100, 110, 3, 3)
    assert_sides(ON_LEFT | near, ON_LEFT | near, np.zeros(SHAPE, bool))


def test_a_small_component_far_away_does_not_move_the_middle():
    lung, small = np.roll(ON_RIGHT, -30, axis=1), ellipse(100, 215, 3, 3)
    assert_sides(lung | small, np.zeros(SHAPE, bool), lung | small)


def test_pixels_that_touch_at_a_corner_are_one_component():
    assert measure_lungs(np.eye(4, dtype=bool)).components == 1


def test_a_shapeless_patch_in_the_middle_is_neither():
    patch = ellipse(100, 119.5, 60, 80)
    assert lung_sides(patch) is None
    areas = measure_lungs(patch, (1.0, 1.0))
    assert areas.right_lung_pixels is areas.left_lung_pixels is areas.right_lung_mm2 is None
    assert areas.lung_mm2 == patch.sum()


def test_the_middle_column_of_an_odd_width_is_half_on_each_side():
    column = np.zeros((9, 9), bool)
    column[2:7, 4] = True
    assert lung_sides(column) is None
    column[2:7, 3] = True  # three quarters are on the image's left
    assert_sides(column, column, np.zeros((9, 9), bool))


def test_a_small_component_in_the_very_middle_is_of_the_left_lung():
    shape = (200, 241)
    lungs = [ellipse(100, place, 70, 32, shape) for place in (60, 180)]
    small = ellipse(30, 120, 3, 3, shape)
    assert_sides(lungs[0] | lungs[1] | small, lungs[0], lungs[1] | small)


def test_an_empty_mask_has_no_area():
    areas = measure_lungs(np.zeros((5, 6), bool), (0.1, 0.1))
    assert areas.lung_pixels == areas.right_lung_pixels == areas.left_lung_pixels == 0
    assert areas.lung_fraction == areas.left_lung_mm2 == areas.components == 0


def test_a_mirrored_mask_has_its_sides_exchanged():
    mask = ON_LEFT | ON_RIGHT | ellipse(30, 120, 6, 6)
    sides, mirrored = lung_sides(mask), lung_sides(mask[:, ::-1])
    exchanged = np.array([0, LEFT, RIGHT])[sides]
    lungs = ON_LEFT | ON_RIGHT
    np.testing.assert_array_equal(mirrored[:, ::-1][lungs], exchanged[lungs])


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match=r"must be bool of shape.* Got dtype=uint8"):
        measure_lungs(np.zeros((3, 4), np.uint8))
    with pytest.raises(ValueError, match=r"spacing must be positive. Got spacing=\(0.1, 0.0\)"):
        measure_lungs(ON_LEFT, (0.1, 0.0))
