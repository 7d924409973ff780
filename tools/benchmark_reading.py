"""Compares ways to read, check and measure a source's files at ingest: threads, and processes.

Run by hand, from the project's root, on a machine that does nothing else::

    python -m tools.benchmark_reading --source PATH [--images 6000]

The ways take turns. Each round is one row's wall time and CPU time of this process and its
children; the best round counts. The processes are started before, as their start is paid once: its
time is the last line. On a machine with other work only the CPU times are comparable.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import cycle, islice
from multiprocessing import get_context

import psutil

from kerascxr.data.ingest import reading
from kerascxr.data.sources.open import Example, open_source
from kerascxr.tables import text_table

_AT_ONCE = 64


def _cpu_seconds() -> float:
    process = psutil.Process()
    everyone = [process, *process.children(recursive=True)]
    return sum(sum(one.cpu_times()[:2]) for one in everyone)


def _measured(work: Callable[[], object]) -> tuple[float, float]:
    cpu, wall = _cpu_seconds(), time.perf_counter()
    work()
    return time.perf_counter() - wall, _cpu_seconds() - cpu


def _in_threads(examples: Sequence[Example], threads: int) -> None:
    reading.THREADS = threads
    for _ in reading.in_order(reading.read_example, examples):
        pass


def _read_some(examples: Sequence[Example]) -> list:
    return [reading.read_example(example) for example in examples]


def _in_processes(examples: Sequence[Example], pool: ProcessPoolExecutor) -> None:
    begins = range(0, len(examples), _AT_ONCE)
    for _ in pool.map(_read_some, [examples[begin : begin + _AT_ONCE] for begin in begins]):
        pass


def main() -> None:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--source", required=True)
    parser.add_argument("--images", type=int, default=6000, help="files are read again if fewer")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    found = open_source(arguments.source, phantom_images=800, phantom_seed=0).examples
    examples = list(islice(cycle(found), arguments.images))
    cores = psutil.cpu_count() or 1
    with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as pool:
        # One batch each, so that all have started and imported what they need.
        start = _measured(lambda: list(pool.map(_read_some, [examples[:8]] * 2 * cores)))
        ways: dict[str, Callable[[], None]] = {
            f"{threads} threads": partial(_in_threads, examples, threads)
            for threads in (1, cores, 2 * cores)
        }
        ways[f"{cores} processes"] = partial(_in_processes, examples, pool)
        best = dict.fromkeys(ways, (float("inf"), float("inf")))
        for _ in range(arguments.rounds):
            for name, work in ways.items():
                best[name] = min(best[name], _measured(work))
    n = len(examples)
    rows = [
        [name, f"{n / wall:.0f}", f"{1e3 * cpu / n:.2f}", f"{cpu / wall:.2f}"]
        for name, (wall, cpu) in best.items()
    ]
    print(text_table(["way", "images/s", "CPU ms per image", "cores busy"], rows))
    print(f"Start of {cores} processes: {start[0]:.1f} s, {start[1]:.1f} CPU s.")


if __name__ == "__main__":
    main()
