"""What computes the rows of a table of predictions, and writing them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kerascxr.progress import ProgressBar
from kerascxr.serving.saved_rows import FORMATS, saved_rows
from kerascxr.serving.shards import Shard

LUNG_TABLE, OVERLAYS = "lungs.csv", "overlays"  # in the folder of a U-Net's masks

Rows = list[list[str]]
Compute = Callable[[list[Path]], Iterator[Rows]]
"""Files, whole batches of them, to their rows; in any order."""


@dataclass(frozen=True)
class TableKind:
    """What a table of predictions is, whoever computes its rows.

    Attributes:
        identity: A digest of what decides the rows.
        columns: ``saved_rows.PATH``, ``saved_rows.ERROR``, and the others.
        texts: The columns that do not hold numbers.
        batch: How many files the model computes at once.
        note: What is to be said once about all of it; "" for nothing.
    """

    identity: str
    columns: tuple[str, ...]
    texts: tuple[str, ...]
    batch: int
    note: str = ""


@dataclass(frozen=True)
class PredictedRows:
    """A model that computes rows.

    Attributes:
        kind: What they are.
        compute: Computes those of files.
    """

    kind: TableKind
    compute: Compute


def write_rows(
    kind: TableKind, compute: Compute, files: Sequence[Path], to: Path, shard: Shard
) -> list[tuple[str, str]]:
    """Writes a table of predictions; a killed call is resumed.

    Args:
        kind: What its rows are.
        compute: Computes those of the files that have none yet.
        files: The images.
        to: The table.
        shard: Which of the images to predict; its table has the name ``shard.named(to)``.

    Returns:
        The files that could not be read: path and reason. They have no row.
    """
    files, unnameable = shard.part(files, kind.batch)
    with saved_rows(shard.named(to), kind.identity, kind.columns) as saved:
        left = saved.left_of(files, kind.batch)
        with ProgressBar(total=len(files), initial=len(files) - len(left), unit="image") as bar:
            for rows in compute(left):
                saved.add(rows)
                bar.update(len(rows))
        return unnameable + saved.write_table([str(path) for path in files], kind.texts)


def check_table(to: Path) -> None:
    """Checks that a table's name is that of a format.

    Raises:
        ValueError: If it is not.
    """
    if to.suffix not in FORMATS:
        raise ValueError(f"the table must be .csv or .parquet. Got to={str(to)!r}.")


def check_folder(to: Path) -> None:
    """Checks that masks can have a folder.

    Raises:
        ValueError: If it is a file, or has a table's name.
    """
    if to.is_file() or to.suffix in FORMATS:
        raise ValueError(f"--to must be a folder for a U-Net's masks. Got {str(to)!r}.")
