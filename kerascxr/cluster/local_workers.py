"""Starts several workers of one training on this machine, and ends all if one ends."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO

from kerascxr.cluster.several_workers import VARIABLE, LostWorkerError, local_config

_POLL_SECONDS = 0.05
_GRACE_SECONDS = 10.0  # for the chief to end by itself, with its own message
_BOUND = "KERASCXR_BOUND_WORKER"  # set where a worker ends with the process that started it


@dataclass
class _Worker:
    index: int
    process: subprocess.Popen
    errors: IO[bytes] | None  # what it wrote to standard error; the chief's is this process's own

    @property
    def failed(self) -> bool:
        return self.process.poll() not in (None, 0)

    def last_line(self) -> str:
        if self.errors is None:
            return ""
        self.errors.seek(0)
        lines = self.errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""


def run_local_workers(command: Sequence[str], count: int) -> int:
    """Runs a command as several workers, which are on ports of 127.0.0.1.

    Only the first one, the chief, writes to this process's output. The cores are divided among the
    workers, unless ``TF_NUM_INTRAOP_THREADS`` says otherwise.

    Args:
        command: The command; each worker gets the same one and a ``TF_CONFIG`` of its own.
        count: The number of workers.

    Returns:
        The chief's exit code: 0, or that of an error which it printed.

    Raises:
        LostWorkerError: If a worker was killed, or failed without the chief.
    """
    on_linux = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if on_linux else os.cpu_count() or 1
    ports = _free_ports(count)
    with _started(command, count, ports, str(max(1, cores // count))) as workers:
        chief = workers[0]
        while chief.process.poll() is None and not any(worker.failed for worker in workers):
            time.sleep(_POLL_SECONDS)
        lost = [worker for worker in workers if worker.failed]
        if not lost:
            return 0
        killed = any((worker.process.returncode or 0) < 0 for worker in lost)
        until = time.monotonic() + (0 if killed else _GRACE_SECONDS)
        while chief.process.poll() is None and time.monotonic() < until:
            time.sleep(_POLL_SECONDS)
        code = chief.process.poll()
        if code and code > 0 and not killed:
            return int(code)  # it has said why
        first = lost[0]
        raise LostWorkerError(
            f"worker {first.index + 1} of {count} {_reason(first)}, so the others were ended."
        )


def _reason(worker: _Worker) -> str:
    code = worker.process.returncode
    if code < 0:
        return f"was ended by the signal {signal.Signals(-code).name}"
    return f"failed ({worker.last_line() or f'exit code {code}'})"


@contextlib.contextmanager
def _started(
    command: Sequence[str], count: int, ports: list[int], threads: str
) -> Iterator[list[_Worker]]:
    workers: list[_Worker] = []
    with contextlib.ExitStack() as files:
        try:
            for index in range(count):
                environment = {"TF_NUM_INTRAOP_THREADS": threads, **os.environ}
                environment |= {VARIABLE: local_config(ports, index), _BOUND: "1"}
                errors = files.enter_context(tempfile.TemporaryFile()) if index else None
                process = subprocess.Popen(
                    command,
                    env=environment,
                    stdin=subprocess.PIPE,  # closed when this process ends, see end_with_starter
                    stdout=subprocess.DEVNULL if index else None,
                    stderr=errors,
                )
                workers.append(_Worker(index, process, errors))
            yield workers
        except KeyboardInterrupt:  # the terminal has sent it to the workers too
            with contextlib.suppress(subprocess.TimeoutExpired):
                workers[0].process.wait(_GRACE_SECONDS)
            raise
        finally:
            for worker in workers:
                if worker.process.poll() is None:
                    worker.process.kill()
            for worker in workers:
                worker.process.wait()


def end_with_starter() -> None:
    """Ends this process, a worker, when the process that started it has ended."""
    if not os.environ.pop(_BOUND, ""):
        return
    pipe = sys.stdin.fileno()

    def watch() -> None:
        os.read(pipe, 1)  # nothing is ever written: it returns when the pipe closes
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as sockets:
        bound = [sockets.enter_context(socket.socket()) for _ in range(count)]
        for one in bound:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in bound]
