"""What cross-validation or repeated seeds say together, for their summary and for the report."""

import json
from collections.abc import Sequence

from kerascxr.evaluation.summary_table import summary_table
from kerascxr.report.blocks import Section, Tabulated
from kerascxr.runs.reading import Run


def repeat_sections(runs: Sequence[Run]) -> list[Section]:
    """Returns a section for each folder of folds or seeds that the runs lie in.

    Args:
        runs: Finished runs, of which some may be parts of such a folder.
    """
    parts = []
    for folder in dict.fromkeys(run.path.parent for run in runs):
        path = folder / "summary.json"
        if not path.exists():
            continue
        summary = json.loads(path.read_text(encoding="utf-8"))
        shown = {run.path.name for run in runs if run.path.parent == folder}
        if shown == {part["run"] for part in summary["runs"]}:
            table = summary_table(summary)
            note = " ".join(summary["notes"])
            parts.append(Section(table.title, [Tabulated(table, f"repeats-{folder.name}", note)]))
    return parts
