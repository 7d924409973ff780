"""Compares decoding a store's images with all that happens from shard to batch.

Run by hand, from the project's root::

    python -m tools.benchmark_input --source PATH

Bare decoding is ``tf.io.decode_png`` of bytes that are in memory already, on all cores. Ours reads
the shards, parses, decodes, resizes with antialiasing, and batches into the array that all epochs
read. The ways take turns, and the best round of each counts: what else the machine does only slows.
Where the images have the size wanted, nothing is resized: ``--size 192`` resizes all of a set that
has 224x224. On a busy machine, CPU seconds hold best with ``TF_NUM_INTRAOP_THREADS=1``: threads
that wait for each other also take some.
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
from kerascxr.training.processor import processor_name


def _seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Returns wall and CPU seconds."""
    started = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - started[0], time.process_time() - started[1]


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
            "decoding and TensorFlow's resizing": through(
                lambda data: tf.image.resize(decode_png(data), size, antialias=True)
            ),
            "shard to decoded array (once a run)": lambda: read_images(store, range(N_FOLDS), size),
            "array to shuffled batches (each epoch)": lambda: _drain(batches.take(steps)),
        }
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(arguments.rounds):
            for name, work in ways.items():
                taken[name].append(_seconds(work))
    best = {
        name: [min(column) for column in zip(*times, strict=True)] for name, times in taken.items()
    }
    bare = best["bare decoding"]
    print(f"{processor_name()}, {arguments.size}x{arguments.size}.\n")
    print("| what | images/s | of bare decoding | CPU ms an image | of bare decoding |")
    print("|---|---:|---:|---:|---:|")
    for name, (wall, cpu) in best.items():
        print(
            f"| {name} | {len(encoded) / wall:.0f} | {bare[0] / wall:.0%} "
            f"| {1e3 * cpu / len(encoded):.2f} | {bare[1] / cpu:.0%} |"
        )


if __name__ == "__main__":
    main()
