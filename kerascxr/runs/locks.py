"""Locks between processes."""

import contextlib
import logging
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
