"""How far the runs of one command are, as one table."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kerascxr.tables import text_table

_HEADER = ("run", "state", "accuracy", "F1", "AUC", "Dice", "minutes")
_MEASURES = ("accuracy", "f1", "auc", "dice")
_LONGEST = 60


@dataclass
class RunState:
    """One row.

    Attributes:
        name: The run's name.
        folder: Its folder.
        state: "waiting", "done", "done before", "left out: ..." or "failed: ...".
    """

    name: str
    folder: Path
    state: str = "waiting"


def states_table(runs: Sequence[RunState]) -> str:
    """Returns the time, and a table of the runs with the scores of those that are finished."""
    rows = []
    for run in runs:
        test, minutes = {}, None
        if (run.folder / "DONE").exists():
            test = _read(run.folder / "metrics.json")["test"]
            minutes = f"{_read(run.folder / 'timing.json')['seconds'] / 60:.1f}"
        state = run.state if len(run.state) <= _LONGEST else f"{run.state[: _LONGEST - 3]}..."
        figures = [test.get(measure) for measure in _MEASURES]
        rows.append([run.name, state, *figures, minutes])
    return f"{time.strftime('%H:%M')}\n{text_table(_HEADER, rows)}"


def log_size(folder: Path) -> int:
    """Returns how much a run has logged, in bytes."""
    log = folder / "log.txt"
    return log.stat().st_size if log.exists() else 0


def last_logged(folder: Path, since: int) -> str | None:
    """Returns a run's last line of log, or None if it has logged nothing since.

    Args:
        folder: The run's folder.
        since: ``log_size`` of an earlier moment.
    """
    if log_size(folder) == since:
        return None
    text = (folder / "log.txt").read_text(encoding="utf-8", errors="replace")
    stamped = [line[21:].strip() for line in text.splitlines() if line[:2].isdigit()]
    return next(filter(None, reversed(stamped)), None)


def _read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))
