"""Reading torch's two formats as data; whatever is not tensors is refused in one line."""

import os
import pickle
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerascxr.models.torch_checkpoint import read_torch_checkpoint
from tests.support.torch_files import (
    dictionary,
    legacy_file,
    name,
    number,
    sequence,
    state_file,
    tensor,
    text,
    zip_file,
)

SHARED = Path(__file__).parents[2].parent / "shared" / "golden"

ARRAY = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
STATE = {
    "conv.weight": ARRAY,
    "bn.running_mean": np.linspace(-1, 1, 5, dtype=np.float64),
    "bn.half": np.array([1.5, -2.25], np.float16),
    "bn.num_batches_tracked": np.array(7, np.int64),
}


def read(tmp_path, data):
    path = tmp_path / "checkpoint.pth"
    path.write_bytes(data)
    return read_torch_checkpoint(path)


def refused(tmp_path, data, match):
    with pytest.raises(ValueError, match=match) as caught:
        read(tmp_path, data)
    message = str(caught.value)
    assert "\n" not in message and "checkpoint.pth" in message
    return message


def one_tensor(legacy=False, array=ARRAY, raw=None, **view):
    """A checkpoint whose only tensor is a view of ``array``."""
    content = dictionary({"w": tensor("0", array, legacy=legacy, **view)})
    raw = array.tobytes() if raw is None else raw
    return (
        legacy_file(content, {"0": (array.size, raw)}) if legacy else zip_file(content, {"0": raw})
    )


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("wrap", ["", "state_dict"])
def test_arrays_come_back(tmp_path, legacy, wrap):
    found = read(tmp_path, state_file(STATE, legacy=legacy, wrap=wrap))
    assert list(found) == list(STATE)
    for key, array in STATE.items():
        assert found[key].dtype == array.dtype and found[key].shape == array.shape
        assert np.array_equal(found[key], array)


def test_a_common_module_prefix_is_taken_off(tmp_path):
    found = read(tmp_path, state_file({f"module.{key}": value for key, value in STATE.items()}))
    assert list(found) == list(STATE)


def test_bfloat16_comes_as_float32(tmp_path):
    values = np.array([1.0, -2.5, 3.140625], np.float32)  # exact in bfloat16
    halves = (values.view(np.uint32) >> 16).astype(np.uint16)
    found = read(tmp_path, one_tensor(array=halves, dtype="bfloat16"))
    assert found["w"].dtype == np.float32 and np.array_equal(found["w"], values)


@pytest.mark.parametrize("legacy", [False, True])
def test_views_keep_their_offset_and_strides(tmp_path, legacy):
    view = {"offset": 4, "shape": (4, 2), "strides": (1, 4)}
    found = read(tmp_path, one_tensor(legacy, **view))
    assert np.array_equal(found["w"], ARRAY.reshape(-1)[4:12].reshape(2, 4).T)


@pytest.mark.parametrize(
    "view",
    [
        {"offset": 1},
        {"offset": -1},
        {"strides": (12, 4, 2)},
        {"strides": (12, 4, -1)},
        {"shape": (2, 3, 5)},
        {"shape": (2, 3)},  # with three strides
        {"shape": (1 << 40,), "strides": (0,)},
        {"shape": (1 << 62, 1 << 62, 4), "strides": (0, 0, 0)},
    ],
)
def test_views_beyond_their_storage_are_refused(tmp_path, view):
    if view.get("shape") == (2, 3):
        view = view | {"strides": (12, 4, 1)}
    refused(tmp_path, one_tensor(**view), r"whole torch checkpoint.*a tensor of shape")


@pytest.mark.parametrize("legacy", [False, True])
def test_hostile_files_are_refused_and_nothing_runs(tmp_path, legacy):
    mark = tmp_path / "ran"
    call = name("os", "system") + sequence(text(f"touch {mark}")) + b"R"
    content = dictionary({"w": call})
    data = legacy_file(content, {}) if legacy else zip_file(content, {})
    message = refused(tmp_path, data, "not a plain checkpoint of tensors")
    assert "it refers to os.system" in message
    assert not mark.exists()


class Hostile:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("protocol", range(6))
def test_real_hostile_pickles_are_refused(tmp_path, protocol):
    mark = tmp_path / "ran"
    data = pickle.dumps({"w": Hostile(f"touch {mark}")}, protocol)
    refused(tmp_path, data, "checkpoint")
    (tmp_path / "x").mkdir()
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("archive/data.pkl", data)
    refused(tmp_path, (tmp_path / "x.zip").read_bytes(), "not a plain checkpoint of tensors")
    assert not mark.exists()


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (name("builtins", "eval") + b"0", r"it refers to builtins\.eval"),
        (name("torch", "load") + b"0", r"it refers to torch\.load"),
        (name("torchvision.models", "ShuffleNetV2") + b")R", "torchvision.models.ShuffleNetV2"),
        (b"(" + text("ls") + b"ios\nsystem\n", "its pickle uses INST"),
        (b"\x82\x01", "its pickle uses EXT1"),
        (name("torch", "FloatStorage") + b")R", "it calls"),
        (number(5), "no dictionary of tensors"),
        (dictionary({"w": number(5)}), "not a tensor under 'w'"),
        (b"}", "no dictionary of tensors"),
    ],
)
def test_what_is_not_tensors_is_refused(tmp_path, content, match):
    refused(tmp_path, zip_file(content, {}), match)


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "whole torch checkpoint"),
        (b"hello", "whole torch checkpoint"),
        (b"\x89HDF\r\n\x1a\n" + bytes(64), "whole torch checkpoint"),
        (one_tensor(raw=ARRAY.tobytes()[:-1]), "has 95 bytes"),
        (one_tensor(legacy=True, raw=ARRAY.tobytes()[:-1]), "has 95 bytes"),
        (zip_file(dictionary({"w": tensor("9", ARRAY)}), {}), "data/9"),
        (zip_file(dictionary({}), {}, zipfile.ZIP_DEFLATED), "is compressed"),
    ],
)
def test_damaged_files_are_refused(tmp_path, data, match):
    refused(tmp_path, data, match)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_file_cut_anywhere_is_refused(tmp_path, legacy):
    data = state_file(STATE, legacy=legacy)
    for length in range(0, len(data), 7):
        refused(tmp_path, data[:length], "checkpoint")


@settings(max_examples=80)
@given(
    legacy=st.booleans(),
    changes=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_changed_bytes_never_end_otherwise(tmp_path_factory, legacy, changes):
    data = bytearray(state_file(STATE, legacy=legacy))
    for at, value in changes:
        data[at % len(data)] = value
    path = tmp_path_factory.getbasetemp() / "changed.pth"
    path.write_bytes(data)
    try:
        read_torch_checkpoint(path)
    except ValueError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("ending", ["", "_legacy"])
def test_files_that_torch_wrote(ending):
    path = SHARED / f"shufflenet_v2_x0_5{ending}.pth"
    if not path.exists():
        pytest.skip(f"needs {path.name} in ../shared/golden")
    found = read_torch_checkpoint(path)
    assert found["conv1.0.weight"].shape == (24, 3, 3, 3)
    rng = np.random.default_rng(zlib.crc32(b"conv5.1.bias"))
    assert np.array_equal(found["conv5.1.bias"], rng.normal(0, 0.1, 1024).astype(np.float32))
