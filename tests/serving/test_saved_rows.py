"""Rows of a table on their way: nothing lost to a kill, nothing taken over that is not true now."""

import csv
import os
from pathlib import Path

import pyarrow.parquet
import pytest
from filelock import FileLock, Timeout

from kerascxr.serving.saved_rows import SavedRows, saved_rows

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
    [(None, 1, False), ("abc", 1, True), ("cd", 2, True), ("cd", 1, True)],
    ids=["same", "another size", "another time", "another content"],
)
def test_a_row_stands_while_its_file_is_the_same(tmp_path, messages, data, at, again):
    to, path = tmp_path / "table.csv", write(tmp_path / "a.png")
    save(to, path)
    if data is not None:
        write(path, data, at)
    rows = SavedRows(to, "model", COLUMNS)
    assert rows.left_of([path]) == [path] * again
    assert messages() == ["Resuming after 1 of 1 files."] * (not again)
    if again:
        rows.add([[str(path), "", "bright"]])
    assert rows.write_table([str(path)], ["path", "predicted"]) == []
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
    assert rows.write_table([str(path)], ["path", "predicted"]) == []
    assert to.read_bytes() == f"path,predicted\n{path},dark\n".encode()


def test_a_file_that_is_gone_has_no_row(tmp_path):
    to, path = tmp_path / "table.csv", write(tmp_path / "a.png")
    save(to, path)
    path.unlink()
    rows = SavedRows(to, "model", COLUMNS)
    assert rows.left_of([path]) == [path]
    rows.add([[str(path), "is not there", ""]])
    assert rows.write_table([str(path)], ["path", "predicted"]) == [(str(path), "is not there")]
    assert to.read_text() == "path,predicted\n"


def test_a_parquet_table_has_numbers_and_texts(tmp_path):
    to = tmp_path / "table.parquet"
    paths = [write(tmp_path / f"{name}.png") for name in "abc"]
    rows = SavedRows(to, "model", [*COLUMNS, "probability"])
    assert rows.left_of(paths) == paths
    rows.add([[str(path), "", "dark", f"0.{place}"] for place, path in enumerate(paths)])
    assert rows.write_table([str(path) for path in paths[1:]], ["path", "predicted"]) == []
    table = pyarrow.parquet.read_table(to).to_pydict()
    assert table == {
        "path": [str(path) for path in paths[1:]],
        "predicted": ["dark", "dark"],
        "probability": [0.1, 0.2],
    }
    assert not list(tmp_path.glob(".partial-*"))


def test_the_last_row_of_a_file_counts_and_a_half_row_is_dropped(tmp_path, messages):
    to = tmp_path / "table.csv"
    paths = [write(tmp_path / f"{name}.png") for name in "abc"]
    rows = SavedRows(to, "model", COLUMNS)
    rows.left_of(paths)
    rows.add([[str(path), "", "dark"] for path in paths])
    rows.add([[str(paths[0]), "", "bright"]])
    (kept,) = tmp_path.glob(".partial-*")
    with kept.open("a") as file:
        file.write(f"{paths[1]},,mid")
    paths[2].write_text("changed")
    rows = SavedRows(to, "model", COLUMNS)
    assert rows.left_of(paths) == [paths[2]]
    assert messages() == ["Resuming after 2 of 3 files."]
    rows.add([[str(paths[2]), "", "middle"]])
    assert rows.write_table([str(path) for path in paths], ["path", "predicted"]) == []
    with to.open(newline="") as file:
        found = {row["path"]: row["predicted"] for row in csv.DictReader(file)}
    assert found == {str(paths[0]): "bright", str(paths[1]): "dark", str(paths[2]): "middle"}


def test_a_half_row_of_a_name_with_line_breaks_is_dropped(tmp_path):
    to = tmp_path / "table.csv"
    paths = [write(tmp_path / name) for name in ('"1"\n2.png', "a\nb\n\nc.png", "z.png")]
    save(to, paths[0])
    (kept,) = tmp_path.glob(".partial-*")
    before = kept.read_bytes()
    save(to, paths[1])
    after = kept.read_bytes()
    for end in range(len(before) + 1, len(after)):
        kept.write_bytes(after[:end])
        rows = SavedRows(to, "model", COLUMNS)
        assert rows.left_of(paths) == paths[1:]
        assert kept.read_bytes() == before
    rows.add([[str(path), "", "bright"] for path in paths[1:]])
    assert rows.write_table([str(path) for path in paths], ["path", "predicted"]) == []
    with to.open(newline="") as file:
        found = [(row["path"], row["predicted"]) for row in csv.DictReader(file)]
    assert found == list(zip(map(str, paths), ("dark", "bright", "bright"), strict=True))


def test_columns_decide_which_rows_are_taken_over(tmp_path):
    to, path = tmp_path / "table.csv", write(tmp_path / "a.png")
    save(to, path)
    assert SavedRows(to, "model", [*COLUMNS, "another"]).left_of([path]) == [path]


def test_one_process_at_a_time_writes_a_table(tmp_path):
    to = tmp_path / "table.csv"
    with saved_rows(to, "model", COLUMNS) as rows:
        assert isinstance(rows, SavedRows)
        with pytest.raises(Timeout), FileLock(tmp_path / ".table.csv.writing.lock", timeout=0):
            pass


def test_a_file_that_was_and_is_not_there_is_looked_for_again(tmp_path):
    to, path = tmp_path / "table.csv", tmp_path / "a.png"
    save(to, path, "does not exist", "")
    assert SavedRows(to, "model", COLUMNS).left_of([path]) == [path]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_rows_saved_in_any_order_are_in_that_of_the_files(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr("kerascxr.serving.saved_rows._GROUP", 2)
    paths = [write(tmp_path / name) for name in ("path", "é\n.png", 'a"b.png', "c\u2028.png", "d")]
    to = tmp_path / f"table{suffix}"
    rows = SavedRows(to, "model", [*COLUMNS, "size"])
    rows.left_of(paths)
    for place in (4, 2, 3, 0, 1):
        error = "is cut" if place == 3 else ""
        rows.add([[str(paths[place]), error, "dark", f"{place}.0"]])
    wanted = list(map(str, paths))
    assert rows.write_table(wanted, ["path", "predicted"]) == [(wanted[3], "is cut")]
    if suffix == ".csv":
        with to.open(newline="", encoding="utf-8") as file:
            found = [(row["path"], float(row["size"])) for row in csv.DictReader(file)]
    else:
        assert pyarrow.parquet.ParquetFile(to).num_row_groups == 2
        table = pyarrow.parquet.read_table(to)
        found = list(zip(table["path"].to_pylist(), table["size"].to_pylist(), strict=True))
    assert found == [(wanted[place], place) for place in (0, 1, 2, 4)]
