"""The first section: the scores as a picture, and what follows from the verdicts in a few lines."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kerascxr.evaluation.leaks import NONE, SHOWN
from kerascxr.evaluation.metrics import metric_title
from kerascxr.evaluation.transfer import HIGHER, LOWER
from kerascxr.names import listed
from kerascxr.plots.forest import EXTERNAL, Row, forest
from kerascxr.report import input_ablations
from kerascxr.report.abstention import abstention_text
from kerascxr.report.blocks import Block, Figure, Section, Statement, Tabulated
from kerascxr.report.external import (
    answers_text,
    common_classes,
    external_name,
    read_external,
)
from kerascxr.report.limits import limits
from kerascxr.report.repeats import Repeats
from kerascxr.runs.reading import Run
from kerascxr.tables import TOO_FEW, Table, capitalised, difference_ends

_MEASURES = {"classification": ("accuracy", "auc"), "segmentation": ("dice",)}
_KINDS = {"classification": "classifiers", "segmentation": "U-Nets"}
_FEW = 3
"""Up to how many runs of a task have a sentence each."""


def summary_section(runs: Sequence[Run], repeats: Sequence[Repeats], drawn: Path) -> Section:
    """Lays out the first section.

    Args:
        runs: Finished runs.
        repeats: The folders of folds or seeds among them.
        drawn: The folder to draw the figures in.
    """
    figures: list[Block] = []
    scores: list[str] = []
    for task in _MEASURES:
        of_task = [run for run in runs if run.task == task]
        if of_task:
            own = [part for part in repeats if part.summary["task"] == task]
            figures.append(_forest(of_task, own, task, drawn))
            scores += _scores(of_task, own, task)
    audits = {run.name: input_ablations.read_audit(run.path) for run in runs}
    found = {name: result for name, result in audits.items() if result}
    blocks = [
        *figures,
        Statement("Scores.", scores),
        Statement("Other hospitals.", _other_sets(runs)),
        Statement("Leaked test images.", _leaks(runs)),
    ]
    undecided = abstention_text(runs)
    if undecided:
        blocks.insert(-2, Statement("Decisions.", undecided))
    if any(run.task == "classification" for run in runs):
        unaudited = [
            run.name for run in runs if run.task == "classification" and run.name not in found
        ]
        blocks.append(Statement("Shortcuts.", _shortcuts(found, unaudited)))
        if found:
            blocks.append(_verdict_table(found))
    return Section("In short", [*blocks, Statement("Limits.", [limits(runs)])])


def _forest(runs: Sequence[Run], repeats: Sequence[Repeats], task: str, drawn: Path) -> Figure:
    """Draws the runs' own tests and the external ones; folds are one row, pooled."""
    measures = _MEASURES[task]
    pooled = {run: part for part in repeats if "pooled" in part.summary for run in part.runs}
    groups: dict[str, list[Row]] = {}
    for run in runs:
        part = pooled.get(run.path)
        name = f"{part.summary['title']}, {len(part.runs)} folds" if part else run.name
        if part is None:
            groups[name] = [_row("own test images", run.metrics["test"], measures)]
        elif name not in groups:
            groups[name] = [_row("pooled", part.summary["pooled"], measures)]
        for folder, of in read_external(run.path).items():
            label = external_name(folder) + (f", {run.path.name}" if part else "")
            groups[name].append(_row(label, of["test"], measures, EXTERNAL))
    path = drawn / f"summary-{task}.png"
    titles = {measure: capitalised(metric_title(task, measure)) for measure in measures}
    forest(groups, titles, path)
    shown = "; ".join(
        f"{', '.join(filter(None, (name, row.label)))}: {_values(row, titles)}"
        for name, rows in groups.items()
        for row in rows
    )
    every = [row for rows in groups.values() for row in rows]
    known = any(ends for row in every for _, ends in row.scores.values())
    caption = f"Test scores {'with 95% intervals' if known else f'({TOO_FEW})'}."
    if any(row.kind == EXTERNAL for row in every):
        caption += " Blue: test images of the set of the training. Orange diamonds: other sets."
    if task == "classification":
        caption += " Dotted: the score without skill (for the accuracy, always the largest class)."
    return Figure(path, f"summary-{task}", f"{caption} {shown}.", caption, wide=len(measures) > 1)


