"""What the runs in the page's table of time saved would be if their steps took another time."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from kerascxr.tables import markdown_table

EPOCHS = 20
AIMS = {"0": 15, "1": 10, "2": 8, "all": 12}
"""How many times as fast as plain ``fit`` a run of a depth, or the study, was to be."""

STUDY = ("study", "all")
_HEADER = ["backbone", "depth", "ratio", "aim", "all but epochs", "epochs", "steps at the limit"]
_HEADER += ["steps of no time", "of the limit needed", "can meet the aim"]


@dataclass(frozen=True)
class Run:
    """A run, or the study. Times are seconds.

    Attributes:
        plain: Of plain ``fit``.
        ours: Of the command.
        epochs: The part of that which all epochs take.
    """

    plain: float
    ours: float
    epochs: float

    def ratio(self, share: float) -> float:
        """Returns how many times as fast as plain it is with epochs of this share of their time."""
        return self.plain / (self.ours - (1 - share) * self.epochs)

    def share_for(self, ratio: float) -> float:
        """Returns the share of their time that epochs may take; not above 0 if none is left."""
        return 1 - (self.ours - self.plain / ratio) / self.epochs


def read_runs(page: str) -> dict[tuple[str, str], Run]:
    """Returns the runs of the table under "Time saved", by backbone and depth, and the study.

    Args:
        page: The text of docs/design/cached-features.md.
    """
    runs, name = {}, ""
    section = page.partition("\n## Time saved\n")[2].partition("\n## ")[0]
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if re.fullmatch("[012]", cells[1] if len(cells) == 10 else ""):
            name = cells[0].lower() or name
            epoch, plain, ours = (_seconds(cells[place]) for place in (3, 5, 6))
            runs[name, cells[1]] = Run(plain, ours, EPOCHS * epoch)
        elif cells[0].startswith("all six"):
            epochs = sum(run.epochs for run in runs.values())
            runs[STUDY] = Run(_seconds(cells[5]), _seconds(cells[6]), epochs)
    return runs


def _seconds(cell: str) -> float:
    return float(cell.removesuffix(" s").replace(",", ""))


def runs_table(runs: Mapping[tuple[str, str], Run], shares: Mapping[tuple[str, str], float]) -> str:
    """Returns the ratios with other steps, and whether any step can meet the aims.

    Args:
        runs: From ``read_runs``. The study is left out unless the shares of all others are given.
        shares: The lower limit of a step as a share of its time, by backbone and depth.
    """
    shares = dict(shares)
    parts = {key: run for key, run in runs.items() if key != STUDY}
    if STUDY in runs and set(parts) <= set(shares):
        least = sum(shares[key] * run.epochs for key, run in parts.items())
        shares[STUDY] = least / runs[STUDY].epochs
    rows = []
    for key in (key for key in runs if key in shares):
        run, share, aim = runs[key], shares[key], AIMS[key[1]]
        allowed = run.share_for(aim)
        needed = share / allowed if allowed > 0 else float("inf")
        row = [*key, f"{run.ratio(1):.1f}", f"{aim}"]
        row += [f"{run.ours - run.epochs:.0f} s", f"{run.epochs:.0f} s"]
        row += [f"{run.ratio(share):.1f}", f"{run.ratio(0):.1f}"]
        row += [f"{needed:.0%}" if allowed > 0 else "none would do", "yes" if needed <= 1 else "no"]
        rows.append(row)
    return markdown_table(_HEADER, rows)
