"""The files that a prediction could not read: listed for people, and for programs."""

import logging
from collections.abc import Sequence
from pathlib import Path

from kerascxr.names import counted
from kerascxr.runs.atomic import write_text
from kerascxr.serving.shards import WHOLE, Shard
from kerascxr.tables import csv_text

logger = logging.getLogger(__name__)

_COLUMNS = ("path", "reason")
_SHOWN = 20


def report_unreadable(
    unreadable: Sequence[tuple[str, str]], to: Path, shard: Shard = WHOLE
) -> None:
    """Writes which files could not be read beside what was predicted, and logs the first of them.

    The list is ``rejected.csv`` in a folder, ``NAME.rejected.csv`` beside the table ``NAME.csv``;
    beside one of another format its suffix is in the name too, since both may be in one folder.
    Where all files were read, the list of an earlier call is removed.

    Args:
        unreadable: Path and reason of each.
        to: The folder or the table that holds the others.
        shard: Which of the files were predicted; the list is named after it.
    """
    if to.is_dir():
        place = shard.named(to / "rejected.csv")
    else:
        table = shard.named(to)
        name = table.stem if table.suffix == ".csv" else table.name
        place = to.with_name(f"{name}.rejected.csv")
    if not unreadable:
        if _is_list(place):
            place.unlink()
        return
    write_text(place, csv_text([dict(zip(_COLUMNS, item, strict=True)) for item in unreadable]))
    logger.warning(f"{counted(len(unreadable), 'file')} could not be read, listed in {place}:")
    for path, reason in unreadable[:_SHOWN]:
        logger.warning(f"  {path}: {reason}")
    if len(unreadable) > _SHOWN:
        logger.warning(f"  ... and {len(unreadable) - _SHOWN:,} more")


def _is_list(path: Path) -> bool:
    return path.is_file() and path.read_bytes().startswith(",".join(_COLUMNS).encode())
