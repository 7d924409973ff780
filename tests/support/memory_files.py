"""Files on a server that is in memory."""

import contextlib

import fsspec


@contextlib.contextmanager
def memory_files():
    """Yields fsspec's file system in memory, which the process shares; it is empty afterwards."""
    files = fsspec.filesystem("memory")
    yield files
    files.store.clear()
    files.pseudo_dirs[:] = [""]
