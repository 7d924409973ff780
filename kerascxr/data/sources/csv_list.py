"""A CSV file that lists X-rays."""

import csv
import difflib
import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kerascxr.data.remote import join, look_up_files
from kerascxr.data.sources.examples import SPLIT_NAMES, Example, Source, relative_name, unique_ids
from kerascxr.names import listed, look_up

SPACING = ("row_mm", "column_mm")
COLUMNS = ("path", "label", "mask", "group", "origin", "split", *SPACING)
_HEADER = "path,label[,mask][,group][,origin][,split][,row_mm,column_mm]"
_PATIENT = re.compile(r"(patient|subject|person)s?([ _.-]*(id|ids|no|nr|number|name|key|code))?")


@dataclass(frozen=True)
class _Row:
    line: int
    values: dict[str, str]


def open_csv(path: Path, only_tested: bool = False) -> Source:
    """Reads a list of images.

    The columns are ``path,label[,mask][,group][,origin][,split][,row_mm,column_mm]``. Paths are
    relative to the CSV's folder, or URLs. ``mask`` may name several files, separated by ``;`` (left
    and right lung). Labels may be left out, for all rows, where each row has a mask. Images of one
    ``group`` (a patient) stay together. ``origin`` is the hospital or collection. ``split`` is
    train, validation or test, and is given for all rows or for none. ``row_mm`` and ``column_mm``
    are the distances of the image's rows and of its columns in millimetres; where they are left
    out, a DICOM file's own count. Other columns are not used, and the source's ``notice`` names
    them.

    Args:
        path: The file.
        only_tested: Whether the list is for a finished model: then one class will do, or none, and
            nothing but paths is needed.

    Raises:
        ValueError: In one line with the file, the line's number, what is wrong and the hint.
    """
    rows = [*_read_rows(path, only_tested)]
    if not rows:
        raise _bad(path, 1, "no row follows the header", "List at least two images of two classes")
    first_line: dict[str, int] = {}
    for row in rows:
        place = os.path.normpath(join(path.parent, row.values["path"]))
        if place in first_line:
            raise _bad(
                path,
                row.line,
                f"{row.values['path']!r} is already on line {first_line[place]}",
                "List each image once",
            )
        first_line[place] = row.line
    for column in ("label", "split"):
        _require_all_or_none(path, rows, column)
    named = (name for row in rows for name in (row.values["path"], *_mask_names(row)))
    look_up_files((join(path.parent, name) for name in named), anew=True)
    for row in rows:
        _check(path, row, only_tested)
    classes = tuple(sorted({row.values["label"] for row in rows} - {""}))
    if len(classes) == 1 and not only_tested:
        raise ValueError(
            f"{path}: labels must name two or more classes. Got label={classes[0]!r} on every "
            "line. For segmentation leave the column out."
        )
    names = [relative_name(join(path.parent, row.values["path"]), path.parent) for row in rows]
    examples = tuple(
        Example(
            id=id_,
            image=join(path.parent, row.values["path"]),
            label=row.values["label"] or None,
            masks=tuple(join(path.parent, name) for name in _mask_names(row)),
            group=row.values["group"] or None,
            origin=row.values["origin"] or None,
            split=SPLIT_NAMES.get(row.values["split"].casefold()),
            spacing=_spacing(path, row),
        )
        for id_, row in zip(unique_ids(names), rows, strict=True)
    )
    # Another spelling of the suffix is another file.
    name = path.name.removesuffix(".csv")
    unused = [column or "''" for column in rows[0].values if column not in COLUMNS]
    notice = f"Columns of {path.name} that are not used: {', '.join(unused)}." if unused else ""
    return Source(name, "csv", path.parent, classes, examples, companions=(path,), notice=notice)


