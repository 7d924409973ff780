"""Times a U-Net's training step with and without each improvement, and says what it is spent on.

Run by hand, from the project's root::

    python -m tools.benchmark_unet --filters 16 --batch 8
    python -m tools.benchmark_unet --filters 64 --batch 4 --rounds 3

Each variant lives in a process of its own, since TensorFlow reads its settings once, at import. The
processes take their steps in turn, so that whatever else the machine does hits all alike; the
ratios hold on a busy machine, the seconds only on an idle one.
"""

import argparse
import collections
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any, cast

ROOT = Path(__file__).resolve().parent.parent

# name -> environment, whether BatchNorm is the fused one. The first is what the others are held to.
VARIANTS: dict[str, tuple[dict[str, str], bool]] = {
    "Eigen, Keras BatchNorm": ({"TF_ENABLE_ONEDNN_OPTS": "0"}, False),
    "Eigen, fused BatchNorm": ({"TF_ENABLE_ONEDNN_OPTS": "0"}, True),
    "oneDNN, Keras BatchNorm": ({"TF_ENABLE_ONEDNN_OPTS": "1"}, False),
    "oneDNN, fused BatchNorm": ({"TF_ENABLE_ONEDNN_OPTS": "1"}, True),
}

# Parts of a kernel's name, in the order asked, and what the table calls it.
KERNELS = {
    "Conv2DBackpropFilter": "convolution, gradient of the kernel",
    "Conv2DBackpropInput": "convolution, gradient of the input",  # transposed convolutions forward
    "Conv2D": "convolution, forward",
    "BatchNorm": "batch normalisation (its ReLU fused in)",
    "MaxPool": "max pooling",
    "Relu": "ReLU",
    "Concat": "concatenation and its gradient",
    "Slice": "concatenation and its gradient",
}


def worker(settings: dict[str, Any]) -> None:
    """Takes a training step for each line of standard input and prints its wall and CPU seconds.

    A line "profile" traces the step and prints its time by kernel and by stage; "end" prints the
    peak memory and returns.
    """
    sys.path.insert(0, str(ROOT))
    import keras
    import numpy as np
    import tensorflow as tf

    from kerascxr.models.layers import FusedBatchNormalization
    from kerascxr.models.unet import build_unet
    from kerascxr.training.losses import BCEDice

    def plain(layer):
        if isinstance(layer, FusedBatchNormalization):
            return keras.layers.BatchNormalization.from_config(layer.get_config())
        return layer.__class__.from_config(layer.get_config())

    size, batch = settings["size"], settings["batch"]
    model = build_unet((size, size), settings["filters"])
    if not settings["fused"]:
        model = keras.models.clone_model(model, clone_function=plain)
    model.compile(keras.optimizers.AdamW(1e-3), BCEDice(), jit_compile=settings["xla"])
    x = tf.constant(np.random.default_rng(0).uniform(0, 255, (batch, size, size, 1)), "float32")
    y = tf.cast(x > 128, "float32")
    model.train_on_batch(x, y)  # the first traces
    print("ready", flush=True)
    for line in sys.stdin:
        if line.strip() == "end":
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            print(json.dumps(peak / 2**20), flush=True)
            return
        if line.strip() == "profile":
            with tempfile.TemporaryDirectory() as folder:
                tf.profiler.experimental.start(folder)
                model.train_on_batch(x, y)
                tf.profiler.experimental.stop()
                answer: Any = kernel_times(Path(folder))
        else:
            start = time.perf_counter(), time.process_time()
            model.train_on_batch(x, y)
            answer = time.perf_counter() - start[0], time.process_time() - start[1]
        print(json.dumps(answer), flush=True)


