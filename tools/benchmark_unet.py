"""Times a U-Net's training step with and without each improvement, and says what it is spent on.

Run by hand, from the project's root::

    python -m tools.benchmark_unet --filters 16 --batch 8
    python -m tools.benchmark_unet --filters 64 --batch 4 --rounds 3
    python -m tools.benchmark_unet --torch PYTHON --variants "oneDNN, fused BatchNorm"

``--torch`` is the interpreter of an environment of its own with PyTorch (for example ``pip install
torch==2.13.0+cpu``), which takes the same step, channels last. Where the CPU computes in bfloat16,
both also do in it. On a busy machine compare CPU seconds on one core (``taskset -c 1 python ...``):
PyTorch's threads also take some while they wait for each other.

Each variant lives in a process of its own, since TensorFlow reads its settings once, at import. The
processes take their steps in turn, so that whatever else the machine does hits all alike; the
ratios hold on a busy machine, the seconds only on an idle one.
"""

import argparse
import collections
import functools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any, cast

from kerascxr.training.processor import computes_bfloat16, processor_name
from tests.support.kernel_trace import recorded_kernels

ROOT = Path(__file__).resolve().parent.parent

# name -> environment, whether BatchNorm is the fused one. The first is what the others are held to.
VARIANTS: dict[str, tuple[dict[str, str], bool]] = {
    "Eigen, Keras BatchNorm": ({"TF_ENABLE_ONEDNN_OPTS": "0"}, False),
    "Eigen, fused BatchNorm": ({"TF_ENABLE_ONEDNN_OPTS": "0"}, True),
    "oneDNN, Keras BatchNorm": ({"TF_ENABLE_ONEDNN_OPTS": "1"}, False),
    "oneDNN, fused BatchNorm": ({"TF_ENABLE_ONEDNN_OPTS": "1"}, True),
}
USED = "oneDNN, fused BatchNorm"
"""What the package trains with; the variants of it are named after it."""

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
    import keras
    import numpy as np
    import tensorflow as tf

    from kerascxr.models.layers import FusedBatchNormalization
    from kerascxr.models.parameters import count_parameters
    from kerascxr.models.unet import build_unet
    from kerascxr.training.losses import BCEDice
    from kerascxr.training.precision import StepPrecision

    def plain(layer):
        if isinstance(layer, FusedBatchNormalization):
            return keras.layers.BatchNormalization.from_config(layer.get_config())
        return layer.__class__.from_config(layer.get_config())

    size, batch = settings["size"], settings["batch"]
    model = build_unet((size, size), settings["filters"])
    if not settings["fused"]:
        model = keras.models.clone_model(model, clone_function=plain)
    policy = "mixed_bfloat16" if settings["bfloat16"] else "float32"
    build = functools.partial(build_unet, (size, size), settings["filters"])
    x = tf.constant(np.random.default_rng(0).uniform(0, 255, (batch, size, size, 1)), "float32")
    y = tf.cast(x > 128, "float32")
    with StepPrecision.of(model, build, policy).step(model):
        model.compile(keras.optimizers.AdamW(1e-3), BCEDice(), jit_compile=settings["xla"])
        losses = [float(model.train_on_batch(x, y)) for _ in range(2)]  # the first traces
    ready = {"parameters": count_parameters(model), "version": tf.__version__, "losses": losses}
    print(json.dumps(ready), flush=True)
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
    by_kernel: dict[str, float] = collections.defaultdict(float)
    by_stage: dict[str, float] = collections.defaultdict(float)
    for kernel in recorded_kernels(folder):
        # "gradient_tape/unet_1/encoder1_conv2_1/convolution/..."
        parts = kernel.scope.split("/")
        if "unet" not in kernel.scope or len(parts) < 3:
            continue
        layer = parts[[part.startswith("unet") for part in parts].index(True) + 1]
        named = (words for key, words in KERNELS.items() if key in kernel.name)
        by_kernel[next(named, "elementwise and the rest")] += kernel.seconds
        by_stage[layer.split("_")[0]] += kernel.seconds
    return {"kernel": dict(by_kernel), "stage": dict(by_stage)}


