"""Maps a function over many items at once, in order: in threads, or in processes."""

import contextlib
import logging
import multiprocessing
import os
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from itertools import islice
from logging.handlers import QueueHandler
from typing import Any

import psutil

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

logger = logging.getLogger(__name__)

_MOST_PROCESSES = 16  # each takes some 120 MB; a disk seldom feeds more
_ITEMS_AT_ONCE = 8  # what a process takes, and returns, together: of large X-rays, 30 MB
_WATCH_SECONDS = 0.5
_PACKAGE = "kerascxr"

Results = Generator[Any, None, None]
_logged: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()


def in_threads(function: Callable, items: Sequence[Any], threads: int) -> Results:
    """Maps with threads, in order, with a bounded number of results waiting."""
    pool = ThreadPoolExecutor(threads)
    try:
        yield from _in_order(pool, function, items, 4 * threads)
    finally:  # after an error or an interrupt, what has not begun is left out
        pool.shutdown(cancel_futures=True)


def in_processes(function: Callable, items: Sequence[Any]) -> Results:
    """Maps with processes, one a core, in order, with a bounded number of results waiting.

    Python's lock is each process's own. A script that calls this needs no
    ``if __name__ == "__main__"``, as it would for the processes of ``multiprocessing``. What the
    package logs in a process is logged in this one. Where there can be no processes, threads map.

    Args:
        function: An importable function.
        items: What it takes, and what processes can be sent.

    Raises:
        ChildProcessError: If a process was ended.
    """
    count = min(CORES, _MOST_PROCESSES)
    try:
        pool = _process_pool(count)
    except (ImportError, OSError) as error:
        logger.warning(f"Images are read in threads: processes cannot be started ({error}).")
        yield from in_threads(function, items, count)
        return
    from loky.process_executor import TerminatedWorkerError

    begins = range(0, len(items), _ITEMS_AT_ONCE)
    parts = [(function, items[begin : begin + _ITEMS_AT_ONCE]) for begin in begins]
    try:
        for results, logged in _in_order(pool, _all_of, parts, 2 * count):
            for record in logged:
                logging.getLogger(record.name).handle(record)
            yield from results
    except TerminatedWorkerError as error:
        raise ChildProcessError(
            "A process that reads images was ended, perhaps because memory ran out."
        ) from error
    finally:
        pool.shutdown(kill_workers=True)


def _process_pool(count: int) -> Any:
    """Returns loky's executor; none of its processes has started.

    Raises:
        OSError: If there can be none.
        ImportError: If the system lacks what they need.
    """
    if multiprocessing.current_process().daemon:
        raise OSError("this one is a daemonic process of multiprocessing")
    from loky import ProcessPoolExecutor

    about = os.getpid(), logging.getLogger(_PACKAGE).getEffectiveLevel()
    return ProcessPoolExecutor(count, initializer=_start, initargs=about)  # takes semaphores


def _start(parent: int, level: int) -> None:
    """Starts a process: its log is kept for its parent, and it ends when its parent does."""
    package = logging.getLogger(_PACKAGE)
    package.setLevel(level)
    package.propagate = False
    package.addHandler(QueueHandler(_logged))
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """Ends this process when its parent is gone, even if that was killed."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(parent)
        # A killed one is a zombie until its own parent asks for it, which may be never.
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            time.sleep(_WATCH_SECONDS)
    os._exit(1)


def _all_of(part: tuple[Callable, Sequence[Any]]) -> tuple[list[Any], list[logging.LogRecord]]:
    """Returns a function's results, and what was logged meanwhile."""
    function, items = part
    results = [function(item) for item in items]
    return results, [_logged.get() for _ in range(_logged.qsize())]


def _in_order(
    pool: Executor, function: Callable, items: Sequence[Any], window: int
) -> Iterator[Any]:
    waiting = iter(items)
    futures = [pool.submit(function, item) for item in islice(waiting, window)]
    while futures:
        yield futures.pop(0).result()
        futures += [pool.submit(function, item) for item in islice(waiting, 1)]
