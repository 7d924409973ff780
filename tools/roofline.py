"""Compares training steps on cached features with the least time that the processor allows them.

Run by hand, from the project's root::

    python -m tools.roofline
    python -m tools.roofline --backbones shufflenetv2 --depths 2 --steps 100

A step is the one that a run takes: ``fit`` on a ``Learner``, with random weights and features. Its
time is the shortest of ``--steps``, with the wait for its batch and the callbacks. The lower limit
is the time of its floating-point operations at the rate of a large matrix product, or of the bytes
that it must move at the rate of a large copy, whichever is longer (see ``work_of`` for what counts;
caches may hold a part of the bytes). The rates are the highest that were measured between the
models. Each time is given in wall and in CPU seconds; the latter hold better on a busy machine.
Kernels are profiled after the steps that are timed. The last table is of the runs in
docs/design/cached-features.md, if their steps took the share of their time that the lower limit is
of a step's here.
"""

import argparse
import itertools
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from unittest import mock

from kerascxr.tables import markdown_table
from kerascxr.training.processor import computes_bfloat16, processor_name
from tests.support.kernel_trace import KINDS, kernel_seconds, recorded_kernels
from tests.support.time_saved import read_runs, runs_table

PAGE = Path(__file__).resolve().parent.parent / "docs" / "design" / "cached-features.md"