def kernel_times(folder: Path) -> dict[str, dict[str, float]]:
    """Sums a trace's kernels: by what they are, and by the stage whose layer they belong to."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    (path,) = folder.rglob("*.xplane.pb")
    space = xplane_pb2.XSpace()
    space.ParseFromString(path.read_bytes())
    by_kernel: collections.Counter[str] = collections.Counter()
    by_stage: collections.Counter[str] = collections.Counter()
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                # "gradient_tape/unet_1/encoder1_conv2_1/convolution/...:_MklNativeConv2D..."
                scope, _, kernel = plane.event_metadata[event.metadata_id].name.rpartition(":")
                parts = scope.split("/")
                if "unet" not in scope or len(parts) < 3:
                    continue
                layer = parts[[part.startswith("unet") for part in parts].index(True) + 1]
                named = (words for key, words in KERNELS.items() if key in kernel)
                seconds = event.duration_ps / 1e12
                by_kernel[next(named, "elementwise and the rest")] += seconds
                by_stage[layer.split("_")[0]] += seconds
    return {"kernel": dict(by_kernel), "stage": dict(by_stage)}


class Worker:
    """A process that holds one variant's model."""

    def __init__(self, environment: dict[str, str], settings: dict[str, Any]):
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--worker", json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
        )
        # Both are pipes, as asked for above.
        self._questions = cast(IO[str], self._process.stdin)
        self._answers = cast(IO[str], self._process.stdout)
        if self._answers.readline().strip() != "ready":
            raise RuntimeError(f"The worker for {settings} must start. Run it alone to see why.")

    def ask(self, what: str) -> Any:
        """Sends a line and returns the answer."""
        self._questions.write(what + "\n")
        self._questions.flush()
        return json.loads(self._answers.readline())


def main(argv: list[str] | None = None) -> None:
    """Runs all variants and prints the tables, in Markdown."""
    parser = argparse.ArgumentParser(prog="benchmark_unet", description=__doc__.split("\n")[0])
    parser.add_argument("--filters", type=int, default=16, help="base filters")
    parser.add_argument("--size", type=int, default=256, help="height and width")
    parser.add_argument("--batch", type=int, default=8, help="images a step")
    parser.add_argument("--rounds", type=int, default=5, help="steps of each variant, in turn")
    parser.add_argument("--xla", action="store_true", help="add oneDNN with XLA (slow to compile)")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.worker:
        worker(json.loads(options.worker))
        return
    settings = {key: getattr(options, key) for key in ("filters", "size", "batch")}
    variants = {name: (env, fused, False) for name, (env, fused) in VARIANTS.items()}
    if options.xla:
        variants["oneDNN, fused BatchNorm, XLA"] = ({"TF_ENABLE_ONEDNN_OPTS": "1"}, True, True)
    workers = {
        name: Worker(env, {**settings, "fused": fused, "xla": xla})
        for name, (env, fused, xla) in variants.items()
    }
    steps: dict[str, list[tuple[float, float]]] = {name: [] for name in workers}
    for _ in range(options.rounds):
        for name, one in workers.items():
            steps[name].append(one.ask("step"))
    profile = workers["oneDNN, fused BatchNorm"].ask("profile")

    print(f"Training step, {options.filters} filters, {options.size}x{options.size}, ", end="")
    print(f"batch {options.batch}, {os.cpu_count()} cores, best of {options.rounds}.\n")
    print("| variant | s a step | images/s | faster | CPU s | peak memory (GiB) |")
    print("|---|---:|---:|---:|---:|---:|")
    first = min(wall for wall, _ in next(iter(steps.values())))
    for name, times in steps.items():
        wall, cpu = (min(column) for column in zip(*times, strict=True))
        print(f"| {name} | {wall:.2f} | {options.batch / wall:.2f} | {first / wall:.2f}x ", end="")
        print(f"| {cpu:.2f} | {workers[name].ask('end'):.2f} |")
    for title, shares in profile.items():
        total = sum(shares.values())
        print(f"\n| {title} (oneDNN, fused BatchNorm) | share |\n|---|---:|")
        for name, seconds in sorted(shares.items(), key=lambda item: -item[1]):
            print(f"| {name} | {seconds / total:.1%} |")


if __name__ == "__main__":
    main()
