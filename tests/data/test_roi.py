"""What each roi leaves of an image, pixel by pixel, on drawn images with known lungs."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from kerascxr.data.images import resize_mask, to_backbone_input
from kerascxr.data.roi import BORDER, CORNER, LUNG_MARGIN, ROIS, THUMBNAIL, check_roi, lung_box

H, W = 80, 60
NOISE = np.random.default_rng(0).integers(1, 256, (H, W, 1)).astype(np.uint8)  # nowhere black


def lungs(top, bottom, left, right, size=(H, W)):
    mask = np.zeros((*size, 1), np.uint8)
    mask[top:bottom, left:right] = 255
    return mask


INSIDE = lungs(20, 48, 15, 45)
EMPTY = np.zeros((H, W, 1), np.uint8)


def look(roi, image=NOISE, mask=INSIDE, size=(H, W)):
    seen = ROIS[roi].apply(tf.constant(image), tf.constant(mask), size)
    assert seen.dtype == tf.uint8
    return seen.numpy()


def test_an_unknown_roi_and_lungs_without_use_are_refused():
    check_roi("lung_crop", Path("unet"))
    check_roi("none", None)
    with pytest.raises(ValueError, match="unknown roi 'crop', did you mean 'lung_crop'"):
        check_roi("crop", None)
    with pytest.raises(ValueError, match=r"lungs must be left out .* Got lungs='unet', roi='none'"):
        check_roi("none", Path("unet"))


@pytest.mark.parametrize("roi", ROIS)
@pytest.mark.parametrize("mask", [INSIDE, EMPTY, lungs(0, 9, 0, 7, (32, 24))])
def test_eager_and_mapped_give_the_same_at_the_size_wanted(roi, mask):
    for size in ((32, 32), (40, 64)):
        eager = look(roi, mask=mask, size=size)
        assert eager.shape == (*size, ROIS[roi].channels)
        data = tf.data.Dataset.from_tensors((NOISE, mask))
        mapped = data.map(lambda image, inside, size=size: ROIS[roi].apply(image, inside, size))
        assert mapped.element_spec.shape == eager.shape
        np.testing.assert_array_equal(next(mapped.as_numpy_iterator()), eager)


def test_the_lungs_box_has_a_margin_and_stays_inside():
    m = LUNG_MARGIN
    np.testing.assert_allclose(
        lung_box(INSIDE), [20 / H - m, 15 / W - m, 48 / H + m, 45 / W + m], atol=1e-6
    )
    np.testing.assert_allclose(lung_box(lungs(0, 40, 30, W)), [0, 0.5 - m, 0.5 + m, 1], atol=1e-6)
    np.testing.assert_array_equal(lung_box(EMPTY), [0, 0, 1, 1])


def test_mask_channel_and_shape_follow_the_outline():
    inside = INSIDE > 0
    np.testing.assert_array_equal(look("lungs_only"), np.where(inside, NOISE, 0))
    np.testing.assert_array_equal(look("lung_outline"), INSIDE)
    np.testing.assert_array_equal(look("lung_channel"), np.concatenate([NOISE, INSIDE], axis=-1))


def test_a_mask_of_another_size_is_that_of_the_image():
    small = lungs(10, 24, 5, 15, (H // 2, W // 3))
    large = small.repeat(2, axis=0).repeat(3, axis=1)
    size = (H // 2, W // 3)
    for roi in ("lungs_only", "lung_channel", "lung_outline", "without_lungs"):
        np.testing.assert_array_equal(
            look(roi, mask=small, size=size), look(roi, mask=large, size=size)
        )
    np.testing.assert_array_equal(look("lung_crop", mask=small), look("lung_crop", mask=large))


def test_no_lungs_count_as_lungs_everywhere():
    np.testing.assert_array_equal(look("lung_crop", mask=EMPTY), NOISE)
    np.testing.assert_array_equal(look("lungs_only", mask=EMPTY), NOISE)
    assert (look("lung_outline", mask=EMPTY) == 255).all()
    assert (look("lung_channel", mask=EMPTY)[..., 1] == 255).all()
    assert not look("without_lungs", mask=EMPTY).any()


@pytest.mark.parametrize("size", [(H, W), (33, 47)])
@pytest.mark.parametrize(
    "mask", [INSIDE, lungs(0, 30, 0, 20), lungs(50, H, 40, W), lungs(30, 31, 0, W)]
)
def test_hidden_hides_every_lung_pixel_and_no_more_than_the_margin(mask, size):
    seen = look("without_lungs", np.full((H, W, 1), 200, np.uint8), mask, size)[..., 0]
    assert not seen[resize_mask(mask, size).numpy()[..., 0] > 0].any()
    top, left, bottom, right = lung_box(resize_mask(mask, size)).numpy() * np.tile(size, 2)
    expected = np.full(size, 200)
    expected[round(top) : round(bottom), round(left) : round(right)] = 0
    np.testing.assert_array_equal(seen, expected)


def test_border_corners_and_thumbnail():
    down, across = round(BORDER * H), round(BORDER * W)
    expected = NOISE.copy()
    expected[down:-down, across:-across] = 0
    np.testing.assert_array_equal(look("border_only"), expected)
    down, across = round(CORNER * H), round(CORNER * W)
    expected = NOISE.copy()
    for rows in (slice(down), slice(H - down, H)):
        for columns in (slice(across), slice(W - across, W)):
            expected[rows, columns] = 0
    np.testing.assert_array_equal(look("without_corners"), expected)
    blocks = np.arange(64, dtype=np.uint8).reshape(8, 8, 1) * 3
    large = blocks.repeat(8, axis=0).repeat(8, axis=1)
    assert len(np.unique(look("thumbnail", NOISE, size=(8, 8)))) > 10
    fine = (np.indices((64, 64)).sum(0) % 2 * 200)[..., None].astype(np.uint8)
    assert np.ptp(look("thumbnail", fine, size=(64, 64)).astype(int)) <= 50
    assert np.abs(look("thumbnail", large, size=(8, 8)).astype(int) - blocks).max() < 20


@pytest.mark.parametrize(
    "mask",
    [
        *(INSIDE, lungs(0, 30, 0, 20), lungs(50, H, 45, W), lungs(0, H, 25, 35)),
        *(lungs(3, 9, 0, W), lungs(62, H, 5, 45)),
    ],
)
@pytest.mark.parametrize("scale", [1, 2])
def test_crop_is_inside_holds_the_lungs_and_stretches_nothing(mask, scale):
    # Grey values tell where a pixel comes from.
    mask = mask.repeat(scale, axis=0).repeat(scale, axis=1)
    places = np.indices((H, W), np.uint8)
    size = (H, W)
    ends = []
    for axis in (0, 1):
        seen = look("lung_crop", places[axis][..., None], mask, size)[..., 0]
        ends.append((int(seen.min()), int(seen.max()) + 1))
    rows, columns = (np.flatnonzero(mask[..., 0].any(axis=1 - axis)) // scale for axis in (0, 1))
    for (first, last), found, side in zip(ends, (rows, columns), (H, W), strict=True):
        assert 0 <= first <= found.min() and found.max() < last <= side
    shares = [(last - first) / side for (first, last), side in zip(ends, (H, W), strict=True)]
    assert abs(shares[0] - shares[1]) < 2.5 / W
    box = lung_box(mask).numpy()
    assert max(shares) <= max(box[2] - box[0], box[3] - box[1]) + 2.5 / W


def test_crop_takes_the_pixels_of_the_image_at_its_own_size():
    large = np.random.default_rng(1).integers(0, 256, (80, 80, 1)).astype(np.uint8)
    mask = lungs(24, 56, 24, 56, (80, 80))  # 0.3 to 0.7, and 0.25 to 0.75 with the margin
    np.testing.assert_array_equal(look("lung_crop", large, mask, (40, 40)), large[20:60, 20:60])


def test_a_classifier_gets_grey_grey_and_the_lungs():
    seen = look("lung_channel")[None]
    given = to_backbone_input(seen).numpy()
    assert given.dtype == np.float32
    np.testing.assert_array_equal(given[..., :2], np.concatenate([NOISE, NOISE], axis=-1)[None])
    np.testing.assert_array_equal(given[..., 2:], INSIDE[None])
    np.testing.assert_array_equal(to_backbone_input(NOISE[None]), NOISE[None].repeat(3, axis=-1))


def test_the_regions_have_the_stated_sizes():
    """Ablations of other runs and the documentation's are compared with them."""
    assert (LUNG_MARGIN, BORDER, CORNER, THUMBNAIL) == (0.05, 0.1, 0.2, (8, 8))
    visible = {name: roi.ablation.lungs_visible for name, roi in ROIS.items() if roi.ablation}
    assert visible == {
        **dict.fromkeys(("none", "lungs_only", "without_corners"), True),
        **dict.fromkeys(("without_lungs", "border_only", "thumbnail", "lung_outline"), False),
    }
    without_masks = {name for name, roi in ROIS.items() if not roi.needs_lungs}
    assert without_masks == {"none", "without_corners", "border_only", "thumbnail"}
    assert {name for name, roi in ROIS.items() if roi.channels == 2} == {"lung_channel"}


