"""The list of files that could not be read."""

import csv

import pytest

from kerascxr.serving.rejected import report_unreadable


@pytest.mark.parametrize(
    ("count", "first", "last"),
    [
        (1, "1 file could not be read", "  0: r0"),
        (20, "20 files could not be read", "  19: r19"),
        (21, "21 files could not be read", "  ... and 1 more"),
    ],
)
def test_the_first_twenty_files_are_named_and_all_listed(tmp_path, messages, count, first, last):
    to = tmp_path / "table.parquet"
    to.touch()
    unreadable = [(str(number), f"r{number}") for number in range(count)]
    report_unreadable(unreadable, to)
    shown = messages()
    place = tmp_path / "table.parquet.rejected.csv"
    assert (shown[0], shown[-1]) == (f"{first}, listed in {place}:", last)
    assert shown[1:21] == [f"  {n}: r{n}" for n in range(min(count, 20))]
    with place.open(encoding="utf-8", newline="") as file:
        assert [*csv.reader(file)] == [["path", "reason"], *map(list, unreadable)]


def test_tables_of_one_name_and_two_formats_have_two_lists(tmp_path):
    places = [tmp_path / "table.rejected.csv", tmp_path / "table.parquet.rejected.csv"]
    for name in ("csv", "parquet"):
        report_unreadable([(name, "is empty")], tmp_path / f"table.{name}")
    for place, name in zip(places, ("csv", "parquet"), strict=True):
        assert f"{name},is empty" in place.read_text(encoding="utf-8")
    report_unreadable([], tmp_path / "table.parquet")
    assert [place.exists() for place in places] == [True, False]


def test_a_list_is_removed_when_all_files_were_read_but_no_file_of_the_user(tmp_path, messages):
    report_unreadable([("a", "b")], tmp_path)
    assert (tmp_path / "rejected.csv").exists()
    messages.clear()
    report_unreadable([], tmp_path)
    assert messages() == [] and not (tmp_path / "rejected.csv").exists()
    (tmp_path / "rejected.csv").write_text("patient\n1\n", encoding="utf-8")
    report_unreadable([], tmp_path)
    assert (tmp_path / "rejected.csv").exists()
