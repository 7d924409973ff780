"""Reading torch's two formats as data; whatever is not tensors is refused in one line."""

import os
import pickle
import time
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerascxr.models.torch_checkpoint import read_torch_checkpoint
from tests.support.torch_files import (
    ORDERED,
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


def _shared_tuples(levels=60):
    """A tuple of two equal tuples of two equal tuples ...: its hash would take 2^levels steps."""
    pairs = [
        b"h" + bytes([i]) + b"h" + bytes([i]) + b"\x86q" + bytes([i + 1]) for i in range(levels)
    ]
    return b")q\x00" + b"".join(pairs)


def _long(value):
    return b"\x8a\x10" + value.to_bytes(16, "little", signed=True)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"(" * 120_000 + b"t" * 120_000, "more than 200000 opcodes"),
        (b"(" * 60_000 + b"N" + b"t" * 60_000, "no dictionary of tensors"),
        (b"Nr" + b"\xff" * 4, "a memo of more than 200000 values"),
        (b"N2" * 10, "its pickle uses DUP"),
        (_shared_tuples() + b"}h\x3cNs", "dictionary whose keys are not names"),
        (_shared_tuples() + ORDERED[:-2] + b"]h\x3cN\x86a\x85R", "keys are not names"),
        (
            # All of these integers have the hash 0.
            b"}(" + b"".join(_long(k * (2**61 - 1)) + b"N" for k in range(50_000)) + b"u",
            "keys are not names",
        ),
        (b"\x8b" + (20).to_bytes(4, "little") + b"\x01" * 20, "an integer of more than 128 bits"),
        (dictionary({"w": tensor("0", ARRAY)}).replace(b"\x89" + ORDERED, b"N" * 2), "data/0"),
    ],
)
def test_a_hostile_pickle_is_refused_at_once(tmp_path, content, match):
    started = time.process_time()
    refused(tmp_path, zip_file(content, {}), match)
    assert time.process_time() - started < 3


def test_a_pickle_changes_nothing_outside_of_itself(tmp_path):
    """BUILD sets attributes of what is on the stack: of a known name there are none to set."""
    state = b"}(" + text("module") + text("os") + text("name") + text("system") + b"u"
    for known in (name("torch._utils", "_rebuild_tensor_v2"), name("torch", "FloatStorage")):
        for built in (state, b"N" + state + b"\x86"):
            refused(tmp_path, zip_file(known + built + b"b", {}), "checkpoint")
    test_arrays_come_back(tmp_path, False, "")


def test_keys_of_an_optimizers_state_may_be_numbers(tmp_path):
    content = b"}(" + text("optimizer") + b"}(" + number(0) + b"Nu"
    content += text("state_dict") + dictionary({"w": tensor("0", ARRAY)}) + b"u"
    assert np.array_equal(read(tmp_path, zip_file(content, {"0": ARRAY.tobytes()}))["w"], ARRAY)
