"""The folder of cached features: its limit holds by itself, and its list names what there is."""

import gc

import numpy as np
import pytest

from kerascxr.training.feature_files import FeatureFolder

ABOUT = {"backbone": "tiny", "source": "set-1", "images": 500, "size": "32x32"}


class Owner:
    pass


def write(folder, key, rows=500):
    values = np.arange(rows, dtype=np.float16)
    halves = (values[:200], values[200:])
    batches = [(half, half[:, None].astype(np.float32) / 3) for half in halves]
    folder.write(key, batches, (rows,), ABOUT)
    return values


def test_what_is_written_is_read_back_and_listed(tmp_path):
    folder, owner = FeatureFolder(tmp_path / "new"), Owner()
    assert folder.open("a", owner) is None and folder.entries() == []
    assert not folder.path.exists()
    values = write(folder, "a")
    features, statistics = folder.open("a", owner)
    np.testing.assert_array_equal(features, values)
    np.testing.assert_array_equal(statistics, values[:, None].astype(np.float32) / 3)
    (tmp_path / "new" / "lungs-1.npz").touch()
    (tmp_path / "new" / "b.f16").touch()
    (tmp_path / "new" / ".partial-c-12345678.f16").touch()
    listed = {entry.base.name: (entry.about, entry.usable) for entry in folder.entries()}
    assert listed == {
        "a": ("tiny, set-1, 500 images, 32x32", True),
        "b": ("no description", False),
        "c": ("unfinished", False),
        "lungs-1": ("lung masks", True),
    }
    assert folder.entries()[1].bytes > 1000


@pytest.mark.parametrize("in_use", [False, True])
def test_the_limit_holds_by_itself_but_for_what_is_in_use(tmp_path, messages, in_use):
    folder, owner = FeatureFolder(tmp_path, limit_gb=2e-6), Owner()
    for key in ("a", "b"):
        write(folder, key)
    assert folder.open("a", owner) is not None
    if not in_use:
        del owner
        gc.collect()
    assert folder.open("b", other := Owner()) is not None
    folder.enforce_limit()
    assert (folder.open("a", other) is not None) == in_use
    assert folder.open("b", other) is not None
    assert len(messages()) == (not in_use)
