"""Folders are replaced whole, only where they are ours, and a killed swap is completed."""

import errno
import os
import threading

import pytest

from kerascxr.runs import atomic
from kerascxr.runs.atomic import (
    MARKER,
    disk_errors,
    naming,
    replace_folder,
    replacing,
    write_json,
    write_text,
)


def write(text):
    return lambda folder: (folder / "content").write_text(text)


def content(path):
    return (path / "content").read_text()


def names(folder):
    """What is in a folder, without lock files."""
    return sorted(item.name for item in folder.iterdir() if item.suffix != ".lock")


class Killed(BaseException):
    pass


def test_a_folder_is_replaced_by_one_of_its_kind(tmp_path):
    path = tmp_path / "report"
    for text in ("first", "second"):
        replace_folder(path, write(text), "report")
        assert content(path) == text
    assert names(tmp_path) == ["report"]


@pytest.mark.parametrize("name", ["report.md", "thesis.txt"])
def test_a_strangers_folder_is_never_replaced(tmp_path, name):
    path = tmp_path / "report"
    path.mkdir()
    (path / name).write_text("mine")
    with pytest.raises(ValueError, match="move or delete it, or name another folder"):
        replace_folder(path, write("ours"), "report")
    assert (path / name).read_text() == "mine"
    (path / MARKER).write_text("store\n")  # another kind
    with pytest.raises(ValueError, match="of kind report"):
        replace_folder(path, write("ours"), "report")


def test_an_empty_folder_is_filled_and_a_file_is_not_replaced(tmp_path):
    path = tmp_path / "report"
    path.mkdir()
    replace_folder(path, write("ours"), "report")
    assert content(path) == "ours"
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="file must be empty, missing, or a folder of kind report"):
        replace_folder(tmp_path / "file", write("ours"), "report")
    assert (tmp_path / "file").is_file()


def test_a_failure_while_filling_leaves_the_old_folder(tmp_path):
    path = tmp_path / "report"
    replace_folder(path, write("old"), "report")

    def fail(folder):
        (folder / "content").write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        replace_folder(path, fail, "report")
    assert content(path) == "old"
    assert names(tmp_path) == ["report"]


@pytest.mark.parametrize("renames", [0, 1, 2, 3])
def test_a_swap_that_is_killed_loses_nothing(tmp_path, monkeypatch, renames):
    path = tmp_path / "report"
    replace_folder(path, write("old"), "report")
    rename, done = atomic.Path.rename, []

    def killed(self, target):
        if len(done) == renames:
            raise Killed
        done.append(target)
        return rename(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(atomic.Path, "rename", killed)
        patched.setattr(atomic.shutil, "rmtree", lambda *args, **options: None)
        if renames < 3:
            with pytest.raises(Killed):
                replace_folder(path, write("new"), "report")
        else:
            replace_folder(path, write("new"), "report")

    def refuse(folder):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        replace_folder(path, refuse, "report")  # completes the swap before it fails
    assert content(path) == ("old" if renames < 2 else "new")
    assert names(tmp_path) == ["report"]


def test_two_processes_that_write_one_folder_take_turns(tmp_path, messages):
    path, begun, go_on = tmp_path / "report", threading.Event(), threading.Event()

    def slowly(folder):
        (folder / "content").write_text("first")
        begun.set()
        assert go_on.wait(10)
        assert (folder / "content").read_text() == "first"

    first = threading.Thread(target=lambda: replace_folder(path, slowly, "report"))
    first.start()
    assert begun.wait(10)
    second = threading.Thread(target=lambda: replace_folder(path, write("second"), "report"))
    second.start()
    second.join(0.2)
    assert not path.exists()
    go_on.set()
    for thread in (first, second):
        thread.join(10)
    assert content(path) == "second"
    assert messages() == [f"Another process is writing {path}; waiting for it."]
    assert names(tmp_path) == ["report"]


def test_the_partial_folder_of_another_name_is_left_alone(tmp_path):
    (tmp_path / ".partial-report-2-abcd1234").mkdir()
    (tmp_path / ".partial-report-abcd1234").mkdir()  # a killed process left it
    replace_folder(tmp_path / "report", write("ours"), "report")
    assert names(tmp_path) == [".partial-report-2-abcd1234", "report"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), r"\[Errno 28\] No space .*table.csv"),
        (OSError("Unable to write: errno = 28"), "table.csv cannot be written: Unable to write"),
        (FileNotFoundError(errno.ENOENT, "No such file", "else.csv"), "else"),
    ],
)
def test_an_error_while_writing_names_the_file(tmp_path, error, said):
    path = tmp_path / "table.csv"
    write_text(path, "old")
    with pytest.raises(type(error), match=said), replacing(path) as partial:
        partial.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert names(tmp_path) == ["table.csv"]

    def fill(folder):
        raise error

    with pytest.raises(type(error), match=said.replace("table.csv", "table")):
        replace_folder(tmp_path / "table", fill, "table")


