"""Compares the losses of several workers with those of one, step by step.

    python tools/step_losses.py train-seg --workers 2 --data.source PATH --runs FOLDER ...

trains the same run alone and by several workers, as FOLDER/TASK/alone and FOLDER/TASK/together, and
prints a table of the first steps' losses and of the test's metrics. It is started as a file: each
worker loads it, as it loads any script that takes the commands.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import yaml

from kerascxr.__main__ import main
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


def compare(command: str, options: list[str]) -> None:
    """Trains alone and together, and prints the tables.

    Args:
        command: "train-cls" or "train-seg".
        options: The command's options, with ``--workers`` and ``--runs``.
    """
    runs = Path(options[options.index("--runs") + 1]) / _TASKS[command]
    at = options.index("--workers")
    alone = options[:at] + options[at + 2 :]
    losses, metrics = [], []
    for name, given in (("alone", alone), ("together", options)):
        file = runs.with_name(f"{_TASKS[command]}-{name}.txt")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        os.environ[_VARIABLE] = str(file)
        code = main([command, *given, "--name", name], script=__file__)
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


if _VARIABLE in os.environ or __name__ == "__main__":
    _record()
if __name__ == "__main__":
    compare(sys.argv[1], sys.argv[2:])
