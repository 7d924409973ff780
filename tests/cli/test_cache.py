"""kerascxr cache: what a run left in the caches is listed and can be pruned."""

import json
import os
import time

import numpy as np
import pytest

from kerascxr.__main__ import main
from kerascxr.data.ingest.ingest import FORMAT
from kerascxr.runs.cache import use
from kerascxr.runs.locks import locked
from kerascxr.training.feature_files import FeatureFolder


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Two files of features, two stores, one file of weights; gives the command and its options."""
    features = FeatureFolder(tmp_path / "features")
    home = tmp_path / "keras"
    for key in ("one", "two"):
        about = {"backbone": "tiny", "source": f"set-{key}", "images": 9, "size": "32x32"}
        features.write(key, [(np.zeros(9, np.float16),)], (9,), about)
    for name in ("set", "lungs"):
        store = tmp_path / f"stores/{name}-12345678"
        store.mkdir(parents=True)
        known = {"format": FORMAT, "source": name, "layout": "class folders"}
        (store / "store.json").write_text(json.dumps(known))
        (store / "shard").write_bytes(bytes(3_000_000))
    monkeypatch.setenv("KERAS_HOME", str(home))
    weights = home / "models/efficientnetb0_notop.h5"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(bytes(2_000_000))
    (weights.parent / "anothers.h5").touch()
    runtime = home / "kerascxr/onnxruntime-web-1.30.0"
    runtime.mkdir(parents=True)
    (runtime / "runtime.wasm").write_bytes(bytes(14_000_000))
    page = home / "kerascxr/pages/chest-0123/web"
    (page / "model").mkdir(parents=True)
    (page / "files.json").write_text("{}")
    (page / "model/model.json").write_text('{"name": "EfficientNet-B0, depth 2"}')
    (home / "kerascxr/pages/killed-0123").mkdir()
    return ["cache", "--stores", f"{tmp_path}/stores", "--features", f"{tmp_path}/features"]


def found(folder):
    features = folder.glob("features/*.f16")
    return [len(list(paths)) for paths in (features, folder.glob("stores/*/store.json"))]


def test_everything_is_listed_with_its_origin_and_size(cache, tmp_path, capsys):
    assert main(cache) == 0
    text = capsys.readouterr().out
    assert "tiny, set-one, 9 images, 32x32" in text and f"{tmp_path}/features/one" in text
    assert "lungs, class folders" in text and "3.0 MB" in text
    assert "efficientnetb0" in text and "2.0 MB" in text and "anothers" not in text
    assert "onnxruntime-web 1.30.0" in text and "14.0 MB" in text
    assert "EfficientNet-B0, depth 2" in text and f"{tmp_path}/keras/kerascxr/pages/chest" in text
    assert "of 20 GB (--features_gb; --data.features_gb of train-cls and others)" in text
    assert time.strftime("%Y-%m-%d") in text
    assert found(tmp_path) == [2, 2]


def test_a_store_whose_layout_has_its_name_is_named_once(cache, tmp_path, capsys):
    known = {"format": FORMAT, "source": "phantom", "layout": "phantom"}
    (tmp_path / "stores/set-12345678/store.json").write_text(json.dumps(known))
    assert main(cache) == 0
    text = capsys.readouterr().out
    assert "  phantom  " in text and "phantom, phantom" not in text


def test_prune_all_and_prune_one_kind(cache, tmp_path, capsys):
    assert main([*cache, "--prune", "features"]) == 0
    assert found(tmp_path) == [0, 2]
    (store,) = tmp_path.glob("stores/lungs-*")
    with locked(store.with_name(f".{store.name}.lock"), "waiting"):
        assert main([*cache, "--prune", "all"]) == 0
    assert found(tmp_path) == [0, 1]
    assert f"In use, kept: {store}" in capsys.readouterr().out
    assert not (tmp_path / "keras/models/efficientnetb0_notop.h5").exists()
    assert (tmp_path / "keras/models/anothers.h5").exists()


def test_a_page_that_is_served_is_kept(cache, tmp_path, capsys):
    pages = tmp_path / "keras/kerascxr/pages"
    owner = object.__new__(type("Server", (), {}))
    use(pages / "chest-0123", owner)
    assert main([*cache, "--prune", "pages"]) == 0
    assert f"In use, kept: {pages / 'chest-0123'}" in capsys.readouterr().out
    assert (pages / "chest-0123/web/files.json").exists()
    assert not (tmp_path / "keras/kerascxr/onnxruntime-web-1.30.0").exists()
    del owner
    assert main([*cache, "--prune", "pages"]) == 0
    assert not (pages / "chest-0123").exists()


def test_prune_by_itself_keeps_what_is_whole_and_below_the_limits(cache, tmp_path, capsys):
    (tmp_path / "features/.partial-abc-12345678.f16").write_bytes(bytes(1_000_000))
    (store,) = tmp_path.glob("stores/lungs-*")
    (store / "store.json").write_text(json.dumps({"format": FORMAT - 1}))
    assert main([*cache, "--prune"]) == 0
    assert "3 removed, 4.0 MB." in capsys.readouterr().out
    assert found(tmp_path) == [2, 1]
    assert not list(tmp_path.glob("features/.partial-*"))
    assert main([*cache, "--prune", "--features_gb", "0", "--stores_gb", "0"]) == 0
    assert found(tmp_path) == [0, 0]
    assert (tmp_path / "keras/models/efficientnetb0_notop.h5").exists()


def test_prune_by_age_and_to_a_size(cache, tmp_path, capsys):
    (store,) = tmp_path.glob("stores/lungs-*")
    long_ago = time.time() - 40 * 86400
    os.utime(store, (long_ago, long_ago))
    assert main([*cache, "--prune", "--days", "30"]) == 0
    assert found(tmp_path) == [2, 1]
    assert main([*cache, "--prune", "all", "--gb", "5"]) == 0
    assert found(tmp_path) == [2, 1]
    assert main([*cache, "--prune", "features", "--gb", "0"]) == 0
    assert found(tmp_path) == [0, 1]
    capsys.readouterr()
    for wrong in (["--days", "3"], ["--prune", "--gb", "-1"]):
        assert main([*cache, *wrong]) == 2
        assert "must come with --prune" in capsys.readouterr().err
