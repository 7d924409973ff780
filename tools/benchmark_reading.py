"""Compares ways to read, check and measure a source's files at ingest: threads, and processes.

Run by hand, from the project's root, on a machine that does nothing else::

    python -m tools.benchmark_reading --source PATH [--images 6000]

The ways take turns. Each round is one row's wall time and CPU time of this process and its
children; the best round counts. The start of the processes is in their row, and in the last line.
"""

import argparse
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import cycle, islice

from kerascxr.data.ingest.parallel import CORES, in_processes, in_threads
from kerascxr.data.ingest.reading import read_example
from kerascxr.data.sources.open import Example, open_source
from kerascxr.tables import text_table


def _cpu_seconds() -> float:
    return sum(os.times()[:4])  # of children that have ended, too


def _measured(work: Callable[[], object]) -> tuple[float, float]:
    cpu, wall = _cpu_seconds(), time.perf_counter()
    work()
    return time.perf_counter() - wall, _cpu_seconds() - cpu


def _in_threads(examples: Sequence[Example], threads: int) -> None:
    for _ in in_threads(read_example, examples, threads):
        pass


def _in_processes(examples: Sequence[Example]) -> None:
    for _ in in_processes(read_example, examples):
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
    ways: dict[str, Callable[[], None]] = {
        f"{threads} threads": partial(_in_threads, examples, threads)
        for threads in (1, CORES, 2 * CORES)
    }
    ways["processes"] = partial(_in_processes, examples)
    best = dict.fromkeys(ways, (float("inf"), float("inf")))
    for _ in range(arguments.rounds):
        for name, work in ways.items():
            best[name] = min(best[name], _measured(work))
    start = min(_measured(partial(_in_processes, examples[:CORES])) for _ in range(3))
    n = len(examples)
    rows = [
        [name, f"{n / wall:.0f}", f"{1e3 * cpu / n:.2f}", f"{cpu / wall:.2f}"]
        for name, (wall, cpu) in best.items()
    ]
    print(text_table(["way", "images/s", "CPU ms per image", "cores busy"], rows))
    print(f"Start of the processes: {start[0]:.1f} s, {start[1]:.1f} CPU s.")


if __name__ == "__main__":
    main()
