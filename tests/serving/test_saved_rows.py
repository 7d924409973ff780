"""Rows of a table on their way: nothing lost to a kill, nothing taken over that is not true now."""

import csv
import os
from pathlib import Path

import pytest

from kerascxr.serving.saved_rows import SavedRows

COLUMNS = ["path", "error", "predicted"]


def write(path, data="ab", at=1):
    path.write_text(data)
    os.utime(path, (at, at))
    return path


def save(to, path, error="", predicted="dark", identity="model"):
    """Saves the row of a file, as a call that is killed then."""
    rows = SavedRows(to, identity, COLUMNS)
    left = rows.left_of([path])
    rows.add([[str(path), error, predicted]])
    return left


def test_a_kill_while_taking_up_loses_no_row(tmp_path, monkeypatch):
    to = tmp_path / "table.csv"
    path = write(tmp_path / "a\u2028b.png")  # a line separator for str.splitlines
    assert save(to, path) == [path]
    (kept,) = tmp_path.glob(".partial-*")
    whole = kept.read_bytes()
    with kept.open("a", encoding="utf-8") as file:
        file.write("half/a/r")

    def killed(path, data):
        path.open("wb").close()
        raise AssertionError

    monkeypatch.setattr(Path, "write_bytes", killed)
    assert SavedRows(to, "model", COLUMNS).left_of([path]) == []
    assert kept.read_bytes() == whole
    assert SavedRows(to, "another model", COLUMNS).left_of([path]) == [path]


@pytest.mark.parametrize(
    ("data", "at", "again"),
    [("ab", 1, False), ("abc", 1, True), ("cd", 2, True)],
    ids=["same", "another size", "another time"],
)
def test_a_row_stands_while_its_file_is_the_same(tmp_path, messages, data, at, again):
    to, path = tmp_path / "table.csv", write(tmp_path / "a.png")
    save(to, path)
    write(path, data, at)
    rows = SavedRows(to, "model", COLUMNS)
    assert rows.left_of([path]) == [path] * again
    assert messages() == ["Resuming after 1 of 1 files."] * (not again)
    if again:
        rows.add([[str(path), "", "bright"]])
    assert rows.write_table({str(path)}, ["path", "predicted"]) == []
    with to.open(newline="") as file:
        predicted = "bright" if again else "dark"
        assert list(csv.DictReader(file)) == [{"path": str(path), "predicted": predicted}]


def test_a_row_is_of_the_file_that_its_path_meant(tmp_path, monkeypatch):
    to = tmp_path / "table.csv"
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "a.png")
    monkeypatch.chdir(tmp_path / "one")
    assert save(to, Path("a.png"))
    assert not SavedRows(to, "model", COLUMNS).left_of([Path("a.png")])
    monkeypatch.chdir(tmp_path / "other")
    assert SavedRows(to, "model", COLUMNS).left_of([Path("a.png")])


def test_a_rejected_file_is_tried_again(tmp_path):
    to, path = tmp_path / "table.csv", write(tmp_path / "a.png")
    save(to, path, "is truncated", "")
    rows = SavedRows(to, "model", COLUMNS)
    assert rows.left_of([path]) == [path]
    rows.add([[str(path), "", "dark"]])
    assert rows.write_table({str(path)}, ["path", "predicted"]) == []
    assert to.read_text() == f"path,predicted\n{path},dark\n"


def test_a_file_that_is_gone_has_no_row(tmp_path):
    to, path = tmp_path / "table.csv", write(tmp_path / "a.png")
    save(to, path)
    path.unlink()
    rows = SavedRows(to, "model", COLUMNS)
    assert rows.left_of([path]) == [path]
    rows.add([[str(path), "is not there", ""]])
    assert rows.write_table({str(path)}, ["path", "predicted"]) == [(str(path), "is not there")]
    assert to.read_text() == "path,predicted\n"
