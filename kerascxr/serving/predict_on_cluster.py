"""Predicts files in several processes; each loads the model once, and then takes chunks of files.

What the workers compute is saved where a call without a cluster saves it, and in the same batches:
either one goes on where the other was killed.
"""

import logging
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kerascxr.cluster.workers import Workers, workers
from kerascxr.config import ResourcesConfig
from kerascxr.data.remote import Entry, RemotePath, add_entries, known_entries
from kerascxr.names import counted
from kerascxr.serving.chosen_model import Chosen
from kerascxr.serving.predicted_rows import Rows, TableKind, write_rows
from kerascxr.serving.shards import Shard

logger = logging.getLogger(__name__)

_CHUNK = 512  # files; what is computed again after a kill, and waits in memory
_LEAST = 64  # files that are worth a worker, which takes seconds to load


@dataclass(frozen=True)
class Chunk:
    """Some of the files, whole batches of them.

    Attributes:
        files: The files.
        there: One on a disk that exists where the command runs, and so must where a worker does.
        listed: What the command knows of those on servers.
    """

    files: tuple[Path, ...]
    there: Path | None
    listed: tuple[tuple[str, Entry], ...] = ()


def predict_on_cluster(
    chosen: Chosen,
    files: Sequence[Path],
    to: Path,
    shard: Shard,
    cluster: str,
    resources: ResourcesConfig,
) -> tuple[TableKind, list[tuple[str, str]]]:
    """Does what ``write_rows`` does, with workers.

    Args:
        chosen: The model.
        files: The images.
        to: The table.
        shard: Which of the images to predict.
        cluster: See ``connected``.
        resources: What each worker takes.

    Returns:
        What the table's rows are, and the files that could not be read.

    Raises:
        ValueError: If the model or the cluster cannot be used, or machines do not share folders.
        ChildProcessError: If some of the files lost their worker three times.
    """
    most = max(1, len(files) // shard.count // _LEAST)
    with workers(load_chosen, (chosen,), cluster, resources, most, chosen.folders) as started:
        kind: TableKind = started.about

        def compute(left: list[Path]) -> Iterator[Rows]:
            return _computed(started, left, kind.batch)

        return kind, write_rows(kind, compute, files, to, shard)


def _computed(started: Workers[Chunk], left: list[Path], batch: int) -> Iterator[Rows]:
    chunks = cut(left, len(started), batch)
    logger.info(
        f"{counted(len(left), 'file')} to do in {counted(len(chunks), 'chunk')}, "
        f"{len(started)} at once."
    )
    items = []
    for chunk in chunks:
        local = (path for path in chunk if not isinstance(path, RemotePath) and path.exists())
        items.append(Chunk(tuple(chunk), next(local, None), known_entries(chunk)))
    for _, rows in started.computed(items):
        yield rows


def cut(files: list[Path], count: int, batch: int) -> list[list[Path]]:
    """Cuts files into chunks of whole batches.

    Args:
        files: The files.
        count: How many workers there are.
        batch: How many files a batch has.
    """
    each = min(-(-len(files) // count), _CHUNK)
    size = max(1, -(-each // batch)) * batch
    return [files[begin : begin + size] for begin in range(0, len(files), size)]


def load_chosen(chosen: Chosen) -> tuple[TableKind, Callable[[Chunk], Rows]]:
    """Loads a model in a worker of the cluster."""
    made = chosen.load()

    def compute(chunk: Chunk) -> Rows:
        add_entries(chunk.listed)
        if chunk.there is not None and not chunk.there.exists():
            raise ValueError(
                "the machines of the cluster must share the images. Got "
                f"{platform.node()} without {chunk.there.absolute()}."
            )
        return [row for rows in made.compute(list(chunk.files)) for row in rows]

    return made.kind, compute
