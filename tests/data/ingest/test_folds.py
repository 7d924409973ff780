"""Folds: stratified, groups whole, and every image in exactly one split."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kerascxr.config import SplitConfig
from kerascxr.data.ingest.folds import (
    N_FOLDS,
    assign_fixed_folds,
    assign_folds,
    check_folds,
    random_folds,
    split_folds,
)


@given(
    counts=st.lists(st.integers(45, 120), min_size=1, max_size=4),
    group_size=st.integers(1, 2),
    seed=st.integers(0, 5),
)
def test_folds_are_stratified_and_keep_groups_whole(counts, group_size, seed):
    labels = [f"class{kind}" for kind, count in enumerate(counts) for _ in range(count)]
    groups = [f"{label}-{index // group_size}" for index, label in enumerate(labels)]
    folds = assign_folds(labels, groups, seed)
    assert set(folds) == set(range(20))
    by_group = {}
    for group, fold in zip(groups, folds, strict=True):
        assert by_group.setdefault(group, fold) == fold
    for kind, count in enumerate(counts):
        members = folds[np.array(labels) == f"class{kind}"]
        spread = np.bincount(members, minlength=20)
        assert spread.min() >= 1
        assert spread.max() <= count / 20 + 2 * group_size


def test_folds_depend_on_the_seed_alone():
    labels = ["a"] * 100 + ["b"] * 60
    groups = [str(index) for index in range(160)]
    assert (assign_folds(labels, groups, 1) == assign_folds(labels, groups, 1)).all()
    assert (assign_folds(labels, groups, 1) != assign_folds(labels, groups, 2)).any()


def test_a_class_with_too_few_groups_is_named():
    labels = ["a"] * 40 + ["rare"] * 30
    groups = [f"a{index}" for index in range(40)] + [f"r{index // 2}" for index in range(30)]
    with pytest.raises(ValueError, match=r"'rare' with 30 images in 15 groups"):
        check_folds(labels, groups, [""] * 70)
    check_folds(labels, groups, ["train"] * 60 + ["test"] * 10)  # the source's own split
    folds = assign_folds(labels, groups)
    groups_of = {group: set(folds[np.array(groups) == group]) for group in groups}
    assert all(len(its) == 1 for its in groups_of.values())
    assert len(set(folds[40:])) == 15


@given(offset=st.integers(0, 19), validation=st.integers(1, 6), test=st.integers(1, 6))
def test_splits_share_out_all_folds(offset, validation, test):
    splits = split_folds(SplitConfig(offset, validation, test))
    together = [fold for folds in splits.values() for fold in folds]
    assert sorted(together) == list(range(20))
    assert len(splits["validation"]) == validation
    assert len(splits["test"]) == test


def test_the_default_split_is_70_15_15_and_rotates():
    assert split_folds(SplitConfig())["test"] == (17, 18, 19)
    assert len(split_folds(SplitConfig())["train"]) == 14
    tested = [
        fold for offset in range(0, 20, 3) for fold in split_folds(SplitConfig(offset))["test"]
    ]
    assert set(tested) == set(range(20))


def test_a_split_fixed_by_the_source_is_kept():
    splits = ["train"] * 50 + ["validation"] * 20 + ["test"] * 30
    labels = ["a", "b"] * 50
    groups = [str(index) for index in range(100)]
    folds = assign_fixed_folds(labels, groups, splits)
    wanted = split_folds(SplitConfig())
    for fold, name in zip(folds, splits, strict=True):
        assert fold in wanted[name]


def test_without_fixed_validation_some_training_images_validate():
    folds = assign_fixed_folds(
        ["a"] * 60, [str(i) for i in range(60)], ["train"] * 40 + ["test"] * 20
    )
    assert set(folds[:40]) == set(range(17))
    assert folds[40:].min() >= 17


@pytest.mark.parametrize(("present", "absent"), [("train", "test"), ("test", "train")])
def test_a_fixed_split_without_training_or_test_images_is_for_no_training(present, absent):
    with pytest.raises(ValueError, match=f"{absent}=0"):
        check_folds(["a"] * 3, list("abc"), [present] * 3)
    folds = assign_fixed_folds(["a"] * 3, list("abc"), [present] * 3)
    assert len(set(folds.tolist())) == 3 and (folds.min() >= 17) == (present == "test")


def test_blind_folds_spread_classes_evenly_and_split_groups():
    labels = np.repeat([0, 1], [400, 100])
    folds = random_folds(labels, seed=0)
    for label, each in ((0, 20), (1, 5)):
        assert (np.bincount(folds[labels == label], minlength=N_FOLDS) == each).all()
    assert (folds == random_folds(labels, seed=0)).all()
    assert (folds != random_folds(labels, seed=1)).any()
    pairs = folds.reshape(-1, 2)  # neighbours as a group of two
    assert (pairs[:, 0] != pairs[:, 1]).mean() > 0.8


def mixed_groups():
    """200 images, one in five of a rare class, in groups of several sizes that mix both classes."""
    random = np.random.default_rng(2)
    groups = random.integers(0, 66, 200)
    return np.where(random.random(200) < 0.2, "rare", "common"), groups.astype(str)


def test_groups_of_both_classes_spread_each_class_evenly():
    labels, groups = mixed_groups()
    folds = assign_folds(labels, groups)
    for name, most in (("rare", 1), ("common", 2)):
        counts = np.bincount(folds[labels == name], minlength=20)
        assert counts.max() - counts.min() <= most


def test_large_groups_come_first_so_that_small_ones_fill_the_gaps():
    sizes = [9] * 10 + [5] * 10 + [1] * 40
    groups = np.repeat(np.arange(60), sizes).astype(str)
    folds = assign_folds(["a"] * 180, groups)
    assert np.bincount(folds).tolist() == [9] * 20


def test_the_folds_of_a_seed_are_the_same_in_every_version():
    """Runs of other versions, and published ones, are compared fold by fold."""
    labels, groups = mixed_groups()
    for found, letters in (
        (assign_folds(labels, groups), ASSIGNED),
        (assign_folds(labels, groups, 0), ASSIGNED),
        (assign_fixed_folds(labels, groups, FIXED), ASSIGNED_FIXED),
        (assign_fixed_folds(labels, groups, FIXED, 0), ASSIGNED_FIXED),
        (random_folds(np.repeat([0, 1, 2], [5, 4, 6]), 0), "cedabadcbfcedba"),
    ):
        assert found.dtype == np.int64
        assert "".join(chr(ord("a") + fold) for fold in found) == letters


FIXED = ["train"] * 140 + ["validation"] * 20 + ["test"] * 40
ASSIGNED = (
    "dtemqoacjgoecrijtfkcpltsfqhhnqmsospfkkirbjhdfipbqpgkmolfjeocskailhnegtarglbgoemq"
    "niahmpancfsjgljmtcdiljhltgbdakfqbgegbrnrqnnnbgkectepkcfalnhhsdaopfjlihrdtstmefqt"
    "cibmoodbmrimorhpdepjdqnadbijekcablsrpssk"
)
ASSIGNED_FIXED = (
    "nhjmhkabickclgimcikbfahamcmmlhkhndfdllegbilldiffmfhaknadbjnbdkaigmejcdajcgfcnjkc"
    "eianfdaebdhiggmkhblegblihhbnaldmfcjgfjegmeeefckjbnjdlbiagennqpqpqqpqopopopooqopo"
    "rssttrssrrsttrrtrttrrsstsrsrtsrtstsrtrst"
)


def test_a_class_with_one_group_a_fold_is_enough():
    folds = assign_folds(["a"] * 20, [str(index) for index in range(20)])
    assert sorted(folds) == list(range(20))


def test_a_fixed_split_uses_all_of_its_folds():
    def used(counts):
        splits = [name for name, count in counts.items() for _ in range(count)]
        groups = [str(index) for index in range(len(splits))]
        folds = assign_fixed_folds(["a"] * len(splits), groups, splits)
        return {name: sorted({*folds[np.array(splits) == name].tolist()}) for name in counts}

    whole = {"train": 30, "validation": 8, "test": 9}
    assert used(whole) == {
        "train": [*range(14)],
        "validation": [14, 15, 16],
        "test": [17, 18, 19],
    }
    assert used({"train": 40, "test": 9}) == {"train": [*range(17)], "test": [17, 18, 19]}
    few = {"train": 2, "validation": 1, "test": 2}
    assert used(few) == {"train": [0, 1], "validation": [14], "test": [17, 18]}


def test_a_random_split_spreads_three_classes_evenly():
    labels = np.repeat([0, 1, 2], [40, 60, 100])
    folds = random_folds(labels, seed=3)
    for label, each in ((0, 2), (1, 3), (2, 5)):
        assert (np.bincount(folds[labels == label], minlength=N_FOLDS) == each).all()


def test_an_offset_moves_the_test_folds_forwards():
    assert split_folds(SplitConfig(offset=1))["test"] == (18, 19, 0)
    assert split_folds(SplitConfig(offset=1))["validation"] == (15, 16, 17)
    assert split_folds(SplitConfig(offset=1))["train"] == tuple(range(1, 15))