def _values(row: Row, titles: Mapping[str, str]) -> str:
    return ", ".join(
        f"{titles[measure]} {value:.3f}"
        for measure, (value, _) in row.scores.items()
        if value is not None
    )


def _row(
    label: str, test: Mapping[str, Any], measures: Sequence[str], kind: str = "internal"
) -> Row:
    ends = test.get("intervals", {})
    chance = {}
    if "auc" in measures:
        largest = max(of["support"] for of in test["per_class"].values())
        chance = {"accuracy": largest / test["n"], "auc": 0.5}
    scores = {measure: (test.get(measure), ends.get(measure)) for measure in measures}
    return Row(f"{label}, {test['n']:,} images" * bool(label), scores, kind, chance)


def _scores(runs: Sequence[Run], repeats: Sequence[Repeats], task: str) -> list[str]:
    measures = _MEASURES[task]
    whole = [part.summary for part in repeats if "pooled" in part.summary]
    inside = {path for part in repeats if "pooled" in part.summary for path in part.runs}
    tests = [(run.name, run.metrics["test"]) for run in runs if run.path not in inside]
    tests += [(f"{of['title']}, {len(of['runs'])} folds together", of["pooled"]) for of in whole]
    if len(tests) <= _FEW:
        return [
            f"{name}: {_with_ends(test, measures, task)} on {test['n']:,} test images."
            for name, test in tests
        ]
    ranges = []
    for measure in measures:
        values = [test[measure] for _, test in tests if test[measure] is not None]
        if values:
            ends = f"{min(values):.3f} to {max(values):.3f}"
            ranges.append(f"{metric_title(task, measure)} is from {ends}")
    return [
        f"Over the {len(tests)} {_KINDS[task]}, {listed(ranges)} on the test images. "
        "Overlapping intervals do not decide which model is better; the command compare tests the "
        "differences on the same images."
    ]


def _with_ends(test: Mapping[str, Any], measures: Sequence[str], task: str) -> str:
    parts = []
    for measure in measures:
        if test.get(measure) is None:
            continue
        ends = test.get("intervals", {}).get(measure)
        shown = f" [{ends[0]:.3f}, {ends[1]:.3f}]" if ends else " (too few images for an interval)"
        parts.append(f"{metric_title(task, measure)} {test[measure]:.3f}{shown}")
    return ", ".join(parts)


def _other_sets(runs: Sequence[Run]) -> list[str]:
    said = []
    for run in runs:
        for folder, of in read_external(run.path).items():
            scores = _with_ends(of["test"], _MEASURES[run.task], run.task)
            absent = of["test"].get("absent_classes")
            without = f", none of {listed(absent, 'or')}" if absent else ""
            line = (
                f"{run.name} on {external_name(folder)} ({of['test']['n']:,} images{without}): "
                f"{scores}."
            )
            said.append(f"{line} {_changes(of, run.task)}")
        said += answers_text(run)
    if not said:
        return [
            "No model was tested on the images of another hospital. How far the scores hold there "
            "is unknown; the command evaluate tests it."
        ]
    return said


def _changes(of: Mapping[str, Any], task: str) -> str:
    """Returns the sentences for the verdicts of ``evaluation.transfer``."""
    said, undecided = [], []
    common = of.get("internal_of_common_classes")
    which = f" of {listed(common_classes(common), 'or')}" if common else ""
    for measure in _MEASURES[task]:
        compared = of.get("against_internal", {}).get(measure)
        label = metric_title(task, measure)
        if compared is None:
            continue
        if compared["verdict"] in (LOWER, HIGHER):
            low, high = sorted(abs(end) for end in compared["interval"])
            size = f"{abs(compared['difference']):.3f} [{low:.3f}, {high:.3f}]"
            where = f"than on the run's own test images{which}"
            said.append(f"The {label} is {size} {compared['verdict']} {where}.")
        else:
            undecided.append(label)
    if undecided:
        said.append(
            f"Whether {listed(f'the {one}' for one in undecided)} differ"
            f"{'s' if len(undecided) == 1 else ''} from the run's own test{which} is not decided."
        )
    if said and not common and of["test"].get("absent_classes"):
        said.append("The sets have different classes, so part of a difference may be case mix.")
    return " ".join(said)


