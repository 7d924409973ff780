"""The last lines of a training: what was made, and what to do with it."""

import shlex
from pathlib import Path

from kerascxr.cli.program import program

_REPORT = ("report {run}", "one page with all pictures, report/index.html")
_STEPS = {
    "classification": (
        _REPORT,
        ("audit {run}", "whether the score rests on a shortcut"),
        ("predict {run} IMAGE --to predictions.csv", "the classes of your images"),
        ("app {run}", "the same in the browser; needs pip install 'kerascxr[web]'"),
    ),
    "segmentation": (
        _REPORT,
        ("predict {run} IMAGE --to masks", "the lung masks of your images"),
    ),
}
_FILES = ("model.keras", "metrics.md", "predictions.csv", "summary.md")


def next_steps(run: Path, task: str) -> str:
    """Returns the lines; "" for a task that has none.

    Args:
        run: The folder of a finished run, or that of a run for each fold or seed.
        task: "classification", "segmentation" or "pretraining".
    """
    steps = _STEPS.get(task, ())
    if not (run / "model.keras").exists():  # of several runs: only their report takes the folder
        steps = steps[:1]
    made = [name for name in _FILES if (run / name).exists()]
    pictures = len([*run.glob("figures/*.png")])
    made += [f"{pictures} pictures in figures/"] if pictures else []
    if not steps or not made:
        return ""
    lines = [
        f"  {program()} {command.format(run=shlex.quote(str(run)))}\n      {what}"
        for command, what in steps
    ]
    return "\n".join([f"It holds {', '.join(made)}.", "", "Next:", *lines])
