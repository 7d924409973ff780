"""Tables read back as what went in, and show what matters."""

import csv
import io
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kerascxr.tables import (
    Table,
    csv_text,
    difference_ends,
    format_value,
    latex_table,
    markdown_table,
    text_table,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.91234567, "0.9123"),
        (1.0, "1.0000"),
        (0.0, "0.0000"),
        (3e-05, "3.00e-05"),
        (-1e-9, "-1.00e-09"),
        (math.nan, "nan"),
        (math.inf, "inf"),
        (5846144, "5,846,144"),
        (np.int64(1234), "1,234"),
        (np.float32(0.5), "0.5000"),
        (True, "yes"),
        ("two\nlines", "two lines"),
    ],
)
def test_cells(value, text):
    assert format_value(value) == text


def test_text_table_is_aligned():
    assert text_table(["name", "n"], [["a", 1], ["longer", 1000], ["肺", None]]).split("\n") == [
        "name        n",
        "------  -----",
        "a           1",
        "longer  1,000",
        "肺          –",  # wide letters take two columns
    ]


def test_markdown_table_aligns_numbers_right():
    assert markdown_table(["name", "score"], [["a|b", 0.5]]).split("\n") == [
        "| name   |   score |",
        "|:-------|--------:|",
        "| a\\|b   |  0.5000 |",
    ]


def unescaped_cells(line):
    """Splits a Markdown row at bars that are not escaped."""
    cells, escaped = [""], False
    for letter in line.strip()[1:-1]:
        if escaped or letter not in "\\|":
            cells[-1] += letter
            escaped = False
        elif letter == "|":
            cells.append("")
        else:
            escaped = True
    return [cell.strip() for cell in cells]


TEXTS = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"]), max_size=8)


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=4))
def test_markdown_reads_back(rows):
    lines = markdown_table(["one", "two"], rows).split("\n")
    assert len(lines) == 2 + len(rows)
    for line, row in zip(lines[2:], rows, strict=True):
        assert unescaped_cells(line) == [" ".join(cell.split()) for cell in row]


def test_a_table_without_rows():
    assert text_table(["a", "b"], []).split("\n") == ["a    b", "---  ---"]
    assert markdown_table(["a"], []).split("\n") == ["| a   |", "|-----|"]


def test_text_that_looks_like_a_number_stays_text():
    assert text_table(["fold"], [["1e5"], ["007"]]).split("\n")[2:] == ["1e5", "007"]


def test_latex_table():
    text = latex_table(Table("Dice of a_b, 95%", ["set", "n"], [["<x> & y", 1000]]), "tab:dice")
    lines = [" ".join(line.split()) for line in text.split("\n")]
    assert lines == [
        r"\begin{table}",
        r"\centering",
        r"\caption{Dice of a\_b, 95\%}",
        r"\label{tab:dice}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"set & n \\",
        r"\midrule",
        r"\ensuremath{<}x\ensuremath{>} \& y & 1,000 \\",
        r"\bottomrule",
        r"\end{tabular}%",
        "}",
        r"\end{table}",
    ]


def test_a_note_follows_the_caption_and_is_not_in_the_list_of_tables():
    text = latex_table(Table("Dice", ["set"], [["x"]]), "tab:dice", "In brackets: 95% of [a, b].")
    assert text.split("\n")[2] == r"\caption[{Dice}]{Dice. In brackets: 95\% of [a, b].}"


@pytest.mark.parametrize("table", [text_table, markdown_table])
def test_a_row_of_the_wrong_length_is_refused(table):
    with pytest.raises(ValueError, match=r"rows must have 2 cells each\. Got row="):
        table(["a", "b"], [[1]])


ROWS = st.lists(
    st.fixed_dictionaries(
        {"epoch": st.integers(0, 1000)},
        optional={
            "loss": st.floats() | st.none(),
            "note": st.text(st.characters(categories=["L", "P", "Zs"]), min_size=1).filter(
                lambda text: text.lower() not in ("nan", "inf", "infinity")
            ),
        },
    ),
    min_size=1,
)


@given(ROWS)
def test_csv_reads_back_to_the_last_digit(rows):
    text = csv_text(rows, ["epoch", "loss", "note"])
    back = list(csv.DictReader(io.StringIO(text, newline="")))
    assert len(back) == len(rows)
    for row, again in zip(rows, back, strict=True):
        assert list(again) == ["epoch", "loss", "note"]
        assert int(again["epoch"]) == row["epoch"]
        assert again["note"] == (row.get("note") or "")
        loss = row.get("loss")
        if loss is None:
            assert again["loss"] == ""
        else:
            assert float(again["loss"]) == loss or math.isnan(loss + float(again["loss"]))


def test_csv_columns():
    assert csv_text([{"epoch": 1, "loss": 0.1}, {"epoch": 2, "val": None}]) == (
        "epoch,loss,val\n1,0.1,\n2,,\n"
    )
    assert csv_text([], ["epoch"]) == "epoch\n"
    assert csv_text([]) == ""
    assert csv_text([{"loss": np.float32(0.1)}]) == f"loss\n{float(np.float32(0.1))!r}\n"
    with pytest.raises(ValueError, match="Got key='lss'"):
        csv_text([{"lss": 1}], ["loss"])


@pytest.mark.parametrize(
    ("ends", "shown"),
    [
        ((0.0123, 0.0567), "[+0.012, +0.057]"),
        ((0.0002, 0.0016), "[+0.0002, +0.002]"),  # above 0, so a difference is shown
        ((-0.00001, 0.0), "[-1e-05, +0.000]"),
    ],
)
def test_an_end_of_a_differences_interval_that_is_not_0_does_not_read_as_0(ends, shown):
    assert difference_ends(ends) == shown