@pytest.fixture(scope="module")
def chest():
    """An image of 112 pixels with structure of several sizes, and its lungs."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:112, :112] / 112
    inside = np.abs(columns - 0.5) + 0.2 * rows < 0.42
    inside &= (np.abs(columns - 0.5) > 0.08) & (rows > 0.15) & (rows < 0.8)
    waves = np.sin(40 * rows) + np.cos(23 * columns + 9 * rows)
    image = 110 + 25 * waves + 30 * rows + random.normal(0, 4, rows.shape)
    return image, (255 * inside[..., None]).astype(np.uint8)


def equalized(image, mask, size=(112, 112)):
    grey = np.clip(np.rint(image), 0, 255).astype(np.uint8)[..., None]
    return ROIS["lungs_equalized"].apply(tf.constant(grey), tf.constant(mask), size).numpy()[..., 0]


def test_equalized_lungs_have_all_grey_values_equally_often(chest):
    found = equalized(*chest)
    lungs_alone = found[found > 0]
    np.testing.assert_allclose(np.percentile(lungs_alone, [5, 50, 95]), [13, 128, 242], atol=4)
    assert 0.3 < (found > 0).mean() < 0.9  # enlarged; the mask has a fifth of the image
    whole = equalized(chest[0], np.zeros_like(chest[1]))
    assert (whole > 0).mean() > 0.95
    flat = equalized(np.full_like(chest[0], 90), chest[1])
    assert set(np.unique(flat)) == {0, 128}  # one grey value has the middle rank


@pytest.mark.parametrize(
    "made",
    [
        lambda image: 255 * (image / 255) ** 1.6,
        lambda image: 0.6 * image + 70,
        lambda image: ndimage.gaussian_filter(image, 0.5),
    ],
    ids=["gamma", "contrast", "slight blur"],
)
def test_equalized_lungs_do_not_hold_how_the_image_was_made(chest, made):
    image, mask = chest
    as_is, changed = (equalized(pixels, mask).astype(float) for pixels in (image, made(image)))
    assert np.abs(as_is - changed).mean() < 2.5
    only = [
        ROIS["lungs_only"]
        .apply(np.clip(np.rint(pixels), 0, 255).astype(np.uint8)[..., None], mask, (112, 112))
        .numpy()
        .astype(float)
        for pixels in (image, made(image))
    ]
    assert np.abs(as_is - changed).mean() < np.abs(only[0] - only[1]).mean()


def test_equalized_lungs_hold_nothing_of_their_surroundings(chest):
    image, mask = chest
    far = ~ndimage.binary_dilation(mask[..., 0] > 0, iterations=3)
    np.testing.assert_array_equal(
        equalized(image, mask), equalized(np.where(far, 255, image), mask)
    )
