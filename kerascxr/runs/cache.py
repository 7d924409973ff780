"""Cached files: which a process uses, when each was last used, and how they stay below a limit."""

import contextlib
import logging
import os
import shutil
import sqlite3
import time
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG

from filelock import FileLock, ReadWriteLock, Timeout

logger = logging.getLogger(__name__)

_SECONDS_PER_DAY = 86400
_BYTES_PER_GB = 10**9


@dataclass(frozen=True)
class CacheEntry:
    """Cached files that belong together.

    Attributes:
        kind: "features", "stores", "weights" or "pages".
        base: What its locks are named after, in the same folder: ``.NAME.lock`` is held by a
            process that writes it, ``.NAME.use`` is shared by those that read it.
        paths: Its files, or its folder. The last one makes the others valid.
        about: What it was made of.
        bytes: Its size.
        used_at: When it was last used, in seconds since 1970.
        usable: False for what a killed process left and for what an older version wrote.
    """

    kind: str
    base: Path
    paths: tuple[Path, ...]
    about: str
    bytes: int
    used_at: float
    usable: bool = True

    @classmethod
    def of(
        cls, kind: str, base: Path, paths: Iterable[Path], about: str, *, usable: bool = True
    ) -> "CacheEntry":
        """Returns an entry with the size and the time of the last use of its files."""
        paths = tuple(paths)
        files = (item for path in paths for item in (path, *path.rglob("*")))
        size = sum(stat.st_size for stat in _stats(files) if S_ISREG(stat.st_mode))
        used = [stat.st_mtime for stat in _stats((_use_lock(base), *paths))]
        return cls(kind, base, paths, about, size, max(used, default=0.0), usable)

    @property
    def gigabytes(self) -> float:
        """Its size in GB (1e9 bytes)."""
        return self.bytes / _BYTES_PER_GB

    @property
    def days_unused(self) -> float:
        """How many days ago it was last used; 0 if the clock says that this is still to come."""
        return max(0.0, time.time() - self.used_at) / _SECONDS_PER_DAY

    def remove(self) -> bool:
        """Deletes it, unless a running process writes or reads it.

        Returns:
            Whether it was deleted.
        """
        try:
            with contextlib.ExitStack() as held:
                lock = FileLock(self.base.with_name(f".{self.base.name}.lock"), timeout=0)
                held.enter_context(lock)
                users = ReadWriteLock(_use_lock(self.base), is_singleton=False)
                held.callback(users.close)
                users.acquire_write(blocking=False)
                for path in reversed(self.paths):
                    if path.is_dir():  # never half of a folder under its name
                        aside = path.with_name(f".partial-{self.base.name}-removed")
                        if path != aside:
                            shutil.rmtree(aside, ignore_errors=True)
                            path.rename(aside)
                        shutil.rmtree(aside)
                    else:
                        path.unlink(missing_ok=True)
        except (Timeout, PermissionError):  # Windows does not delete a file that is open
            return False
        return True


def use(base: Path, owner: object) -> None:
    """Marks cached files as in use now, and until an object is gone or the process has ended.

    Args:
        base: Their ``CacheEntry``'s base.
        owner: What reads them.
    """
    path = _use_lock(base)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = ReadWriteLock(path, is_singleton=False)
        lock.acquire_read()
        path.touch()
    except (OSError, sqlite3.Error) as error:  # such as a folder that may only be read
        logger.debug(f"{base} cannot be marked as in use: {error}")
        return
    weakref.finalize(owner, lock.close)


def leftovers(folder: Path, kind: str) -> Iterator[CacheEntry]:
    """Gives what killed processes left in a folder; also what running ones are about to finish."""
    for path in sorted(folder.glob(".partial-*-*")):
        base = folder / path.name.removeprefix(".partial-").rpartition("-")[0]
        yield CacheEntry.of(kind, base, [path], "unfinished", usable=False)


def prune(
    entries: Iterable[CacheEntry], limit_gb: float = 0.0, least_days: float = 0.0
) -> tuple[list[CacheEntry], list[CacheEntry]]:
    """Deletes the least recently used entries until a limit holds.

    Args:
        entries: All that counts.
        limit_gb: How many gigabytes may be left; 0 deletes all.
        least_days: Entries that were used in the last so many days stay.

    Returns:
        What was deleted, and what stays because a running process uses it.
    """
    entries = sorted(entries, key=lambda entry: entry.used_at)
    excess = sum(entry.bytes for entry in entries) - limit_gb * _BYTES_PER_GB
    removed, in_use = [], []
    for entry in entries:
        if excess <= 0 < limit_gb or entry.days_unused < least_days:
            continue
        if entry.remove():
            excess -= entry.bytes
            removed.append(entry)
        else:
            in_use.append(entry)
    return removed, in_use


def enforce_limit(entries: Iterable[CacheEntry], limit_gb: float, option: str) -> None:
    """Does what ``prune`` does, and logs it.

    Args:
        entries: All that counts.
        limit_gb: How many gigabytes may be left.
        option: The option that sets the limit.
    """
    for entry in prune(entries, limit_gb)[0]:
        logger.info(
            f"Removed {entry.base} ({entry.gigabytes:.3g} GB, unused for "
            f"{entry.days_unused:.0f} days): --{option} allows {limit_gb:g} GB."
        )


def _stats(paths: Iterable[Path]) -> Iterator[os.stat_result]:
    for path in paths:
        with contextlib.suppress(FileNotFoundError):  # removed by another process
            yield path.stat()


def _use_lock(base: Path) -> Path:
    return base.with_name(f".{base.name}.use")