_BACKBONES = ["efficientnetb0", "shufflenetv2"]
_PROFILED = 10  # steps
_CLASSES = 4
_IMAGES = 512


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def shortest(ends: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Returns the least wall seconds, and the least CPU seconds, from one end to the next."""
    taken = [(wall - was, cpu - before) for (was, before), (wall, cpu) in itertools.pairwise(ends)]
    walls, cpus = zip(*taken, strict=True)
    return min(walls), min(cpus)


def _rates(amount: float, action: Callable[[], object]) -> tuple[float, float]:
    ends = [_now()]
    for _ in range(10):
        action()
        ends.append(_now())
    wall, cpu = shortest(ends)
    return amount / wall, amount / cpu


def product_rate(dtype: str, side: int = 2048) -> tuple[float, float]:
    """Returns the operations a wall and a CPU second of TensorFlow's product of large matrices.

    Args:
        dtype: Their number type.
        side: Their height and width.
    """
    import numpy as np
    import tensorflow as tf

    matrix = tf.cast(np.random.default_rng(0).normal(size=(side, side)), dtype)
    return _rates(2 * side**3, lambda: tf.matmul(matrix, matrix))


def copy_rate(megabytes: int = 512) -> tuple[float, float]:
    """Returns the bytes a wall and a CPU second, read and written, of a copy by all cores.

    Args:
        megabytes: Size of what is copied; it must be larger than the caches.
    """
    import numpy as np

    source = np.ones(megabytes * 10**6 // 4, np.float32)
    target = np.zeros_like(source)
    parts = [np.array_split(array, os.cpu_count() or 1) for array in (target, source)]
    with ThreadPoolExecutor(len(parts[0])) as pool:
        return _rates(2 * source.nbytes, lambda: list(pool.map(np.copyto, *parts)))


@dataclass(frozen=True)
class Steps:
    """The measured steps of a model.

    Attributes:
        work: What each has to do, see ``work_of``.
        seconds: The shortest one's, wall and CPU.
        kernels: The kernels' seconds by ``KINDS``.
    """

    work: Any
    seconds: tuple[float, float]
    kernels: Mapping[str, float]


def measure_steps(backbone: str, depth: Any, precision: Any, steps: int) -> Steps:
    """Trains a model on random features for an epoch, as a run does, and measures its steps.

    Args:
        backbone: A key of ``BACKBONES``.
        depth: 0, 1 or 2.
        precision: The Keras dtype policy of the step.
        steps: Steps timed; one before them traces, and a few after them are profiled.
    """
    import keras
    import numpy as np
    import tensorflow as tf

    from kerascxr.config import ClassificationConfig, RuntimeConfig
    from kerascxr.data.order import WHOLE
    from kerascxr.data.pipeline import Images
    from kerascxr.models.classifier import build_classifier, cut_at_depth, fine_tune
    from kerascxr.runs.folder import RunFolder
    from kerascxr.training import callbacks
    from kerascxr.training.fitting import Fitting, Session, fit
    from kerascxr.training.learner import Learner
    from kerascxr.training.precision import StepPrecision
    from kerascxr.training.runtime import set_up
    from tests.support.step_work import work_of

    settings = RuntimeConfig(precision=precision, tensorboard=False)
    config = ClassificationConfig(backbone=backbone, depth=depth, epochs=1, runtime=settings)
    runtime = set_up(config.runtime)

    def build() -> keras.Model:
        return build_classifier(backbone, _CLASSES, dropout=config.dropout)

    model = build()
    fine_tune(model, depth, config.update_statistics)
    names = tuple(map(str, range(_IMAGES)))
    labels = np.arange(_IMAGES) % _CLASSES
    images = Images(np.empty(0), None, names, names, labels, tuple("abcd"))
    shape = cut_at_depth(model, depth).shape[1:]
    values = np.abs(np.random.default_rng(0).normal(size=(_IMAGES, *shape))).astype(np.float16)
    features: Any = mock.Mock(of=lambda images, view: values)
    splits = {"train": images, "validation": images}
    learner = Learner._on_features(model, splits, config, features, 1, WHOLE)
    ends: list[tuple[float, float]] = []
    end_of_step = callbacks.StopOnNonFinite.on_train_batch_end
    with tempfile.TemporaryDirectory() as folder:

        def timed(callback: Any, batch: int, logs: Any = None) -> None:
            end_of_step(callback, batch, logs)  # which reads the loss, so the step has ended
            ends.append(_now())
            if batch == steps:
                tf.profiler.experimental.start(folder)
            if batch == steps + _PROFILED:
                tf.profiler.experimental.stop()

        with mock.patch.object(callbacks.StopOnNonFinite, "on_train_batch_end", timed):
            fit(
                Fitting(
                    learner.model,
                    learner.training_pairs,
                    steps + 1 + _PROFILED,
                    lambda: {config.monitor: 0.0},
                    config.monitor,
                    keras.losses.CategoricalCrossentropy(from_logits=True),
                    [keras.metrics.CategoricalAccuracy(name="accuracy")],
                    ("loss",),
                    StepPrecision.of(model, build, runtime.precision),
                ),
                Session(config, runtime, RunFolder(Path(folder)), {}),
            )
        kernels = kernel_seconds(recorded_kernels(Path(folder)), _PROFILED)
    number_bytes = 4 if precision == "float32" else 2
    work = work_of(learner.model, config.batch_size, number_bytes)
    return Steps(work, shortest(ends[: steps + 1]), kernels)


def main(argv: Sequence[str] | None = None) -> None:
    """Measures and prints the tables, in Markdown."""
    parser = argparse.ArgumentParser(prog="roofline", description=__doc__.partition("\n")[0])
    parser.add_argument("--backbones", nargs="+", default=_BACKBONES)
    parser.add_argument("--depths", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=60, help="the shortest of these counts")
    options = parser.parse_args(argv)
    print(f"{processor_name()}.\n", flush=True)
    from kerascxr.cli.start import start_tensorflow

    start_tensorflow()
    from kerascxr.config import ClassificationConfig
    from kerascxr.training.precision import bfloat16_pays

    number_types = {"float32": "float32"}
    if computes_bfloat16():  # elsewhere it is emulated, slowly
        number_types["mixed_bfloat16"] = "bfloat16"
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in [*number_types, "copy"]}
    measured: dict[tuple[str, str, str], Steps] = {}
    for backbone, depth in itertools.product(options.backbones, options.depths):
        for precision, dtype in number_types.items():
            found[precision].append(product_rate(dtype))
            found["copy"].append(copy_rate())
            steps = measure_steps(backbone, depth, precision, options.steps)
            measured[backbone, str(depth), precision] = steps
    rates = {name: tuple(map(max, zip(*pairs, strict=True))) for name, pairs in found.items()}
    rows, spent, shares = [], [], {}
    for (backbone, depth, precision), steps in measured.items():
        work, name = steps.work, [backbone, depth, precision]
        wall, cpu = (work.seconds(rates[precision][i], rates["copy"][i]) for i in (0, 1))
        reached = [max(wall) / steps.seconds[0], max(cpu) / steps.seconds[1]]
        row = [f"{work.products / 1e9:.2f}", f"{work.depthwise / 1e9:.3f}"]
        row += [f"{work.weight_bytes / 1e6:.0f}", f"{work.activation_bytes / 1e6:.0f}"]
        row += [f"{1e3 * seconds:.1f}" for seconds in (*steps.seconds, *wall)]
        row += [f"{work.operations / steps.seconds[0] / 1e9:.0f}"]
        rows.append([*name, *row, *(f"{share:.0%}" for share in reached)])
        total = sum(steps.kernels.values())
        spent.append([*name, *(f"{steps.kernels[kind] / total:.0%}" for kind in KINDS)])
        spent[-1] += [
            f"{1e3 * total:.1f}",
            f"{work.products / steps.kernels['products'] / 1e9:.0f}",
        ]
        config = ClassificationConfig(backbone=backbone, depth=cast(Any, int(depth)))
        pays = "mixed_bfloat16" in number_types and bfloat16_pays(config)
        if precision == ("mixed_bfloat16" if pays else "float32"):  # as a run is trained
            shares[backbone, depth] = max(reached)  # on a busy machine that of CPU time
    for what, pair in rates.items():
        unit = "GB" if what == "copy" else "GFLOP"
        print(f"{what}: {pair[0] / 1e9:.1f} {unit} a second, ", end="")
        print(f"{pair[1] / 1e9:.1f} a CPU second. ", end="")
    print(f"Shortest of {options.steps} steps.\n")
    header = ["backbone", "depth", "precision"]
    of_work = ["GFLOP, products", "depthwise", "MB, weights", "activations"]
    of_time = ["ms a step", "CPU ms", "least ms by GFLOP", "by MB", "GFLOP/s"]
    of_time += ["reached", "reached, CPU"]
    print(markdown_table([*header, *of_work, *of_time], rows) + "\n")
    print(markdown_table([*header, *KINDS, "all, ms", "GFLOP/s of products"], spent) + "\n")
    print(runs_table(read_runs(PAGE.read_text(encoding="utf-8")), shares))


if __name__ == "__main__":
    main()
