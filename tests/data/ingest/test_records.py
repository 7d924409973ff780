"""Near-duplicates, conflicts and the fingerprint."""

import dataclasses
import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kerascxr.data.ingest.ingest import records

SEARCH = {"search": "exact", "images": 3}


def checked(name, label="a", digest=None, group="", **more):
    record = records.ImageRecord(
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
    )
    return dataclasses.replace(record, **more)


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
        return records.fingerprint(items, groups, folds, alike, 0, SEARCH)["digest"]

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
    summary = records.fingerprint(items, groups, [0, 19, 1, 18, 17], np.arange(5), 0, SEARCH)
    assert summary["groups_cut_by_split"] == 1


def test_the_table_counts_duplicates_by_class():
    items = [checked("a/1"), checked("a/2", digest="a/1"), checked("b/1", "b")]
    groups = ["a/1", "a/1", "b/1"]
    summary = records.fingerprint(items, groups, [0, 0, 1], np.array([0, 0, 1]), 2, SEARCH)
    assert summary["groups_cut_by_split"] == 0
    assert summary["classes"]["a"]["exact_duplicates"] == 2
    assert summary["classes"]["a"]["near_duplicates"] == 2
    assert summary["classes"]["a"]["groups"] == 1
    assert summary["classes"]["b"]["near_duplicates"] == 0
    table = records.format_fingerprint(summary).splitlines()
    assert table[2].split()[:3] == ["a", "2", "1"]
    assert "3 images" in table[-1]


def test_a_mask_may_be_two_percent_off_in_either_direction_and_of_another_size():
    mask = np.eye(100, dtype=np.uint8) * 255
    assert [records.mask_state(mask, size) for size in ((98, 100), (100, 98), (500, 510))] == [
        *("aspect", "aspect", "ok")
    ]
    assert [records.mask_state(mask, size) for size in ((99, 100), (100, 99), (990, 1000))] == [
        *("ok", "ok", "ok")
    ]
    tall = np.eye(120, 80, dtype=np.uint8) * 255
    assert records.mask_state(tall, (300, 200)) == "ok"
    assert records.mask_state(tall, (200, 300)) == "aspect"


def test_copies_in_three_classes_are_named_in_order_and_the_first_five_of_them():
    items = [checked(f"{'cab'[n % 3]}/{n}", "cab"[n % 3], "same") for n in range(7)]
    reasons = records.conflicting(items)
    assert len(reasons) == 7
    assert reasons["a/1"] == "the same image is in a, b and c (c/0, a/1, b/2, c/3, a/4)"


def test_cut_groups_are_sorted_by_name():
    groups = ["d", "b", "a", "c"] * 2
    assert records.groups_cut_by_split(groups, ["train"] * 4 + ["test"] * 4) == list("abcd")


def summary_of_three():
    items = [checked(f"a/{n}", origin="") for n in range(3)]
    more = [
        {"size": (10, 300), "mean": 10.0, "deviation": 1.0, "mask_state": "ok", "origin": "x"},
        {"size": (40, 100), "mean": 20.0, "deviation": 2.0, "mask_state": "empty", "origin": "y"},
        {"size": (20, 200), "mean": 60.0, "deviation": 6.0},
    ]
    items = [dataclasses.replace(item, **new) for item, new in zip(items, more, strict=True)]
    folds = np.array([3, 4, 5], np.int32)
    return records.fingerprint(items, ["a/0", "a/1", "a/2"], folds, np.arange(3), 0, SEARCH)


def test_the_summary_of_a_class_has_its_sizes_greys_masks_and_origins():
    summary = summary_of_three()
    (found,) = summary["classes"].values()
    assert found == {
        "images": 3,
        "groups": 3,
        "height": [10, 20, 40],
        "width": [100, 200, 300],
        "mean_grey": 30.0,
        "deviation_grey": 3.0,
        "exact_duplicates": 0,
        "near_duplicates": 0,
        "masks": {"ok": 1, "empty": 1, "none": 1},
        "origins": 2,
    }
    assert json.loads(json.dumps(summary)) == summary


def test_the_digest_is_the_same_in_every_version():
    """It is what a run is recognised by: a change would make all earlier runs strangers."""
    assert summary_of_three()["digest"] == (
        "d20c250ad9d7c42db820e875bb0158eaaa38161a115f79d5ee2778fb0ac0d1f8"
    )


def test_the_table_shows_median_sizes_greys_and_unusable_masks():
    lines = records.format_fingerprint(summary_of_three()).splitlines()
    cells = " ".join(lines[2].split())
    assert cells == "a 3 3 20x200 30 ± 3 0 0 2 (1 unusable)"
    assert lines[-1] == f"3 images, fingerprint {summary_of_three()['digest'][:12]}"
    whole = records.fingerprint(
        [checked("a/1", mask_state="ok")], ["a/1"], [0], np.arange(1), 0, SEARCH
    )
    assert "unusable" not in records.format_fingerprint(whole)
    none = records.fingerprint(
        [checked("a/1", mask_state="full")], ["a/1"], [0], np.arange(1), 0, SEARCH
    )
    assert "1 (1 unusable)" in records.format_fingerprint(none)


def test_the_table_names_an_index_that_found_near_duplicates():
    def last_line(search):
        summary = records.fingerprint([checked("a/1")], ["a/1"], [0], np.arange(1), 0, search)
        assert summary["near_duplicate_search"] == search
        return records.format_fingerprint(summary).splitlines()[-1], summary["digest"]

    line, digest = last_line({"search": "index", "images": 1, "faiss": "1.2.3"})
    assert line.endswith(", near-duplicates found with an index (faiss 1.2.3)")
    exact, same = last_line({"search": "exact", "images": 1})
    assert "near-duplicates" not in exact
    assert same == digest  # the folds, which the search decides, are in it
