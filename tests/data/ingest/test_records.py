"""Near-duplicates, conflicts and the fingerprint."""

import dataclasses

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kerascxr.data.ingest.ingest import records


def checked(name, label="a", digest=None, group="", **more):
    return records.ImageRecord(
        id=name,
        label=label,
        group=group,
        origin="",
        split="",
        path=name,
        size=(10, 20),
        digest=digest or name,
        mean=1.0,
        deviation=2.0,
        mask_state="none",
        mask_digest="",
        mask_fraction=float("nan"),
        **more,
    )


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=20))
def test_joint_groups_are_the_finest_that_hold_both(keys):
    items = [
        checked(f"i{index:02d}", group=f"g{group}" if group else "")
        for index, (_, group) in enumerate(keys)
    ]
    alike = np.array([near for near, _ in keys])
    joint = records.joint_groups(items, alike)

    # Flood fill, as slow and plain as can be.
    def linked(a, b):
        same_group = items[a].group and items[a].group == items[b].group
        return alike[a] == alike[b] or same_group

    for start in range(len(items)):
        reached, todo = {start}, [start]
        while todo:
            here = todo.pop()
            fresh = [i for i in range(len(items)) if i not in reached and linked(here, i)]
            reached.update(fresh)
            todo += fresh
        assert {i for i in range(len(items)) if joint[i] == joint[start]} == reached
        assert joint[start] == min(items[i].id for i in reached)


def test_one_image_in_two_classes_is_a_conflict_and_in_one_is_not():
    items = [
        checked("a/1", "a", "same"),
        checked("b/1", "b", "same"),
        checked("a/2", "a", "twice"),
        checked("a/3", "a", "twice"),
    ]
    reasons = records.conflicting(items)
    assert set(reasons) == {"a/1", "b/1"}
    assert reasons["a/1"] == "the same image is in a and b (a/1, b/1)"


def test_mask_states():
    mask = np.zeros((40, 40), np.uint8)
    assert records.mask_state(None, (40, 40)) == "none"
    assert records.mask_state(mask, (40, 40)) == "empty"
    assert records.mask_state(mask + 255, (40, 40)) == "full"
    mask[3:9] = 255
    assert records.mask_state(mask, (299, 299)) == "ok"
    assert records.mask_state(mask, (299, 310)) == "aspect"


def test_the_fingerprint_follows_content_and_not_order_or_place():
    items = [checked("a/1", "a"), checked("b/1", "b")]
    groups, alike = ["a/1", "b/1"], np.array([0, 1])

    def digest(items, groups=groups, folds=(3, 4)):
        return records.fingerprint(items, groups, folds, alike, 0)["digest"]

    whole = digest(items)
    assert digest(items[::-1], groups[::-1], (4, 3)) == whole
    assert digest([dataclasses.replace(item, path="/elsewhere") for item in items]) == whole
    for change in (
        {"digest": "x"},
        {"label": "b"},
        {"mask_digest": "m"},
        {"split": "test"},
        {"spacing": (0.1, 0.1)},
    ):
        assert digest([dataclasses.replace(items[0], **change), items[1]]) != whole
    assert digest(items, ["a/1", "a/1"]) != whole
    assert digest(items, folds=(4, 3)) != whole


def test_pixels_of_another_shape_are_other_pixels():
    pixels = np.arange(12, dtype=np.uint8)
    assert records.digest(pixels.reshape(3, 4)) != records.digest(pixels.reshape(4, 3))


def test_groups_that_a_fixed_split_cuts_are_counted():
    items = [checked(f"a/{n}") for n in range(5)]
    splits = ["train", "test", "train", "test", "test"]
    items = [dataclasses.replace(item, split=s) for item, s in zip(items, splits, strict=True)]
    groups = ["a/0", "a/0", "a/2", "a/3", "a/3"]
    assert records.groups_cut_by_split(groups, splits) == ["a/0"]
    summary = records.fingerprint(items, groups, [0, 19, 1, 18, 17], np.arange(5), 0)
    assert summary["groups_cut_by_split"] == 1


def test_the_table_counts_duplicates_by_class():
    items = [checked("a/1"), checked("a/2", digest="a/1"), checked("b/1", "b")]
    groups = ["a/1", "a/1", "b/1"]
    summary = records.fingerprint(items, groups, [0, 0, 1], np.array([0, 0, 1]), 2)
    assert summary["groups_cut_by_split"] == 0
    assert summary["classes"]["a"]["exact_duplicates"] == 2
    assert summary["classes"]["a"]["near_duplicates"] == 2
    assert summary["classes"]["a"]["groups"] == 1
    assert summary["classes"]["b"]["near_duplicates"] == 0
    table = records.format_fingerprint(summary).splitlines()
    assert table[2].split()[:3] == ["a", "2", "1"]
    assert "3 images" in table[-1]
