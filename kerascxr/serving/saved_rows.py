"""A table whose rows are saved as they are computed, so that a killed call can be resumed."""

import contextlib
import csv
import io
import itertools
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from kerascxr.data.remote import state_of
from kerascxr.runs.atomic import naming, replacing, write_text
from kerascxr.runs.locks import locked

logger = logging.getLogger(__name__)

FORMATS = (".csv", ".parquet")
PATH, ERROR = "path", "error"
"""The first two columns of saved rows; the table has no ``error``."""

_GROUP = 50_000  # rows that are in memory at once
_STAMP = "file"  # the last column of saved rows; not in the table


@contextlib.contextmanager
def saved_rows(to: Path, identity: str, columns: Sequence[str]) -> Iterator["SavedRows"]:
    """Yields ``SavedRows``; of processes that write the same table, one waits for the other."""
    waiting = f"Another process is writing {to}; waiting for it."
    with locked(to.with_name(f".{to.name}.writing.lock"), waiting):
        yield SavedRows(to, identity, columns)


class SavedRows:
    """Rows in a file beside the table; each batch is on disk before the next one is computed.

    Args:
        to: The table, .csv or .parquet.
        identity: What decides the rows. Rows of another identity are dropped.
        columns: ``PATH``, ``ERROR``, and the others.
    """

    def __init__(self, to: Path, identity: str, columns: Sequence[str]):
        self._to = to
        self._columns = [*columns, _STAMP]
        self._kept = to.with_name(f".partial-{to.name}.csv")
        self._earlier = self._take_up(identity)
        self._stamps: dict[str, str] = {}

    def _take_up(self, identity: str) -> dict[str, str]:
        """Returns path to stamp of an earlier call's last rows; removes a half-written row.

        The stamp of a file that could not be read is "".
        """
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(self._columns)
        heading = f"{identity}\n{text.getvalue()}"
        if self._kept.exists():
            data = self._kept.read_bytes()
            if data.startswith(heading.encode()):
                end = data.rindex(b"\n") + 1
                while data.count(b'"', 0, end) % 2:  # a line break inside a quoted name
                    end = data.rindex(b"\n", 0, end - 1) + 1
                whole = data[:end]
                os.truncate(self._kept, len(whole))  # in place: a kill here must not lose the rows
                rows = io.StringIO(whole[len(heading.encode()) :].decode("utf-8"), newline="")
                width = len(self._columns)
                whole_rows = (row for row in csv.reader(rows) if len(row) == width)
                return {row[0]: "" if row[1] else row[-1] for row in whole_rows}
        write_text(self._kept, heading)
        return {}

    def left_of(self, files: Sequence[Path], batch: int = 1) -> list[Path]:
        """Returns the files to be read; a line says how many have a row.

        A row of an earlier call is kept if the file was read then, and has the same absolute path
        and ``state_of`` now, and if this holds for all files of its batch: a model's last digits
        can depend on what else is in a batch.

        Args:
            files: The files to have a row. Rows can be added for these only.
            batch: How many files a batch has.
        """
        self._stamps = {str(path): _stamp(path) for path in files}
        kept = {
            path
            for path, stamp in self._stamps.items()
            if stamp and stamp == self._earlier.get(path)
        }
        batches = [files[begin : begin + batch] for begin in range(0, len(files), batch)]
        left = [
            path for part in batches if not all(str(path) in kept for path in part) for path in part
        ]
        if len(left) < len(files):
            count = len(files) - len(left)
            logger.info(f"Resuming after {count:,} of {len(files):,} files.")
        return left

    def add(self, rows: Sequence[Sequence[str]]) -> None:
        """Saves rows."""
        with naming(self._to), self._kept.open("a", encoding="utf-8", newline="") as file:
            stamped = ([*row, self._stamps[row[0]]] for row in rows)
            csv.writer(file, lineterminator="\n").writerows(stamped)

    def _read(self) -> Iterator[tuple[int, dict[str, str]]]:
        """Yields where each saved row begins in the file, in bytes, and the row."""
        end = 0

        def lines() -> Iterator[str]:
            nonlocal end
            with self._kept.open("rb") as file:
                for line in file:
                    end += len(line)
                    yield line.decode("utf-8")

        left = lines()
        next(left)  # the identity
        rows = csv.reader(left)
        next(rows)  # the columns
        begin = end
        for row in rows:
            if len(row) == len(self._columns):
                yield begin, dict(zip(self._columns, row, strict=True))
            begin = end

    def write_table(self, wanted: Sequence[str], texts: Sequence[str]) -> list[tuple[str, str]]:
        """Writes the table, without the rows of unreadable files, and removes the saved rows.

        Args:
            wanted: The paths to have a row, in the order of the table.
            texts: The columns that do not hold numbers.

        Returns:
            The files that could not be read: path and reason.
        """
        import pyarrow
        import pyarrow.parquet

        shown = [name for name in self._columns if name not in (ERROR, _STAMP)]
        unreadable = []
        places = dict.fromkeys(wanted, -1)
        for place, row in self._read():
            if row[PATH] in places:
                places[row[PATH]] = place

        def chosen() -> Iterator[dict[str, str]]:
            with self._kept.open("rb") as file:
                # Workers save rows in any order, and what is read again comes twice.
                for place in places.values():
                    if place < 0:
                        continue
                    file.seek(place)
                    yield dict(zip(self._columns, next(csv.reader(_lines(file))), strict=True))

        def rows() -> Iterator[dict[str, str]]:
            for row in chosen():
                if row[ERROR]:
                    unreadable.append((row[PATH], row[ERROR]))
                else:
                    yield {name: row[name] for name in shown}

        with replacing(self._to) as partial:
            if self._to.suffix == ".csv":
                with partial.open("w", encoding="utf-8", newline="") as file:
                    writer = csv.DictWriter(file, shown, lineterminator="\n")
                    writer.writeheader()
                    writer.writerows(rows())
            else:
                kinds = {
                    name: pyarrow.string() if name in texts else pyarrow.float64() for name in shown
                }  # also of no rows
                schema, left = pyarrow.schema(kinds), rows()
                with pyarrow.parquet.ParquetWriter(partial, schema) as parquet:
                    while some := list(itertools.islice(left, _GROUP)):
                        columns = {
                            name: [row[name] if name in texts else float(row[name]) for row in some]
                            for name in shown
                        }
                        parquet.write_table(pyarrow.table(columns, schema=schema))
        self._kept.unlink()
        return unreadable


def _lines(file: BinaryIO) -> Iterator[str]:
    """Yields the lines; the file is read no further than asked for."""
    return (line.decode("utf-8") for line in iter(file.readline, b""))


def _stamp(path: Path) -> str:
    """Returns what changes when a path leads to another file; "" if it leads to none."""
    state = state_of(path)
    return "" if min(state) < 0 else f"{' '.join(map(str, state))} {path.absolute()}"
