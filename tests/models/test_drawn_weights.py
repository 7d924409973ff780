"""The weights that come with the package: each file belongs to its card, and fits its backbone."""

import shutil

import numpy as np
import pytest

from kerascxr.models import packed_weights
from kerascxr.models import weights as module
from kerascxr.models.backbones import BACKBONES
from kerascxr.models.download import file_digest
from kerascxr.models.weights import DRAWN, load_weights

PACKED = ("efficientnetb0", "shufflenetv2_x1_0")


@pytest.fixture(scope="module")
def shufflenet():
    return BACKBONES["shufflenetv2"].build((32, 32))


@pytest.mark.parametrize("name", PACKED)
def test_file_and_card_belong_together(name):
    path = DRAWN / f"{name}.weights.npz"
    card = packed_weights.read_card(DRAWN, f"{name}.json", (path.name,))
    assert (
        card["backbone"] == name and f"--backbone {name.removesuffix('_x1_0')}" in card["command"]
    )
    page = (DRAWN / f"{name}.md").read_text(encoding="utf-8")
    assert card["command"] in page and all(limit in page for limit in card["limits"])


def test_files_are_small_and_hold_their_backbones_weights():
    paths = [DRAWN / f"{name}.weights.npz" for name in PACKED]
    assert sum(path.stat().st_size for path in paths) <= 12_000_000
    counts = [
        sum(value.size for value in packed_weights.read_weights(path).values()) for path in paths
    ]
    # The reference's counts of the backbones' parameters, and the moving statistics beside them.
    assert counts[0] > 4_007_548 and counts[1] > 1_253_604


def test_they_are_loaded_by_name(shufflenet):
    used = load_weights(shufflenet, "shufflenetv2", "drawn")
    path = DRAWN / "shufflenetv2_x1_0.weights.npz"
    assert (used.kind, used.source, used.sha256) == ("drawn", path.name, file_digest(path))
    stored = packed_weights.read_weights(path)
    for layer in shufflenet.layers:
        for index, value in enumerate(layer.get_weights()):
            np.testing.assert_array_equal(value, stored.pop(f"{layer.name}/{index}"))
    assert not stored


def test_auto_takes_them_where_imagenets_cannot_be_had(shufflenet, monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(module, "is_reachable", lambda url: False)
    used = load_weights(shufflenet, "shufflenetv2", "auto")
    assert used.kind == "drawn"
    assert used.description.startswith("drawn chest X-rays, not torchvision's ImageNet")


def test_a_model_of_another_width_is_refused_whole():
    narrow = BACKBONES["shufflenetv2_x0_5"].build((32, 32))
    before = narrow.get_weights()
    with pytest.raises(ValueError, match=r"must hold the \d+ layers of .* have another shape"):
        load_weights(narrow, "shufflenetv2", "drawn")
    assert all(np.array_equal(*both) for both in zip(before, narrow.get_weights(), strict=True))


def test_a_backbone_without_them_is_named(shufflenet):
    with pytest.raises(ValueError, match="has them for efficientnetb0, shufflenetv2_x1_0"):
        load_weights(shufflenet, "shufflenetv2_x0_5", "drawn")


def test_a_file_that_the_card_does_not_describe_is_refused(shufflenet, monkeypatch, tmp_path):
    copied = tmp_path / "drawn"
    shutil.copytree(DRAWN, copied)
    monkeypatch.setattr(module, "DRAWN", copied)
    with (copied / "shufflenetv2_x1_0.weights.npz").open("ab") as file:
        file.write(b"x")
    before = [value.copy() for value in shufflenet.get_weights()]
    with pytest.raises(ValueError, match=r"is not the file that .* describes\. Install kerascxr"):
        load_weights(shufflenet, "shufflenetv2", "drawn")
    for value, same in zip(shufflenet.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, same)


def test_weights_out_of_range_and_large_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"in the range of float16\. Got a up to 1e\+06"):
        packed_weights.write_weights(tmp_path / "w.npz", {"a": np.array([1e6])}, 10_000)
    values = np.random.default_rng(0).random(10_000)
    with pytest.raises(ValueError, match="must take at most 0 MB"):
        packed_weights.write_weights(tmp_path / "w.npz", {"a": values}, 1_000)
    assert not list(tmp_path.glob("w.npz"))


def test_weights_are_read_as_float32_and_never_unpickled(tmp_path):
    packed_weights.write_weights(tmp_path / "w.npz", {"a": np.array([0.5])}, 10_000)
    assert packed_weights.read_weights(tmp_path / "w.npz")["a"].dtype == np.float32
    np.savez(tmp_path / "w.npz", a=np.array([{"any": "object"}], object))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        packed_weights.read_weights(tmp_path / "w.npz")
