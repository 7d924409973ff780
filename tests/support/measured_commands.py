"""The time and memory of a command, with the processes that it starts."""

import os
import re
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]

_SAMPLED_SECONDS = 0.2


def measured(command: Sequence[str], log: Path) -> dict[str, float]:
    """Runs a command; returns its wall and CPU seconds and the peak bytes of it and its children.

    Raises:
        SystemExit: If it fails; the end of its output is shown.
    """
    started = time.perf_counter()
    with log.open("w") as file:
        process = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file)
        ended = threading.Event()
        peaks = [0]
        watching = threading.Thread(target=_watch, args=(process.pid, ended, peaks))
        watching.start()
        _, status, usage = os.wait4(process.pid, 0)
        ended.set()
        watching.join()
    if status:
        raise SystemExit(f"{' '.join(command)} failed:\n{log.read_text()[-3000:]}")
    wall = time.perf_counter() - started
    return {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "peak": max(peaks)}


def _watch(pid: int, ended: threading.Event, peaks: list[int]) -> None:
    """Adds up the memory of a process and its children, what they share counted once.

    The kernel's ``ru_maxrss`` would hold the memory of this process too, from before its exec.
    """
    while not ended.wait(_SAMPLED_SECONDS):
        try:
            family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
            peaks.append(sum(one.memory_full_info().pss for one in family))
            peaks.append(max(peak_bytes(one.pid) for one in family))
        except (psutil.Error, OSError):  # one of them ended meanwhile
            continue


def peak_bytes(pid: int | str = "self") -> int:
    """Returns the most bytes that a process had, by default this one, also between two samples."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0
