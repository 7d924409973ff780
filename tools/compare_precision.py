"""Compares training in bfloat16 with training in float32: a step's time, and whole runs' scores.

Run by hand, from the project's root, on a CPU with AVX512_BF16 or AMX::

    python -m tools.compare_precision --steps 30
    python -m tools.compare_precision --seeds 3 --source PATH --weights efficientnetb0=FILE
    python -m tools.compare_precision --seeds 3 --source PATH --models unet -- --epochs 10

Steps of the two precisions take turns in one process, so the ratios hold on a busy machine; those
of CPU seconds do so best. Runs of a seed have the same weights, images and order. They go into
``--runs`` and are kept there: the same command continues after it was stopped. What follows ``--``
is given to the training commands.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, median, stdev

from kerascxr.training.processor import processor_name

ROOT = Path(__file__).resolve().parent.parent
PRECISIONS = ("float32", "mixed_bfloat16")
BACKBONES = ("efficientnetb0", "shufflenetv2")
CLASSIFIERS = [f"{name}:{depth}" for name in BACKBONES for depth in (0, 1, 2)]
SCORES = {"classification": ("accuracy", "f1", "auc"), "segmentation": ("dice", "iou")}


def timed_step(model: str, policy: str) -> Callable[[], tuple[float, float]]:
    """Returns a function that takes a training step and returns its wall and CPU seconds.

    Args:
        model: "unet", of 16 base filters, or a backbone and a depth, see ``TrainingStep``.
        policy: The Keras dtype policy of the step.
    """
    from kerascxr.config import OptimizerConfig
    from kerascxr.training.fitting import build_optimizer
    from tests.support.training_steps import Size, TrainingStep

    size = Size(256, 8) if model == "unet" else Size(224, 32)
    step = TrainingStep(model, policy, size, build_optimizer(OptimizerConfig(), 30, 100))

    def taken() -> tuple[float, float]:
        start = time.perf_counter(), time.process_time()
        step()
        return time.perf_counter() - start[0], time.process_time() - start[1]

    return taken


def compare_steps(models: list[str], rounds: int) -> None:
    """Prints the table of a step's time, a line as soon as it is known."""
    print("| model | float32, CPU ms | bfloat16 | ratio | ratio, wall |\n|---|---:|---:|---:|---:|")
    for model in models:
        steps = [timed_step(model, policy) for policy in PRECISIONS]
        taken = [[step() for step in steps] for _ in range(rounds)]
        walls, seconds = (
            [median(turn[which][kind] for turn in taken) for which in (0, 1)] for kind in (0, 1)
        )
        print(
            f"| {model} | {1e3 * seconds[0]:.0f} | {1e3 * seconds[1]:.0f} "
            f"| {seconds[0] / seconds[1]:.2f} | {walls[0] / walls[1]:.2f} |",
            flush=True,
        )


def train(model: str, seed: int, precision: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Trains a run, or finds it finished; returns its scores and its seconds."""
    task = "segmentation" if model == "unet" else "classification"
    name = f"{model.replace(':', '-depth')}-{precision}-seed{seed}"
    places = ["--runs", str(arguments.runs), "--data.stores", str(arguments.runs / "stores")]
    command = [sys.executable, "train_seg.py" if model == "unet" else "train_cls.py", *places]
    command += ["--name", name, "--runtime.precision", precision, "--runtime.seed", str(seed)]
    command += ["--data.source", arguments.source] if arguments.source else []
    if task == "classification":
        backbone, depth = model.split(":")
        weights = arguments.weights.get(backbone, "drawn")
        command += ["--backbone", backbone, "--depth", depth, "--weights", weights]
        command += ["--data.features", str(arguments.runs / "features")]
    subprocess.run([*command, "--quiet", *arguments.more], cwd=ROOT, check=True)
    folder = arguments.runs / task / name
    test = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["test"]
    epochs = json.loads((folder / "history.json").read_text(encoding="utf-8"))
    epoch = fmean(row["seconds"] for row in epochs[1:] or epochs)
    return {key: test[key] for key in SCORES[task]} | {"seconds an epoch": epoch}


def compare_runs(models: list[str], arguments: argparse.Namespace) -> None:
    """Prints the table of scores: the mean over seeds, and the mean of the paired differences."""
    print("| model | measure | float32 | bfloat16 | difference | of seeds |")
    print("|---|---|---:|---:|---:|---|", flush=True)
    for model in models:
        runs = [
            [train(model, seed, precision, arguments) for precision in PRECISIONS]
            for seed in range(arguments.seeds)
        ]
        for key in runs[0][0]:
            columns = [[pair[which][key] for pair in runs] for which in (0, 1)]
            differences = [after - before for before, after in zip(*columns, strict=True)]
            shown = ", ".join(f"{value:+.4f}" for value in differences)
            print(
                f"| {model} | {key} | {_with_deviation(columns[0])} "
                f"| {_with_deviation(columns[1])} | {fmean(differences):+.4f} | {shown} |",
                flush=True,
            )


def _with_deviation(values: list[float]) -> str:
    return f"{fmean(values):.4f}" + (f" ± {stdev(values):.4f}" if len(values) > 1 else "")


def main() -> None:
    """Prints the tables, in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=0, help="rounds of the steps' table")
    parser.add_argument("--seeds", type=int, default=0, help="seeds of the scores' table")
    parser.add_argument("--models", nargs="+", default=[*CLASSIFIERS, "unet"])
    parser.add_argument("--source", help="images to train on; without any, drawn ones")
    parser.add_argument("--weights", action="append", default=[], metavar="BACKBONE=WEIGHTS")
    parser.add_argument("--runs", type=Path, default=Path("runs/precision"))
    parser.add_argument("more", nargs="*", help="options of the training commands, after --")
    arguments = parser.parse_args()
    arguments.weights = dict(item.split("=", 1) for item in arguments.weights)
    arguments.runs = arguments.runs.resolve()
    if not (arguments.steps or arguments.seeds):
        parser.error("--steps or --seeds must be given")
    print(f"{processor_name()}.\n", flush=True)
    if arguments.steps:
        from kerascxr.cli.start import start_tensorflow

        start_tensorflow()
        compare_steps(arguments.models, arguments.steps)
    if arguments.seeds:
        compare_runs(arguments.models, arguments)


if __name__ == "__main__":
    main()
