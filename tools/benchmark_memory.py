"""Measures how much memory a split's images and an epoch take, in memory and on disk.

Run by hand, from the project's root::

    python -m tools.benchmark_memory [--images 400 --side 1024]

Drawn images are ingested, and a quarter, half and all of the folds are read at a large size, each
in a process of its own, which then draws an epoch of shuffled batches and trains nothing. The table
has the peak of anonymous memory beyond that of the start: pages of the file on disk are not in it,
since the system drops them when others need the memory. A digest of the batches' order and pixels
must be the same in memory and on disk.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from kerascxr.cli.start import start_tensorflow
from kerascxr.config import AugmentConfig
from kerascxr.data.ingest.folds import N_FOLDS
from kerascxr.data.sources.open import open_source
from kerascxr.tables import text_table

_MIB = 2**20
_BATCH = 4


def _of_this_process(name: str) -> int:
    """Returns an entry of /proc/self/status, in bytes."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"/proc/self/status must have {name}; it is Linux' alone.")


class _Peak:
    """Samples the anonymous memory of this process until it is asked for the peak."""

    def __init__(self):
        self._peak, self._ended = 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self):
        while not self._ended.wait(0.01):
            self._peak = max(self._peak, _of_this_process("RssAnon"))

    def stop(self) -> int:
        self._ended.set()
        self._thread.join()
        return self._peak


def _measure(stores: Path, n: int, side: int, folds: int, cache: str) -> dict[str, Any]:
    """Reads the images of some folds and an epoch's batches, and returns what that took."""
    start_tensorflow()
    from kerascxr.data.ingest.store import open_store
    from kerascxr.data.pipeline import read_images, steps_per_epoch, training_batches

    store = open_store(open_source("phantom", phantom_images=n, phantom_seed=0), stores)
    plain = AugmentConfig(enabled=False)

    def epoch(images: Any) -> str:
        digest = hashlib.sha256()
        batches = training_batches(images, _BATCH, seed=1, augment=plain)
        for batch in batches.take(steps_per_epoch(images, _BATCH)):
            digest.update(batch["index"].numpy().tobytes() + batch["image"].numpy().tobytes())
        return digest.hexdigest()[:12]

    epoch(read_images(store, [0], (side, side)))  # threads, buffers and graphs of TensorFlow
    base = _of_this_process("RssAnon")
    peak, started = _Peak(), time.process_time()
    images = read_images(store, range(folds), (side, side), cache=cache)
    digest = epoch(images)
    seconds = time.process_time() - started
    return {
        "pixels": images.pixels.nbytes / _MIB,
        "peak": (peak.stop() - base) / _MIB,
        "seconds": seconds,
        "digest": digest,
    }


def main() -> None:
    """Measures each way in a process of its own and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--side", type=int, default=1024, help="height and width, in pixels")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    n, side = arguments.images, arguments.side
    if arguments.measure:
        stores, folds, cache = json.loads(arguments.measure)
        print(json.dumps(_measure(Path(stores), n, side, folds, cache)))
        return
    rows = []
    with tempfile.TemporaryDirectory() as stores:
        for folds in (N_FOLDS // 4, N_FOLDS // 2, N_FOLDS):
            for cache in ("memory", "disk"):
                command = [sys.executable, "-m", "tools.benchmark_memory", "--images", str(n)]
                command += ["--side", str(side), "--measure", json.dumps([stores, folds, cache])]
                answer = subprocess.run(command, stdout=subprocess.PIPE, check=True)
                found = json.loads(answer.stdout.splitlines()[-1])
                numbers = [f"{found[name]:.0f}" for name in ("pixels", "peak", "seconds")]
                rows.append([cache, *numbers, found["digest"]])
                print(*rows[-1], file=sys.stderr)
    print(text_table(["cache", "pixels, MiB", "peak, MiB", "CPU s", "batches"], rows))


if __name__ == "__main__":
    main()
