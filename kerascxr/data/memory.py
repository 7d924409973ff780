"""How much memory a process may count on."""

import os
from collections.abc import Iterator
from pathlib import Path

import psutil

from kerascxr.cluster.several_workers import AT_ONCE

SYSTEM = Path("/")


def free_memory() -> float:
    """Returns the bytes that are free for this process.

    That is what is free of the machine's memory, or of the limit of the process's control group,
    as containers and jobs of Slurm have one; divided among the processes of one command that share
    it.
    """
    free = min([psutil.virtual_memory().available, *_free_of_groups()])
    return free / int(os.environ.get(AT_ONCE, "1"))


def _free_of_groups() -> Iterator[int]:
    """Yields what is left of each limit above this process; of none where there are no groups."""
    groups = SYSTEM / "sys/fs/cgroup"
    try:
        lines = (SYSTEM / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:  # another system than Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            root, names = groups, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            root = groups / "memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        place = root / path.lstrip("/")  # in a container it may be that of the machine
        for folder in (place, *place.parents):
            left = _left(folder, *names)
            if left is not None:
                yield left
            if folder == root:
                break


def _left(folder: Path, limit: str, used: str, reclaimed: str) -> int | None:
    """Returns what is left of a group's limit in bytes; None without one."""
    try:
        most, now = ((folder / name).read_text(encoding="utf-8") for name in (limit, used))
        lines = (folder / "memory.stat").read_text(encoding="utf-8").splitlines()
        files = dict(line.split(" ", 1) for line in lines)
        # Pages of files that were read count as used, and give way when memory is wanted.
        return max(0, int(most) - int(now) + int(files.get(reclaimed, 0)))
    except (OSError, ValueError):  # not there; or "max"
        return None