def _read_rows(path: Path, only_tested: bool) -> Iterator[_Row]:
    """The rows with their line numbers; absent columns are ""."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file, strict=True)
            header = [name.strip() for name in next(lines, [])]
            _check_header(path, header, only_tested)
            blank = 0
            for cells in lines:
                if not any(cell.strip() for cell in cells):
                    blank = blank or lines.line_num
                    continue
                if blank:  # blank lines at the end are nothing; one in the midst is a lost row
                    raise _bad(path, blank, "the row is empty", "Fill it in or delete it")
                if len(cells) != len(header):
                    raise _bad(
                        path,
                        lines.line_num,
                        f"{len(cells)} values for {len(header)} columns",
                        "Put values that hold a comma in double quotes",
                    )
                values = dict.fromkeys(COLUMNS, "")
                values.update(zip(header, (cell.strip() for cell in cells), strict=True))
                yield _Row(lines.line_num, values)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: the text must be UTF-8. Save it as CSV UTF-8.") from error
    except csv.Error as error:
        raise _bad(path, lines.line_num, str(error), "Check the quotes") from error


def _check_header(path: Path, header: list[str], only_tested: bool) -> None:
    hint = f"Make the first line {_HEADER}"
    if not any(header):
        raise _bad(path, 1, "the header is missing", hint)
    if len(header) == 1 and ";" in header[0]:
        raise _bad(path, 1, "columns are separated by semicolons", "Separate them by commas")
    doubled = {name for name in header if name in COLUMNS and header.count(name) > 1}
    if doubled:
        raise _bad(path, 1, f"the column {min(doubled)!r} is there twice", hint)
    if "path" not in header or not (only_tested or {"label", "mask"} & set(header)):
        raise _bad(path, 1, f"the header is {','.join(header)[:80]!r}", hint)
    _check_unknown(path, header)


def _check_unknown(path: Path, header: list[str]) -> None:
    """Refuses unknown columns without which the split would not be what the list says."""
    absent = [name for name in COLUMNS if name not in header]
    for column in header:
        if column in COLUMNS:
            continue
        near = difflib.get_close_matches(column.casefold(), absent, n=1, cutoff=0.8)
        if near:
            problem = f"unknown column {column!r}, did you mean {near[0]!r}?"
            raise _bad(path, 1, problem, "Rename it")
        if "group" in absent and _PATIENT.fullmatch(column.casefold()):
            problem = f"the column {column!r} is not used, and there is no column 'group'"
            hint = "Name the patients' column group, so that a patient's images stay together"
            raise _bad(path, 1, problem, hint)


def _require_all_or_none(path: Path, rows: list[_Row], column: str) -> None:
    has = [bool(row.values[column]) for row in rows]
    if any(has) and not all(has):
        row = rows[has.index(False)]
        raise _bad(path, row.line, f"the {column} is missing", "Give it on every line or on none")


def _check(path: Path, row: _Row, only_tested: bool) -> None:
    if not row.values["path"]:
        raise _bad(path, row.line, "the path is missing", "Fill it in or delete the row")
    if not (only_tested or row.values["label"] or row.values["mask"]):
        raise _bad(path, row.line, "there is neither a label nor a mask", "Give one of them")
    if "|" in row.values["label"]:
        problem = f"the label {row.values['label']!r} names several classes"
        raise _bad(path, row.line, problem, "Give one class per image")
    for name in (row.values["path"], *_mask_names(row)):
        if not join(path.parent, name).is_file():
            hint = f"Paths are relative to {path.parent.absolute()}"
            raise _bad(path, row.line, f"there is no file {name!r}", hint)
    if row.values["split"]:
        try:
            look_up(SPLIT_NAMES, row.values["split"].casefold(), "split")
        except ValueError as error:
            raise ValueError(f"{path}, line {row.line}: {error}") from None


def _spacing(path: Path, row: _Row) -> tuple[float, float] | None:
    texts = [row.values[name] for name in SPACING]
    if not any(texts):
        return None
    try:
        row_mm, column_mm = map(float, texts)
        if not (0 < row_mm < math.inf and 0 < column_mm < math.inf):
            raise ValueError
    except ValueError:
        problem = f"row_mm and column_mm are {listed(map(repr, texts))}"
        raise _bad(path, row.line, problem, "Give two positive numbers, or neither") from None
    return row_mm, column_mm


def _mask_names(row: _Row) -> list[str]:
    return [name.strip() for name in row.values["mask"].split(";") if name.strip()]


def _bad(path: Path, line: int, problem: str, hint: str) -> ValueError:
    return ValueError(f"{path}, line {line}: {problem}. {hint}.")
