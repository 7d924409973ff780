"""Which runs can be an ensemble, and what they predict for images that all of them held out."""

import copy

import numpy as np
import pytest

from kerascxr.evaluation.ensembles import (
    TEST,
    check_members,
    common_predictions,
    ensemble_table,
    score_members,
)
from kerascxr.runs.reading import Run
from kerascxr.tables import csv_text

CLASSES = ["a", "b"]


def run(folder, of_a, ids=("1", "2"), offset=0, **others):
    """A run that tested images of class a with these probabilities of a."""
    folder.mkdir()
    rows = [
        {"id": image, "group": image, "truth": "a", "probability a": value}
        | {"probability b": 1 - value}
        for image, value in zip(ids, of_a, strict=True)
    ]
    (folder / TEST).write_text(csv_text(rows))
    metrics = {"task": "classification", "data": {"fingerprint": "f"}, "test": {"classes": CLASSES}}
    config = {"image_size": [32, 32], "split": {"offset": offset}}
    return Run(folder, metrics | others, [], [], {}, config, 0.0, folder.name)


def test_the_ensemble_is_the_mean_image_by_image(tmp_path):
    runs = [run(tmp_path / "1", (0.9, 0.4)), run(tmp_path / "2", (0.7, 0.2), ids=("2", "1"))]
    found = common_predictions(runs, TEST)
    np.testing.assert_allclose(found.mean, [[0.55, 0.45], [0.55, 0.45]])
    assert [[row["id"] for row in rows] for rows in found.rows] == [["1", "2"], ["1", "2"]]
    scores = score_members(found)
    assert [one["accuracy"] for one in scores] == [0.5, 0.5, 1.0]
    assert scores[-1]["ece"] == pytest.approx(0.45)
    members = [{"run": name, "test": score} for name, score in zip("12", scores[:2], strict=True)]
    cost = {"milliseconds_of_members": [20, 30], "milliseconds": 38}
    about = {"members": members, "test": scores[-1] | {"n": 2}, "cost": cost}
    table = ensemble_table(about)
    assert [row[-1] for row in table.rows] == [1, 1.5, 1.9]
    assert table.rows[-1][:-1] == ["ensemble", 1.0, pytest.approx(0.45), None, None]
    assert ensemble_table({key: about[key] for key in ("members", "test")}).rows[-1][-1] is None


@pytest.mark.parametrize("other", [{"offset": 4}, {"ids": ("1", "3")}])
def test_folds_have_nothing_in_common(tmp_path, other):
    runs = [run(tmp_path / "1", (0.9, 0.4)), run(tmp_path / "2", (0.7, 0.2), **other)]
    assert common_predictions(runs, TEST) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda it: it.metrics["test"].update(classes=["b", "a"]), "the same classes, in the same"),
        (lambda it: it.config.update(image_size=[64, 32]), "must have the same image_size. Got"),
        (lambda it: it.config["split"].update(groups="ignored"), "scores are fair. Got .* ignored"),
        (
            lambda it: it.config.update(control_marker="corner"),
            "scores are fair. Got .*control_marker='corner'",
        ),
        (lambda it: it.metrics.update(task="segmentation"), "must be a classification run"),
        (None, "runs of an ensemble must be different ones"),
    ],
)
def test_runs_that_do_not_fit_together_are_one_line(tmp_path, change, message):
    first = run(tmp_path / "1", (0.9, 0.4))
    second = first
    if change:
        second = copy.deepcopy(run(tmp_path / "2", (0.9, 0.4)))
        check_members([first, second])
        change(second)
    with pytest.raises(ValueError, match=message) as caught:
        check_members([first, second])
    assert "\n" not in str(caught.value)
