"""Locks between processes."""

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def locked(path: Path, waiting: str) -> Iterator[None]:
    """Holds a lock file while the block runs.

    The operating system frees the lock when its process ends, also when the process is killed.

    Args:
        path: The lock file. Its folder is made if it is missing.
        waiting: Logged once if another process holds the lock.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.info(waiting)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def only_writer(path: Path, what: str) -> Iterator[None]:
    """Holds a lock file while the block runs; fails at once if another process holds it.

    The lock of a killed process does not block: see ``locked``.

    Args:
        path: The lock file. A file beside it, with the suffix .pid, names the process.
        what: What is written, for the message.

    Raises:
        ValueError: If another process holds the lock.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock, writer = FileLock(path), path.with_suffix(".pid")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        known = writer.read_text(encoding="utf-8") if writer.exists() else ""
        raise ValueError(
            f"{what} is being written by another process{known and f' (pid {known})'}. Wait until "
            "it has finished, or give another --name."
        ) from None
    try:
        writer.write_text(str(os.getpid()), encoding="utf-8")
        yield
    finally:
        writer.unlink(missing_ok=True)
        lock.release()
