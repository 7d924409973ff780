"""Rows of a table on their way: nothing lost to a kill, nothing taken over from another model."""

from pathlib import Path

from kerascxr.serving.saved_rows import SavedRows


def test_a_kill_while_taking_up_loses_no_row(tmp_path, monkeypatch):
    to, columns = tmp_path / "table.csv", ["path", "error", "predicted"]
    assert SavedRows(to, "model", columns).done == set()
    (kept,) = tmp_path.iterdir()
    name = "a\u2028b.png"  # a line separator for str.splitlines
    with kept.open("a", encoding="utf-8") as file:
        file.write(f"{name},,dark\nhalf/a/r")

    def killed(path, data):
        path.open("wb").close()
        raise AssertionError

    monkeypatch.setattr(Path, "write_bytes", killed)
    assert SavedRows(to, "model", columns).done == {name}
    assert kept.read_text(encoding="utf-8").endswith(f"\n{name},,dark\n")
    assert SavedRows(to, "another model", columns).done == set()
