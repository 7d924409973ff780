"""What cross-validation or repeated seeds say together, for their summary and for the report."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kerascxr.evaluation.summary_table import summary_table
from kerascxr.names import with_folders
from kerascxr.report.blocks import Section, Tabulated
from kerascxr.runs.reading import Run


@dataclass(frozen=True)
class Repeats:
    """A folder of folds or seeds, all of which are in the report.

    Attributes:
        name: The folder's name.
        summary: Its summary.json; a title that several have is followed by their folders.
        runs: The run folders in it.
    """

    name: str
    summary: dict[str, Any]
    runs: tuple[Path, ...]


def read_repeats(runs: Sequence[Run]) -> list[Repeats]:
    """Returns the folders of folds or seeds of which the runs are all parts.

    Args:
        runs: Finished runs.
    """
    found = []
    for folder in dict.fromkeys(run.path.parent for run in runs):
        path = folder / "summary.json"
        if not path.exists():
            continue
        summary = json.loads(path.read_text(encoding="utf-8"))
        inside = tuple(run.path for run in runs if run.path.parent == folder)
        if {path.name for path in inside} == {part["run"] for part in summary["runs"]}:
            found.append(Repeats(folder.name, summary, inside))
    titles = [of.summary["title"] for of in found]
    named = with_folders(titles, [of.runs[0].parent for of in found])
    return [
        replace(of, summary=of.summary | {"title": title})
        for of, title in zip(found, named, strict=True)
    ]


def repeat_sections(repeats: Sequence[Repeats]) -> list[Section]:
    """Returns a section for each folder of folds or seeds."""
    parts = []
    for of in repeats:
        table = summary_table(of.summary)
        note = " ".join(of.summary["notes"])
        parts.append(Section(table.title, [Tabulated(table, f"repeats-{of.name}", note)]))
    return parts
