"""Decisions and prediction sets in the report: a comparison of runs, and each run's tables."""

from collections.abc import Sequence
from typing import Any

from kerascxr.report.blocks import Block, Section, Tabulated
from kerascxr.runs.abstention_tables import (
    abstention_table,
    coverage_note,
    coverage_table,
    decisions_note,
)
from kerascxr.runs.reading import Run
from kerascxr.tables import Table, percent_with_interval, with_interval

_FEW = 3


def overview(runs: Sequence[Run]) -> list[Section]:
    """Compares how often classifiers decide; nothing where no run has a decision rule.

    Args:
        runs: Finished classification runs.

    Returns:
        One section or none.
    """
    rows: list[list[Any]] = []
    for run in runs:
        found = run.metrics.get("abstention")
        if found:
            parts = (found["not_decided"], found["accuracy_of_decided"], found["coverage"]["all"])
            scores = [_share(part) for part in parts]
            rows.append([run.name, found["n"], *scores, f"{found['ood_limit']:.2f}"])
    if not rows:
        return []
    text = (
        "A model answers with its predicted class, or with not decided: where several classes are "
        "possible, where an image is unlike the training images, and where another input check "
        "warns. The rule is fitted on training and validation images."
    )
    header = ["model", "images", "not decided", "accuracy of the decisions", "coverage", "limit"]
    note = (
        "On the test images. Coverage: the share of images whose prediction set holds the true "
        "class. Limit: of the out-of-distribution score. In brackets: 95% intervals. Images of "
        "other collections can be answered wrongly; the command evaluate counts the answers there."
    )
    return [
        Section("Decisions", [text, Tabulated(Table("Decisions", header, rows), "decisions", note)])
    ]


def blocks_of(run: Run, label: str) -> list[Block]:
    """Returns a classifier's tables of decisions and prediction sets; nothing without a rule.

    Args:
        run: A finished classification run.
        label: Prefix of the labels of its tables, unique in the report.
    """
    found = run.metrics.get("abstention")
    if not found:
        return []
    decisions, coverage = abstention_table(found), coverage_table(found)
    return [
        Tabulated(decisions, f"{label}-decisions", decisions_note(found), beside=True),
        Tabulated(coverage, f"{label}-prediction-sets", coverage_note(found), beside=True),
    ]


def abstention_text(runs: Sequence[Run]) -> list[str]:
    """Returns the summary's sentences: one a run with a rule, or one for more than ``_FEW``."""
    tests = [(run.name, run.metrics["abstention"]) for run in runs if run.metrics.get("abstention")]
    if len(tests) > _FEW:
        shares = [test["not_decided"]["value"] for _, test in tests]
        right = [test["accuracy_of_decided"] for _, test in tests]
        scores = [of["value"] for of in right if of]
        line = f"The {len(tests)} classifiers do not decide on {min(shares):.1%} to "
        line += f"{max(shares):.1%} of their test images"
        if scores:
            line += f"; the accuracy of their decisions is {min(scores):.3f} to {max(scores):.3f}"
        return [f"{line}."]
    said = []
    for name, found in tests:
        undecided, accuracy = found["not_decided"], found["accuracy_of_decided"]
        share = percent_with_interval(undecided["value"], undecided["interval"])
        line = f"{name} does not decide on {share} of {found['n']:,} test images"
        line += f"; the accuracy of its decisions is {_share(accuracy)}." if accuracy else "."
        said.append(line)
    return said


def _share(share: dict[str, Any] | None) -> str | None:
    return with_interval(share["value"], share["interval"]) if share else None