def test_a_file_is_on_the_disk_before_it_takes_the_old_ones_place(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    atomic.write_json(path, {"old": 1})
    waited = []

    def fsync(file):
        waited.append((os.fstat(file).st_size, path.read_text()))

    monkeypatch.setattr(os, "fsync", fsync)
    atomic.write_json(path, {"new": 22})
    assert waited == [(path.stat().st_size, '{\n  "old": 1\n}\n')]


def test_json_is_indented_utf_8_that_others_may_read(tmp_path):
    path = tmp_path / "new" / "é.json"
    umask = os.umask(0o022)
    try:
        write_json(path, {"a": ["é"]})
    finally:
        assert os.umask(umask) == 0o022
    assert path.read_bytes() == '{\n  "a": [\n    "é"\n  ]\n}\n'.encode()
    assert path.stat().st_mode & 0o7777 == 0o644
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, float("nan"))
    assert path.exists()


class OfTensorFlowError(Exception):
    error_code = 8


@pytest.mark.parametrize(
    ("cause", "said"),
    [
        (OfTensorFlowError("{{node SaveV2}} ..."), r"^\[Errno 28\] No space .*: '.*store'$"),
        (OSError(errno.EROFS, "read only"), r"^\[Errno 30\] Read-only file system: '.*store'$"),
        (OSError("of HDF5"), r"^\[Errno 5\] of HDF5: '.*store'$"),
    ],
)
def test_a_wrapped_error_of_the_disk_is_an_os_error_with_the_path(tmp_path, cause, said):
    path = tmp_path / "store"
    with pytest.raises(OSError, match=said), naming(tmp_path), disk_errors(path):
        try:
            raise cause
        except (OSError, OfTensorFlowError) as error:
            raise RuntimeError("failed to finalize") from error


def test_other_errors_are_not_the_disks(tmp_path):
    with pytest.raises(RuntimeError, match="a bug"), disk_errors(tmp_path):
        raise RuntimeError("a bug")
    with pytest.raises(FileNotFoundError), disk_errors(tmp_path):
        raise FileNotFoundError(2, "gone", "x")


DEAD = 2**22 + 1  # above the largest process id that Linux gives


def test_partial_files_of_dead_processes_of_this_machine_are_removed(tmp_path, monkeypatch):
    def leave(name, pid=None, machine=None):
        with monkeypatch.context() as patched:
            if pid:
                patched.setattr(atomic.os, "getpid", lambda: pid)
            if machine:
                patched.setattr(atomic, "_machine", lambda: machine)
            with replacing(tmp_path / name) as partial:
                kept = partial.rename(tmp_path / "kept")
                partial.touch()
        (tmp_path / name).unlink()
        return kept.rename(partial)

    dead = leave("table.csv", DEAD)
    others = [leave("table.csv"), leave("a.csv", DEAD, "0123abcd")]
    monkeypatch.setattr(atomic, "_cleaned", set())
    write_text(tmp_path / "other.json", "{}")
    assert not dead.exists() and all(path.exists() for path in others)


def test_a_long_name_with_a_dot_is_written(tmp_path):
    path = tmp_path / ("a." + "b" * 230 + ".png")
    with replacing(path) as partial:
        partial.write_text("x")
        assert partial.suffix == ".png"
    assert path.read_text() == "x"
    with replacing(tmp_path / "model.weights.h5") as partial:
        assert partial.name.endswith(".weights.h5")
        partial.write_text("x")


def test_an_ended_process_is_no_error_of_the_disk(tmp_path):
    with pytest.raises(ChildProcessError, match=r"^ended$"), naming(tmp_path):
        raise ChildProcessError("ended")