class Worker:
    """A process that holds one variant's model."""

    def __init__(self, command: list[str], environment: dict[str, str], settings: dict[str, Any]):
        self._process = subprocess.Popen(
            [*command, json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
        )
        # Both are pipes, as asked for above.
        self._questions = cast(IO[str], self._process.stdin)
        self._answers = cast(IO[str], self._process.stdout)
        ready = self._answers.readline()
        if not ready:
            raise RuntimeError(f"{command} must start, with {settings}. Run it alone to see why.")
        self.about: dict[str, Any] = json.loads(ready)

    def ask(self, what: str) -> Any:
        """Sends a line and returns the answer."""
        self._questions.write(what + "\n")
        self._questions.flush()
        return json.loads(self._answers.readline())


def started(options: argparse.Namespace) -> dict[str, Worker]:
    """Starts a process for each variant asked for.

    Raises:
        SystemExit: If PyTorch's network has another number of parameters than ours.
    """
    settings = {key: getattr(options, key) for key in ("filters", "size", "batch")}
    settings |= {"fused": True, "xla": False, "bfloat16": False}
    ours = [sys.executable, "-m", "tools.benchmark_unet", "--worker"]
    workers = {
        name: Worker(ours, environment, settings | {"fused": fused})
        for name, (environment, fused) in VARIANTS.items()
        if name in options.variants
    }
    used = VARIANTS[USED][0]
    if options.xla:
        workers[f"{USED}, XLA"] = Worker(ours, used, settings | {"xla": True})
    number_types = {"": False}
    if computes_bfloat16():  # elsewhere it is emulated, slowly
        number_types[", bfloat16"] = True
        workers[f"{USED}, bfloat16"] = Worker(ours, used, settings | {"bfloat16": True})
    if options.torch:
        theirs = [options.torch, "tools/_torch_unet.py"]
        for name, bfloat16 in number_types.items():
            one = Worker(theirs, {}, settings | {"bfloat16": bfloat16})
            workers[f"PyTorch {one.about['version']}, channels last{name}"] = one
    counts = {name: one.about["parameters"] for name, one in workers.items()}
    if len(set(counts.values())) > 1:
        raise SystemExit(f"All networks must have as many parameters. Got {counts}.")
    return workers


def main(argv: list[str] | None = None) -> None:
    """Runs all variants and prints the tables, in Markdown."""
    parser = argparse.ArgumentParser(prog="benchmark_unet", description=__doc__.split("\n")[0])
    parser.add_argument("--filters", type=int, default=16, help="base filters")
    parser.add_argument("--size", type=int, default=256, help="height and width")
    parser.add_argument("--batch", type=int, default=8, help="images a step")
    parser.add_argument("--rounds", type=int, default=5, help="steps of each variant, in turn")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--xla", action="store_true", help="add oneDNN with XLA (slow to compile)")
    parser.add_argument("--torch", metavar="PYTHON", help="add PyTorch, by this interpreter")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.worker:
        worker(json.loads(options.worker))
        return
    print(f"{processor_name()}.\n", flush=True)
    workers = started(options)
    steps: dict[str, list[tuple[float, float]]] = {name: [] for name in workers}
    for _ in range(options.rounds):
        for name, one in workers.items():
            steps[name].append(one.ask("step"))
    profile = workers[USED].ask("profile") if USED in workers else {}

    print(f"Training step, {options.filters} filters, {options.size}x{options.size}, ", end="")
    print(f"batch {options.batch}, best of {options.rounds}.\n")
    print("| variant | s a step | images/s | faster | CPU s | peak memory (GiB) |")
    print("|---|---:|---:|---:|---:|---:|")
    first = min(wall for wall, _ in next(iter(steps.values())))
    for name, times in steps.items():
        wall, cpu = (min(column) for column in zip(*times, strict=True))
        print(f"| {name} | {wall:.2f} | {options.batch / wall:.2f} | {first / wall:.2f}x ", end="")
        print(f"| {cpu:.2f} | {workers[name].ask('end'):.2f} |")
    for title, shares in profile.items():
        total = sum(shares.values())
        print(f"\n| {title} ({USED}) | share |\n|---|---:|")
        for name, seconds in sorted(shares.items(), key=lambda item: -item[1]):
            print(f"| {name} | {seconds / total:.1%} |")


if __name__ == "__main__":
    main()
