"""Maps a function over many items at once, in order: in threads, or in processes."""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from itertools import islice
from typing import Any

import psutil

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

_MOST_PROCESSES = 16  # each takes some 120 MB; a disk seldom feeds more
_ITEMS_AT_ONCE = 32  # what a process takes, and returns, together


def in_threads(function: Callable, items: Sequence[Any], threads: int) -> Iterator[Any]:
    """Maps with threads, in order, with a bounded number of results waiting."""
    pool = ThreadPoolExecutor(threads)
    try:
        yield from _in_order(pool, function, items, 4 * threads)
    finally:  # after an error or an interrupt, what has not begun is left out
        pool.shutdown(cancel_futures=True)


def in_processes(function: Callable, items: Sequence[Any]) -> Iterator[Any]:
    """Maps with processes, one a core, in order, with a bounded number of results waiting.

    Python's lock is each process's own. A script that calls this needs no
    ``if __name__ == "__main__"``, as it would for the processes of ``multiprocessing``.

    Args:
        function: An importable function.
        items: What it takes, and what processes can be sent.

    Raises:
        ChildProcessError: If a process was ended.
    """
    from loky import ProcessPoolExecutor
    from loky.process_executor import TerminatedWorkerError

    count = min(CORES, _MOST_PROCESSES)
    begins = range(0, len(items), _ITEMS_AT_ONCE)
    parts = [(function, items[begin : begin + _ITEMS_AT_ONCE]) for begin in begins]
    pool = ProcessPoolExecutor(count, initializer=_end_with, initargs=(os.getpid(),))
    try:
        for results in _in_order(pool, _all_of, parts, 2 * count):
            yield from results
    except TerminatedWorkerError as error:
        raise ChildProcessError(
            "A process that reads images was ended, perhaps because memory ran out."
        ) from error
    finally:
        pool.shutdown(kill_workers=True)


def _end_with(parent: int) -> None:
    """Ends this process when its parent is gone, even if that was killed."""

    def watch() -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(parent).wait()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _all_of(part: tuple[Callable, Sequence[Any]]) -> list[Any]:
    function, items = part
    return [function(item) for item in items]


def _in_order(
    pool: Executor, function: Callable, items: Sequence[Any], window: int
) -> Iterator[Any]:
    waiting = iter(items)
    futures = [pool.submit(function, item) for item in islice(waiting, window)]
    while futures:
        yield futures.pop(0).result()
        futures += [pool.submit(function, item) for item in islice(waiting, 1)]
