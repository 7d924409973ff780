"""Folders compared by what their files say: without times, which differ between any two calls."""

import csv
import io
import json
import re
import struct
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np

_VARYING = {"seconds", "control_seconds", "made_at", "minutes", "shared_object_id"}
_ONLY_PRESENT = ("log.txt", "timing.json", "DONE")
_OPAQUE = re.compile(r"/(saved_model\.pb|fingerprint\.pb|variables/[^/]*)$")  # no two are alike
_DURATION = re.compile(
    r"\b\d[\d,]*(\.\d+)?(e-?\d+)? ?(min|minutes|s|h)\b"
    r"|\b\d+% of the audit's"  # minutes, that the positive controls took
    r"|(?<![\d.])\d+\.\d(?![\d%])"  # minutes in a report's table; scores have more decimals
)
UNFINISHED = re.compile(r"(^|/)\.(partial|new|old)-|\.part$|\.incomplete|(^|/)tmp")


def files_in(folder: Path) -> dict[str, Path]:
    """Returns the files below a folder by their relative paths."""
    return {
        str(path.relative_to(folder)): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() or path.is_symlink()
    }


def differences(expected: Path, found: Path) -> list[str]:
    """Compares a folder with what it should hold.

    Args:
        expected: The folder after a run that nothing disturbed.
        found: The folder after a disturbed one.

    Returns:
        One line a file that is missing, or that says something else. Files that only ``found`` has
        are left to ``leftovers``.
    """
    there, here = files_in(expected), files_in(found)
    lines = [f"{name} is missing" for name in there if name not in here and not _is_lock(name)]
    return lines + [
        f"{name} differs"
        for name, path in there.items()
        if name in here and not same(path, here[name])
    ]


def leftovers(expected: Path, found: Path) -> list[str]:
    """Returns the files that only ``found`` has, without lock files, which nobody holds."""
    known = files_in(expected)
    return [name for name in files_in(found) if name not in known and not _is_lock(name)]


def same(one: Path, other: Path) -> bool:
    """Returns whether two files say the same, apart from times.

    Of a SavedModel only the presence of its files is checked here: what it predicts is compared by
    a command that takes it up.
    """
    if one.name in _ONLY_PRESENT or _OPAQUE.search(str(one)):
        return other.stat().st_size > 0
    if one.read_bytes() == other.read_bytes():
        return True
    try:
        return content(one) == content(other)
    except (ValueError, OSError, KeyError, zipfile.BadZipFile):
        return False


def content(path: Path) -> Any:
    """Returns what a file says, comparable by ``==``, without times."""
    if path.suffix == ".json":
        return _without_times(json.loads(path.read_text(encoding="utf-8")))
    if path.suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as file:
            return _without_times(list(csv.DictReader(file)))
    if path.suffix in (".md", ".tex", ".html"):
        return _without_durations(path.read_text(encoding="utf-8"))
    if path.suffix == ".keras":
        return _archive(path)
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return {name: arrays[name].tobytes() for name in arrays}
    if ".tfrecord" in path.name:
        return _records(path.read_bytes())
    return path.read_bytes()


def _is_lock(name: str) -> bool:
    return name.endswith((".lock", ".pid"))


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_times(item) for key, item in value.items() if key not in _VARYING}
    return [_without_times(item) for item in value] if isinstance(value, list) else value


def _without_durations(text: str) -> str:
    lines = _DURATION.sub("TIME", text).splitlines()
    if lines and re.search(r"\| *seconds *\|$", lines[0]):  # of each epoch, in the last column
        lines = [line.rpartition("|")[0].rpartition("|")[0] for line in lines]
    return "\n".join(lines)


def _records(data: bytes) -> list[dict[str, bytes]]:
    """Reads TFRecords of examples, whose features have another order in each process."""
    from tensorflow.core.example.example_pb2 import Example

    records, position = [], 0
    while position < len(data):
        (size,) = struct.unpack_from("<Q", data, position)
        example = Example.FromString(data[position + 12 : position + 12 + size])
        features = example.features.feature.items()
        records.append({name: item.SerializeToString() for name, item in features})
        position += 16 + size
    return records


def _archive(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:
        members: dict[str, Any] = {name: archive.read(name) for name in archive.namelist()}
    members.pop("metadata.json", None)  # it has the date
    members["config.json"] = _without_times(json.loads(members["config.json"]))
    weights = members.pop("model.weights.h5")
    arrays: dict[str, bytes] = {}

    def take(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            arrays[name] = np.asarray(item).tobytes()

    with h5py.File(io.BytesIO(weights), "r") as file:
        file.visititems(take)
    return members | arrays
