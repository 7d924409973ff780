"""Arrays with a row an image: in memory, or mapped from a file where they are too large for it."""

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from kerascxr.data.memory import free_memory
from kerascxr.runs.atomic import naming

_MEMORY_SHARE = 0.25
_AT_ONCE = 64


def new_array(
    shape: tuple[int, ...], cache: str, folder: Path, dtype: Any = np.uint8
) -> np.ndarray:
    """Returns an array to be filled.

    Args:
        shape: Its shape.
        cache: "memory", "disk", or "auto": memory while it takes less than a quarter of what is
            free, see ``free_memory``.
        folder: Where the file is made. It has no name, and ends with the last process that uses
            the array.
        dtype: The type of its numbers.

    Raises:
        OSError: If the disk has no room for it.
    """
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    if cache == "auto":
        cache = "memory" if size < _MEMORY_SHARE * free_memory() else "disk"
    if cache == "memory":
        return np.empty(shape, dtype)
    # The file has no name any more: it goes when the last reader does, killed or not.
    with naming(folder), tempfile.TemporaryFile(dir=folder) as file:
        if hasattr(os, "posix_fallocate"):
            # Without room, writing to the array would end the process without a line (SIGBUS).
            os.posix_fallocate(file.fileno(), 0, size)
        return np.memmap(file, dtype, "w+", shape=shape)


def gathered(batches: Iterable[np.ndarray], n: int, cache: str, folder: Path) -> np.ndarray:
    """Returns the rows of batches as one array.

    Args:
        batches: Of rows of one shape, n > 0 together.
        n: The number of rows.
        cache: See ``new_array``.
        folder: See ``new_array``.
    """
    place, array = 0, None
    for batch in batches:
        if array is None:
            array = new_array((n, *batch.shape[1:]), cache, folder, batch.dtype)
        array[place : place + len(batch)] = batch
        place += len(batch)
    assert array is not None and place == n, (place, n)
    return array


def chosen_rows(array: np.ndarray, indices: np.ndarray, folder: Path | None) -> np.ndarray:
    """Returns some rows of an array: of one on disk, on disk.

    Args:
        array: The array.
        indices: int64 (m,).
        folder: Where a file is made; None if the rows may take memory.
    """
    if folder is None or not isinstance(array, np.memmap) or not len(indices):
        return array[indices]
    begins = range(0, len(indices), _AT_ONCE)
    batches = (array[indices[begin : begin + _AT_ONCE]] for begin in begins)
    return gathered(batches, len(indices), "disk", folder)