def _leaks(runs: Sequence[Run]) -> list[str]:
    free, said, unknown = [], [], []
    for run in runs:
        leak = run.metrics.get("leak")
        if leak is None:
            unknown.append(run.name)
        elif leak["leaked_test_images"] == 0:
            free.append(run)
        else:
            said.append(_leak(run.name, leak))
    if free:
        whose = "" if len(free) == len(runs) else f" of {'; '.join(run.name for run in free)}"
        said.append(
            f"None of the test images{whose} has a near-duplicate, or a recorded image of the same "
            "patient, among the training images. Pairs that were not recognised as such cannot be "
            "excluded."
        )
    if unknown:
        said.append(f"Not counted for {'; '.join(unknown)}.")
    return said


def _leak(name: str, leak: Mapping[str, Any]) -> str:
    """Returns the sentence for the verdict of ``evaluation.leaks``."""
    count, n = leak["leaked_test_images"], leak["test_images"]
    said = (
        f"{name}: {count:,} of {n:,} test images ({count / n:.0%}) have a near-duplicate, or an "
        "image of the same patient, among the training images."
    )
    through = leak.get("through_starting_weights")
    if through:
        said += (
            f" Of these, {through:,} are images that the starting weights were trained or "
            "validated on, or are in their groups."
        )
    first, second = (leak.get(f"accuracy_of_{part}") for part in ("leaked", "others"))
    if not first or not second or None in (first["value"], second["value"]):
        return said
    change = leak["difference"]
    ends = change["interval"]
    size = f"{change['value']:+.3f}" + (f" {difference_ends(ends)}" if ends else "")
    said += (
        f" The accuracy is {first['value']:.3f} on these and {second['value']:.3f} on the others "
        f"({size}). "
    )
    if leak["verdict"] == SHOWN:
        return said + "The leak raises the score: report the accuracy on the others."
    assert leak["verdict"] != NONE
    return said + "Whether the leak raises the score is not decided."


def _shortcuts(audits: Mapping[str, Mapping[str, Any]], unaudited: Sequence[str]) -> list[str]:
    said = [f"{name}: {input_ablations.verdict(result)}" for name, result in audits.items()]
    if unaudited:
        whose = "; ".join(unaudited) if audits else "The classifiers"
        said.append(
            f"{whose} {'was' if len(unaudited) == 1 and audits else 'were'} not audited, so "
            "whether the score comes from the lungs is unknown; the command audit tests it."
        )
    return said


def _verdict_table(audits: Mapping[str, Mapping[str, Any]]) -> Tabulated:
    """Lays out each ablation without the lungs, a column an audited run."""
    names = {
        name: of["title"]
        for result in audits.values()
        for name, of in result["ablations"].items()
        if not of["lungs_visible"]
    }
    rows = [
        [title, *(_cell(result["ablations"].get(name)) for result in audits.values())]
        for name, title in names.items()
    ]
    title = "Is the class predicted from inputs that hide the lungs or their detail?"
    table = Table(title, ["input", *audits], rows)
    note = (
        "Share: how much of the full image's macro AUC above chance a model reaches that is "
        "trained on this input alone. Not decided means that neither a shortcut nor its absence is "
        "shown."
    )
    return Tabulated(table, "verdicts", note)


def _cell(ablation: Mapping[str, Any] | None) -> str | None:
    if ablation is None:
        return None
    words = {"shown": "shortcut shown", "excluded": "excluded", "not_decided": "not decided"}
    return f"{words[ablation['verdict']]}, share {max(0.0, ablation['share']):.0%}"
