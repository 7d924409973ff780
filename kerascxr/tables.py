"""Tables as text: for the terminal, Markdown, LaTeX and CSV. Nothing here writes files.

tabulate lays the columns out and escapes LaTeX. Three things are done here because tabulate does
them otherwise or not at all: numbers are formatted one by one (four decimals, thousands separated;
tabulate gives a whole column one format and reads text such as "1e5" as a number), cells are
escaped for Markdown, and a row of the wrong length is an error instead of being padded.
"""

import csv
import io
import math
import numbers
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tabulate import LATEX_ESCAPE_RULES, tabulate

NOTHING = "–"  # an undefined value
TOO_FEW = "too few images for an interval"


class Table(NamedTuple):
    """A table before it is text.

    Attributes:
        title: Its heading.
        header: The columns' names.
        rows: Cells; strings, numbers or None.
    """

    title: str
    header: list[str]
    rows: list[list[Any]]


def format_value(value: Any) -> str:
    """Formats one cell: four decimals, thousands apart in integers, a dash for None.

    Args:
        value: Anything. A float too small for four decimals is shown as in 3.00e-05, so that a
            learning rate does not read as zero.
    """
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, numbers.Integral):
        return f"{int(value):,}"
    if isinstance(value, numbers.Real):
        value = float(value)
        if math.isfinite(value) and 0 < abs(value) < 5e-5:
            return f"{value:.2e}"
        return f"{value:.4f}"
    return " ".join(str(value).split())


def capitalised(text: str) -> str:
    """Returns a text with a capital first letter; the others stay as they are."""
    return text[:1].upper() + text[1:]


def with_interval(value: Any, interval: Sequence[float] | None) -> Any:
    """Puts a figure and its interval into one cell, as "0.9632 [0.944, 0.980]".

    Args:
        value: The figure, formatted or not.
        interval: Lower and upper end; the value is returned as it is where that is None.
    """
    if interval is None:
        return value
    low, high = interval
    return f"{format_value(value)} [{low:.3f}, {high:.3f}]"


def difference_ends(interval: Sequence[float]) -> str:
    """Returns a difference's interval as "[+0.012, +0.057]"; an end that is not 0 never reads as 0.

    Args:
        interval: Lower and upper end.
    """
    ends = (f"{end:+.3f}" if end == 0 or abs(end) >= 0.0005 else f"{end:+.1g}" for end in interval)
    return f"[{', '.join(ends)}]"


def percent_with_interval(share: float, interval: Sequence[float] | None) -> str:
    """Returns a share and its interval for a sentence, as "39.7% [29.3%, 51.2%]"."""
    ends = f" [{interval[0]:.1%}, {interval[1]:.1%}]" if interval else ""
    return f"{share:.1%}{ends}"


def text_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Formats a table for the terminal: aligned columns, a rule under the header.

    Args:
        header: The columns' names.
        rows: Cells; strings, numbers or None.

    Returns:
        Lines joined by newlines, without one at the end.

    Raises:
        ValueError: If a row has another number of cells than the header.
    """
    return _tabulated(*_cells(header, rows), "simple")


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Formats a table for Markdown as GitHub reads it, with numbers right-aligned.

    Args:
        header: The columns' names.
        rows: Cells; strings, numbers or None. Characters with a meaning in Markdown are escaped,
            which tabulate does not do.

    Returns:
        Lines joined by newlines, without one at the end.

    Raises:
        ValueError: If a row has another number of cells than the header.
    """
    cells, right = _cells(header, rows)
    return _tabulated([[escaped_markdown(cell) for cell in line] for line in cells], right, "pipe")


def latex_table(table: Table, label: str, note: str = "") -> str:
    """Formats a table for LaTeX, with the booktabs package.

    Args:
        table: The table; its title begins the caption.
        label: The label for cross-references.
        note: The rest of the caption; the list of tables leaves it out.

    Returns:
        A ``table`` environment. It needs the package graphicx too, which shrinks a table that is
        wider than the text.
    """
    title, rest = (
        "".join(LATEX_ESCAPE_RULES.get(letter, letter) for letter in text)
        for text in (table.title, note)
    )
    caption = rf"\caption[{{{title}}}]{{{title}. {rest}}}" if rest else rf"\caption{{{title}}}"
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            caption,
            rf"\label{{{label}}}",
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            _tabulated(*table_cells(table), "latex_booktabs") + "%",
            "}",
            r"\end{table}",
        ]
    )


def table_cells(table: Table) -> tuple[list[list[str]], list[bool]]:
    """Returns a table's cells as text, header first, and which columns go to the right."""
    return _cells(table.header, table.rows)


def csv_text(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> str:
    """Formats rows as CSV, numbers in full, so that reading them back gives the same numbers.

    Args:
        rows: One dict a line. A missing or None value leaves its cell empty; NaN is written "nan".
        columns: The columns and their order; by default all keys in order of appearance.

    Returns:
        The header line and one line a row, each ending in a newline; empty without any column.

    Raises:
        ValueError: If a row has a key that is not among ``columns``.
    """
    known = list(
        columns if columns is not None else dict.fromkeys(key for row in rows for key in row)
    )
    for row in rows:
        for key in row:
            if key not in known:
                raise ValueError(f"row keys must be among the columns {known}. Got key={key!r}.")
    if not known:
        return ""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(known)
    writer.writerows([_plain(row.get(column)) for column in known] for row in rows)
    return text.getvalue()


def _cells(
    header: Sequence[str], rows: Sequence[Sequence[Any]]
) -> tuple[list[list[str]], list[bool]]:
    """Formats all cells, header first, and says which columns hold numbers and go to the right."""
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f"rows must have {len(header)} cells each. Got row={list(row)}.")
    cells = [[format_value(cell) for cell in line] for line in [header, *rows]]
    right = [
        any(not isinstance(cell, str) for cell in column)
        and all(cell is None or isinstance(cell, numbers.Real) for cell in column)
        for column in (zip(*rows, strict=True) if rows else [()] * len(header))
    ]
    return cells, right


def _tabulated(cells: list[list[str]], right: list[bool], form: str) -> str:
    """Formats cells, header first, in one of tabulate's formats."""
    return tabulate(
        cells[1:],
        headers=cells[0],
        tablefmt=form,
        disable_numparse=True,
        colalign=["right" if one else "left" for one in right],
    )


def escaped_markdown(text: str) -> str:
    """Escapes the characters that have a meaning in Markdown."""
    for letter in "\\|`*_<":
        text = text.replace(letter, "\\" + letter)
    return text


def _plain(value: Any) -> str:
    """Formats a value in full: repr of a float reads back as the same float."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return str(value)
    return str(int(value)) if isinstance(value, numbers.Integral) else repr(float(value))
