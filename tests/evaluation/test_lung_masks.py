"""Masks that cannot be lungs are found, one by one and as a set."""

import numpy as np
import pytest

from kerascxr.data.phantom.drawing import SHARES, Drawing
from kerascxr.evaluation.lung_masks import MOST_IMPLAUSIBLE, LungMaskCheck, lung_mask_faults


@pytest.fixture(scope="module")
def drawn():
    """Lung masks of twelve drawings."""
    labels = list(SHARES)
    return [Drawing(i, 5, labels[i % 4], size=(128, 112)).draw()[1] for i in range(12)]


def checked(masks):
    return LungMaskCheck.of([lung_mask_faults(mask) for mask in masks])


def test_drawn_lungs_are_plausible_at_each_size_and_mirrored(drawn):
    for change in (lambda m: m, lambda m: m[:, ::-1], lambda m: m > 0, lambda m: m[::2, ::2]):
        assert checked(map(change, drawn)) == LungMaskCheck(12, 0)


def blob(mask):
    rows, columns = (np.arange(side) / side - 0.5 for side in mask.shape)
    return rows[:, None] ** 2 + columns**2 < 0.25**2


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (np.zeros_like, "is empty"),
        (np.ones_like, "does not cover 5% to 50% of the image"),
        (blob, "does not have two lungs side by side"),
        (lambda m: m[::-1], "is wider at the top than at the bottom"),
        (lambda m: np.rot90(m), "does not have two lungs side by side"),
        (lambda m: np.where(np.arange(m.shape[1]) < 56, m, 0), "does not have two lungs"),
        (lambda m: np.roll(m, 50, axis=0), "does not lie in the middle of the image"),
        (lambda m: np.pad(m, ((0, 0), (0, 80)))[:, 56:], "does not lie in the middle"),
        (lambda m: m & (np.indices(m.shape).sum(axis=0) % 16 < 8), "has more than 4 parts"),
        (lambda m: np.pad(m, 128), "does not cover 5% to 50% of the image"),
    ],
)
def test_what_cannot_be_lungs_has_its_reason(change, fault, drawn):
    check = checked(map(change, drawn))
    assert check.implausible == 12
    assert any(reason.startswith(fault) and n >= 6 for reason, n in check.reasons.items()), check


def two_lungs(top, first, second, height=10, width=5):
    """Two equal rectangles in 40 x 50 pixels, by their upper row and their first columns."""
    mask = np.zeros((40, 50), bool)
    for column in (first, second):
        mask[top : top + height, column : column + width] = True
    return mask


SHARE, PLACE = "does not cover 5% to 50% of the image", "does not lie in the middle of the image"


@pytest.mark.parametrize(
    ("limit", "beyond", "fault"),
    [
        ((11, 10, 30), {"height": 9}, SHARE),  # 100 of 2,000 pixels
        ((5, 2, 27, 25, 20), {"height": 26}, SHARE),  # 1,000 of 2,000
        ((11, 5, 25), {"first": 4, "second": 24}, PLACE),  # 17.5 of 50 columns
        ((11, 20, 40), {"first": 21, "second": 41}, PLACE),  # 32.5 of 50
        ((5, 10, 30), {"top": 4}, PLACE),  # 10 of 40 rows
        ((19, 10, 30), {"top": 20}, PLACE),  # 24 of 40
    ],
)
def test_a_limit_itself_is_plausible(limit, beyond, fault):
    names = ("top", "first", "second", "height", "width")
    assert lung_mask_faults(two_lungs(*limit)) == ()
    outside = dict(zip(names, limit, strict=False)) | beyond
    assert lung_mask_faults(two_lungs(**outside)) == (fault,)


def test_a_set_stops_above_the_limit_with_one_line(drawn):
    limit = int(MOST_IMPLAUSIBLE * 12)
    few = checked([*drawn[limit:], *map(np.zeros_like, drawn[:limit])])
    few.require_plausible("runs/unet")
    assert few.to_dict() == {"images": 12, "implausible": limit, "reasons": {"is empty": limit}}
    assert str(few).startswith("3 of 12 lung masks are implausible; the commonest reason, in 3:")
    many = checked([*drawn[limit + 1 :], *map(np.zeros_like, drawn[: limit + 1])])
    with pytest.raises(ValueError, match=r"^[^\n]*$") as raised:
        many.require_plausible("runs/unet", "--segmentation")
    message = str(raised.value)
    assert "Got 4 of 12 (33%) from runs/unet" in message
    assert "in 4: the mask is empty" in message and "(--segmentation RUN)" in message
    assert str(checked(drawn)) == "All 12 lung masks are plausible."
