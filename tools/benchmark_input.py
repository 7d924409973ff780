"""Compares decoding a store's images with all that happens from shard to batch.

Run by hand, from the project's root::

    python -m tools.benchmark_input --source PATH

Bare decoding is ``tf.io.decode_png`` of bytes that are in memory already, on all cores. Ours reads
the shards, parses, decodes, resizes with antialiasing, and batches into the array that all epochs
read. The ways take turns, and the best round of each counts: what else the machine does only slows.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from kerascxr.cli.start import start_tensorflow
from kerascxr.config import AugmentConfig
from kerascxr.data.ingest.folds import N_FOLDS
from kerascxr.data.sources.open import open_source


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _drain(data: Any) -> None:
    """Reads a ``tf.data.Dataset`` to its end."""
    for _ in data.prefetch(-1):  # tf.data.AUTOTUNE
        pass


def main() -> None:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--source", required=True)
    parser.add_argument("--size", type=int, default=224, help="height and width, in pixels")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    start_tensorflow()
    import tensorflow as tf

    from kerascxr.data.images import decode_png, resize_image
    from kerascxr.data.ingest.store import open_store
    from kerascxr.data.pipeline import encoded_examples, read_images, training_batches

    size = (arguments.size, arguments.size)
    with tempfile.TemporaryDirectory() as folder:
        source = open_source(arguments.source, phantom_images=800, phantom_seed=0)
        store = open_store(source, Path(folder))
        records = encoded_examples(store, range(N_FOLDS))
        encoded = np.array([record["image"] for record in records.as_numpy_iterator()], object)
        in_memory = tf.data.Dataset.from_tensor_slices(tf.constant(encoded))
        images = read_images(store, range(N_FOLDS), size)
        batches = training_batches(images, 32, seed=0, augment=AugmentConfig(enabled=False))
        steps = -(-len(images) // 32)

        def through(change: Callable[[Any], Any]) -> Callable[[], None]:
            return lambda: _drain(in_memory.map(change, num_parallel_calls=tf.data.AUTOTUNE))

        ways = {
            "bare decoding": through(decode_png),
            "decoding and resizing": through(lambda data: resize_image(decode_png(data), size)),
            "shard to decoded array (once a run)": lambda: read_images(store, range(N_FOLDS), size),
            "array to shuffled batches (each epoch)": lambda: _drain(batches.take(steps)),
        }
        best = dict.fromkeys(ways, float("inf"))
        for _ in range(arguments.rounds):
            for name, work in ways.items():
                best[name] = min(best[name], _seconds(work))
    bare = best["bare decoding"]
    print("| what | images/s | of bare decoding |\n|---|---:|---:|")
    for name, seconds in best.items():
        print(f"| {name} | {len(encoded) / seconds:.0f} | {bare / seconds:.0%} |")


if __name__ == "__main__":
    main()
