"""A comparison of runs as text for the terminal and as a Markdown document."""

from collections.abc import Mapping
from typing import Any

from kerascxr.evaluation.metrics import metric_title
from kerascxr.evaluation.run_comparison import FIRST_BETTER, NOT_SHOWN, SECOND_BETTER
from kerascxr.names import listed
from kerascxr.tables import (
    Table,
    difference_ends,
    format_value,
    markdown_table,
    text_table,
    with_interval,
)


def comparison_text(result: Mapping[str, Any]) -> str:
    """Formats what ``evaluation.run_comparison.compare_runs`` returns for the terminal."""
    tables = [_runs_table(result), _differences_table(result)]
    shown = [f"{table.title}\n{text_table(table.header, table.rows)}" for table in tables]
    return "\n\n".join([*shown, *_notes(result)])


def comparison_markdown(result: Mapping[str, Any]) -> str:
    """Formats what ``evaluation.run_comparison.compare_runs`` returns as a Markdown document."""
    parts = ["# Comparison", *_notes(result)]
    for table in (_runs_table(result), _differences_table(result)):
        parts += [f"## {table.title}", markdown_table(table.header, table.rows)]
    return "\n\n".join(parts) + "\n"


def _notes(result: Mapping[str, Any]) -> list[str]:
    kind = ", ".join((result["task"], *result["classes"]))
    notes = [
        f"{run['name']} is left out: its task and classes are "
        f"{', '.join((run['task'], *run['classes']))}, not {kind}."
        for run in result["left_out"]
    ]
    notes += [
        f"The test scores of {name} say too much: it {why}"
        for name, why in result["inflated"].items()
    ]
    if result["paired"]:
        notes.append(f"The same {result['shared']:,} test images; differences are paired.")
    else:
        counts = listed(f"{run['images']:,}" for run in result["runs"])
        notes.append(
            f"The test sets differ ({counts} images, {result['shared']:,} shared): the runs split "
            "one set in different ways. So differences are unpaired, with wider intervals, and no "
            "McNemar test."
        )
    if result["without_groups"]:
        notes.append(
            f"{'; '.join(result['without_groups'])}: predictions.csv has no groups, so each image "
            "counts as independent; near-duplicates make the intervals too narrow."
        )
    if result["undefined_distances"]:
        found = result["undefined_distances"].items()
        counts = "; ".join(f"{name}: {count:,}" for name, count in found)
        which = "of images where all runs have one" if result["paired"] else "of the other images"
        notes.append(
            f"Images without HD95 and ASSD, because one mask is empty: {counts}. Both distances "
            f"are {which}; lungs that are not found at all count in Dice and IoU alone."
        )
    notes.append(
        f"Brackets are {result['level']:.0%} intervals. A difference is the second run's figure "
        "minus the first's; p is adjusted over the pairs (Holm). 'No difference shown' does not "
        "mean equal. What has no brackets, or no row, has too few images for an interval."
    )
    if result["task"] == "classification" and result["paired"]:
        notes.append("p of the accuracy is McNemar's (mid-p), in which a group counts as a whole.")
    return notes


def _runs_table(result: Mapping[str, Any]) -> Table:
    metrics = list(result["runs"][0]["metrics"])
    rows = [
        [run["name"], run["images"], run["groups"]]
        + [with_interval(**run["metrics"][name]) for name in metrics]
        for run in result["runs"]
    ]
    titles = [metric_title(result["task"], name) for name in metrics]
    return Table("Runs", ["run", "images", "groups", *titles], rows)


def _differences_table(result: Mapping[str, Any]) -> Table:
    rows = []
    for item in result["differences"]:
        only = f"{item['only_first']} : {item['only_second']}" if "only_first" in item else None
        verdict = {
            FIRST_BETTER: f"{item['first']} is better",
            SECOND_BETTER: f"{item['second']} is better",
            NOT_SHOWN: "no difference shown",
        }[item["verdict"]]
        rows.append(
            [
                item["first"],
                item["second"],
                metric_title(result["task"], item["measure"]),
                f"{item['difference']:+.4f} {difference_ends(item['interval'])}",
                only,
                format_value(item["p_adjusted"]),
                verdict,
            ]
        )
    header = ["first", "second", "metric", "difference", "only one right", "p", "verdict"]
    return Table("Differences", header, rows)
