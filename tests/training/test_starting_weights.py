"""The images of the run whose model a training starts from."""

from types import SimpleNamespace

import numpy as np
import pytest

from kerascxr.audits import unseen
from kerascxr.data.pipeline import Images
from kerascxr.models.weights import WeightsUsed
from kerascxr.tables import csv_text
from kerascxr.training.starting_weights import seen_before

NAMES = ("a", "b", "c", "d")
GROUPS = ("a", "a", "c", "d")  # b is a near-duplicate of a
STORE = SimpleNamespace(
    rows=[
        {"id": name, "group": group, "digest": f"of {name}", "given_group": ""}
        for name, group in zip(NAMES, GROUPS, strict=True)
    ]
)


def images(*names):
    groups = tuple(GROUPS[NAMES.index(name)] for name in names)
    pixels = np.zeros((len(names), 4, 4, 1), np.uint8)
    return Images(pixels, None, names, groups, np.zeros(len(names), np.int64), ("x", "y"))


def starting_from(folder, **splits):
    rows = [
        {"id": f"other/{name}", "group": "", "given_group": "", "split": split, "digest": digest}
        for split, names in splits.items()
        for name in names
        for digest in [f"of {name}"]
    ]
    (folder / "training_images.csv").write_text(csv_text(rows))
    return WeightsUsed("file", f"{folder}/model.keras", "", "")


@pytest.mark.parametrize(
    ("splits", "tested", "warns"),
    [
        ({"train": ["a"]}, 1, True),  # b, which is tested, is in its group
        ({"train": ["c"], "validation": ["d"]}, 0, True),  # c is a validation image
        ({"train": ["d"], "validation": ["c"]}, 0, False),
        ({"earlier train": ["b"]}, 1, True),
    ],
)
def test_they_are_known_by_their_pixels(tmp_path, messages, splits, tested, warns):
    weights = starting_from(tmp_path, **splits)
    own = {"train": images("d"), "validation": images("c"), "test": images("b")}
    found = seen_before(weights, STORE, own)
    assert found.tested == tested
    assert all(row["split"].count("earlier ") == 1 for row in found.rows)
    assert len(found.rows) == sum(map(len, splits.values()))
    assert bool(messages()) is warns


def test_other_weights_have_seen_nothing(tmp_path, messages):
    own = {"train": images("d"), "validation": images("c"), "test": images("b")}
    starting_from(tmp_path, train=["b"])
    for kind, source in (("imagenet", f"{tmp_path}/x.h5"), ("file", f"{tmp_path}/elsewhere/x.h5")):
        assert seen_before(WeightsUsed(kind, source, "", ""), STORE, own) == ([], frozenset(), 0)
    assert not messages()


def test_near_duplicates_of_images_of_another_source_are_said_to_be_unknown(
    tmp_path, monkeypatch, messages
):
    run = SimpleNamespace(config={"data": {"stores": ""}}, metrics={"data": {"fingerprint": ""}})
    own = SimpleNamespace(rows=STORE.rows, thumbnails=np.zeros((4, 2)))
    store = SimpleNamespace(rows=STORE.rows, thumbnails=None, path=tmp_path / "store")
    given = []
    monkeypatch.setattr(unseen, "read_run", lambda path: run)
    monkeypatch.setattr(unseen, "find_store", lambda *where: own)
    monkeypatch.setattr(
        unseen, "copies_of", lambda theirs, ours: given.append(len(ours)) or np.zeros(4, bool)
    )
    rows = [{"id": "a", "digest": "of a"}]
    assert unseen._near_duplicates(store, {tmp_path: rows}) == (set(), True)
    assert not messages()
    rows.append({"id": "b", "digest": "another image of that name"})
    assert unseen._near_duplicates(store, {tmp_path: rows}) == (set(), False)
    assert given == [1, 1]
    assert "Near-duplicates of 1 images that the starting weights" in messages()[-1]
