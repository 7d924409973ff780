"""Folders are replaced whole, only where they are ours, and a killed swap is completed."""

import pytest

from kerascxr.runs import atomic
from kerascxr.runs.atomic import MARKER, replace_folder


def write(text):
    return lambda folder: (folder / "content").write_text(text)


def content(path):
    return (path / "content").read_text()


class Killed(BaseException):
    pass


def test_a_folder_is_replaced_by_one_of_its_kind(tmp_path):
    path = tmp_path / "report"
    for text in ("first", "second"):
        replace_folder(path, write(text), "report")
        assert content(path) == text
    assert [item.name for item in tmp_path.iterdir()] == ["report"]


@pytest.mark.parametrize("name", ["report.md", "thesis.txt"])
def test_a_strangers_folder_is_never_replaced(tmp_path, name):
    path = tmp_path / "report"
    path.mkdir()
    (path / name).write_text("mine")
    with pytest.raises(ValueError, match="name another folder"):
        replace_folder(path, write("ours"), "report")
    assert (path / name).read_text() == "mine"
    (path / MARKER).write_text("store\n")  # another kind
    with pytest.raises(ValueError, match="of kind report"):
        replace_folder(path, write("ours"), "report")


def test_a_failure_while_filling_leaves_the_old_folder(tmp_path):
    path = tmp_path / "report"
    replace_folder(path, write("old"), "report")

    def fail(folder):
        (folder / "content").write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        replace_folder(path, fail, "report")
    assert content(path) == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["report"]


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
    assert [item.name for item in tmp_path.iterdir()] == ["report"]
