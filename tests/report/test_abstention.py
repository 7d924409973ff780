"""Decisions, prediction sets and answers on other sets in the report."""

import json

import numpy as np
import pytest

from kerascxr.evaluation.abstention import NOT_DECIDED, Decisions, measure_abstention
from kerascxr.report import abstention, contents
from kerascxr.report.blocks import Statement, Tabulated
from kerascxr.report.external import answers_text, external_sections
from kerascxr.runs.reading import read_run
from tests.report.test_page import CLASSES, classifier

LIMIT = {
    "ood_limit": 2.5,
    "ood_false_alarms": 0.06,
    "coverage_level": 0.95,
    "least_probability": 0.543,
    "set_thresholds": [0.1, 0.2, 0.0, 0.1],
    "validation_images": [30, 40, 5, 20],
}


@pytest.fixture
def run(tmp_path):
    """A run that does not decide on 2 of 8 images and errs on one of the others."""
    path = tmp_path / "run"
    classifier(path, 2)
    truth = np.arange(8) % 4
    probabilities = np.full((8, 4), 0.02)
    probabilities[np.arange(8), truth] = 0.94
    probabilities[7] = probabilities[6]
    sets = probabilities > 0.5
    sets[0, 1] = True
    decisions = [CLASSES[index] for index in probabilities.argmax(axis=1)]
    decisions[0] = decisions[1] = NOT_DECIDED
    warnings = ["several classes possible", "unlike the training images", *[""] * 6]
    found = Decisions(tuple(decisions), sets, np.zeros(8), tuple(warnings))
    measured = measure_abstention(found, truth, probabilities, CLASSES, list("abcdefgh"))
    metrics = json.loads((path / "metrics.json").read_text())
    metrics["abstention"] = LIMIT | measured
    (path / "metrics.json").write_text(json.dumps(metrics))
    place = path / "external/other-0123abcd"
    place.mkdir(parents=True)
    told = {"classes": CLASSES, "answers": measured | {"n": 99}}
    (place / "answers.json").write_text(json.dumps(told))
    return read_run(path)


def test_a_runs_decisions_are_in_its_section_and_in_the_summary(run, tmp_path):
    decisions, coverage = abstention.blocks_of(run, "classifier-1")
    cells = {row[0]: row[1:] for row in decisions.table.rows}
    assert cells["not decided"][0].startswith("0.2500 [") and cells["not decided"][1] == 8
    assert cells["because: unlike the training images"][0].startswith("0.1250 [")
    assert cells["accuracy of the decisions"][0].startswith("0.8333 [")
    assert "a probability of 0.543 or more" in decisions.note
    assert "above 2.50" in decisions.note and "6% at most" in decisions.note
    rows = {row[0]: row for row in coverage.table.rows}
    assert rows["all"][1].startswith("0.8750 [") and rows[CLASSES[2]][3] == 5
    assert (
        f"In every prediction set, also beside a decision for another class: {CLASSES[2]} (5 "
        in coverage.note
    )
    assert "7 of 1 class, 1 of 2 classes" in coverage.note
    parts = contents.sections([run], tmp_path)
    [statement] = [
        block
        for block in parts[0].blocks
        if isinstance(block, Statement) and block.about == "Decisions."
    ]
    assert "does not decide on 25.0% [" in statement.text
    assert "the accuracy of its decisions is 0.8333 [" in statement.text
    [part] = [part for part in parts if part.title == "Decisions"]
    [row] = part.blocks[1].table.rows
    assert row[1] == 8 and row[-1] == "2.50"


def test_many_runs_have_one_sentence(run):
    [line] = abstention.abstention_text([run] * 4)
    assert line.startswith("The 4 classifiers do not decide on 25.0% to 25.0% of their test images")
    assert line.endswith("; the accuracy of their decisions is 0.833 to 0.833.")
    assert len(abstention.abstention_text([run] * 3)) == 3


def test_answers_on_other_sets_are_beside_the_own_test(run, tmp_path):
    [part] = external_sections([run])
    [table] = part.blocks
    assert isinstance(table, Tabulated)
    assert table.table.header == ["measure", "own test images", "other"]
    assert table.table.rows[0] == ["images", 8, 99]
    assert table.beside, "two tables of three columns fit a line of a printed page"
    assert f"{CLASSES[0]} at 0.9 or more and decided" in [row[0] for row in table.table.rows]
    [text] = answers_text(run)
    assert "does not decide on 25.0% [" in text
    assert "of the 99 images of other (other or unknown classes)" in text
    assert "commonest decision at a probability of 0.9 or more is " in text
    assert [kind for kind in CLASSES if f"{kind}, " in text] == [CLASSES[2]]
    parts = contents.sections([run], tmp_path)
    [hospitals] = [
        block
        for block in parts[0].blocks
        if isinstance(block, Statement) and block.about == "Other hospitals."
    ]
    assert text in hospitals.text


def test_a_run_without_a_rule_has_none_of_it(tmp_path):
    classifier(tmp_path / "run", 1)
    run = read_run(tmp_path / "run")
    assert abstention.overview([run]) == abstention.blocks_of(run, "x") == []
    assert abstention.abstention_text([run]) == answers_text(run) == []
