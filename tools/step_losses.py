"""Compares the losses of several workers with those of one, step by step.

Run by hand, from the project's root::

    python -m tools.step_losses train-seg --workers 2 --runs FOLDER --data.source PATH

It trains the same run alone and by several workers, as FOLDER/TASK/alone and FOLDER/TASK/together,
and prints a table of the first steps' losses and of the test's metrics. Other options are those of
the command. Each worker loads this file, as it loads any script that takes the commands.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import yaml

from kerascxr import __main__ as verbs
from kerascxr.cli.start import start_tensorflow
from kerascxr.cluster.several_workers import this_worker
from kerascxr.tables import markdown_table

_VARIABLE = "KERASCXR_STEP_LOSSES"
_STEPS = 20
_TASKS = {"train-cls": "classification", "train-seg": "segmentation"}


def _record() -> None:
    start_tensorflow()
    from kerascxr.training import callbacks

    plain = callbacks.StopOnNonFinite.on_train_batch_end

    def record(self: Any, batch: int, logs: dict | None = None) -> None:
        plain(self, batch, logs)
        place = this_worker()
        if place is None or place.is_chief:
            with Path(os.environ[_VARIABLE]).open("a", encoding="utf-8") as file:
                file.write(f"{batch} {(logs or {})['loss']!r}\n")

    callbacks.StopOnNonFinite.on_train_batch_end = record  # type: ignore[method-assign]


def _of_steps(file: Path, run: Path) -> list[float]:
    """Returns each step's own loss; the file has means of an epoch up to a step."""
    images = json.loads((run / "metrics.json").read_text())["data"]["images"]["train"]
    batch_size = yaml.safe_load((run / "config.yaml").read_text())["batch_size"]
    losses, total = [], 0.0
    for line in file.read_text(encoding="utf-8").splitlines():
        batch, mean = int(line.split()[0]), float(line.split()[1])
        before = batch * batch_size
        total = total if batch else 0.0
        now = mean * min(before + batch_size, images)
        losses.append((now - total) / (min(before + batch_size, images) - before))
        total = now
    return losses


def compare(command: str, runs: Path, workers: int, options: list[str]) -> None:
    """Trains alone and together, and prints the tables.

    Args:
        command: "train-cls" or "train-seg".
        runs: The folder of both runs.
        workers: How many train together.
        options: The command's other options.
    """
    runs = runs / _TASKS[command]
    alone = [*options, "--runs", str(runs.parent)]
    together = [*alone, "--workers", str(workers)]
    losses, metrics = [], []
    for name, given in (("alone", alone), ("together", together)):
        file = runs.with_name(f"{_TASKS[command]}-{name}.txt")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        os.environ[_VARIABLE] = str(file)
        code = verbs.main([command, *given, "--name", name], script=__file__)
        if code:
            sys.exit(code)
        losses.append(_of_steps(file, runs / name))
        metrics.append(json.loads((runs / name / "metrics.json").read_text())["test"])
    pairs = list(zip(*losses, strict=True))
    differences = [abs(other - one) / abs(one) for one, other in pairs]
    rows = [
        [step, f"{one:.7f}", f"{other:.7f}", f"{difference:.1e}"]
        for step, ((one, other), difference) in enumerate(zip(pairs, differences, strict=True), 1)
    ]
    header = ["step", "one worker", "several", "relative difference"]
    print(markdown_table(header, rows[:_STEPS]))
    print(f"\nLargest difference of all {len(rows)} steps: {max(differences):.1e}\n")
    numbers = [name for name, value in metrics[0].items() if isinstance(value, float)]
    table = [[name, *(f"{of[name]:.6f}" for of in metrics)] for name in numbers]
    print(markdown_table(["test", "one worker", "several"], table))


def main() -> None:
    """Compares what the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("command", metavar="command", choices=sorted(_TASKS), help="train-cls, ...")
    parser.add_argument("--workers", type=int, default=2, help="how many train together")
    parser.add_argument("--runs", type=Path, required=True, help="the folder of both runs")
    given, options = parser.parse_known_args()
    _record()
    compare(given.command, given.runs, given.workers, options)


if __name__ == "__main__":
    main()
elif _VARIABLE in os.environ:  # a worker
    _record()
