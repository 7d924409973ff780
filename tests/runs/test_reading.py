"""Finished runs are found and read whole; an unfinished, damaged or wrong one is one line."""

import json

import numpy as np
import pytest

from kerascxr.runs.reading import (
    find_runs,
    read_predictions,
    read_run,
    read_runs,
    truth_and_probabilities,
)

METRICS = {
    "task": "classification",
    "title": "EfficientNet-B0, depth 1",
    "data": {"source": "radiography-2-0123abcd"},
    "calibration": {"temperature": 1.5},
}


def finished(path, **metrics):
    """A run folder without what some runs lack."""
    path.mkdir(parents=True)
    values = {"metrics": METRICS | metrics, "history": [{"loss": 0.5}], "environment": {"cpu": "é"}}
    for name, value in values.items():
        text = json.dumps(value, ensure_ascii=False)
        (path / f"{name}.json").write_text(text, encoding="utf-8")
    (path / "DONE").touch()
    return path


def test_a_run_is_what_its_files_say(tmp_path):
    path = finished(tmp_path / "run")
    (path / "timing.json").write_text('{"seconds": 12.5}')
    (path / "coarse_history.json").write_text('[{"loss": 0.9}]')
    (path / "config.yaml").write_text("depth: 1\nname: é\n", encoding="utf-8")
    (path / "figures").mkdir()
    (path / "figures" / "curves.png").touch()
    run = read_run(path)
    assert (run.path, run.task, run.name) == (path, "classification", "EfficientNet-B0, depth 1")
    assert run.metrics == METRICS and run.history == [{"loss": 0.5}]
    assert run.environment == {"cpu": "é"} and run.config == {"depth": 1, "name": "é"}
    assert run.seconds == 12.5 and run.coarse_history == [{"loss": 0.9}]
    assert run.temperature == 1.5 and run.source == "radiography-2"
    assert run.figure("curves") == path / "figures" / "curves.png" and run.figure("roc") is None
    assert read_run(path, "classification") == run


def test_what_a_run_may_lack_has_its_default(tmp_path):
    path = finished(tmp_path / "run", task="segmentation", calibration={}, data={"source": "lungs"})
    run = read_run(path)
    assert (run.config, run.coarse_history, run.seconds) == ({}, [], 0.0)
    assert (run.task, run.temperature, run.source) == ("segmentation", 1.0, "lungs")
    del run.metrics["calibration"]
    assert run.temperature == 1.0


def test_a_folder_that_is_no_finished_run_is_one_line(tmp_path):
    path = finished(tmp_path / "run")
    with pytest.raises(ValueError, match=r"run must be a segmentation run. Got a classification"):
        read_run(path, "segmentation")
    (path / "history.json").write_text("[")
    with pytest.raises(ValueError, match=r"history.json must be a finished run's. .*overwrite"):
        read_run(path)
    (path / "history.json").unlink()
    with pytest.raises(ValueError, match=r"history.json .*No such file.*train again"):
        read_run(path)
    (path / "DONE").unlink()
    with pytest.raises(ValueError, match="run must be the folder of a finished run"):
        read_run(path)


def test_runs_are_found_once_in_order_and_without_their_audits(tmp_path):
    paths = [finished(tmp_path / "runs" / name) for name in ("b", "a/fold-00", "external/c")]
    finished(paths[0] / "external" / "other-hospital")
    finished(paths[0] / "audit" / "whole")
    (tmp_path / "runs" / "unfinished").mkdir()
    assert find_runs([tmp_path / "runs"]) == [paths[1], paths[0], paths[2]]
    assert find_runs([paths[0], tmp_path / "runs"]) == [paths[0], paths[1], paths[2]]
    assert find_runs([tmp_path / "runs" / "external"]) == [paths[2]]
    (tmp_path / "link").symlink_to(tmp_path / "runs", target_is_directory=True)
    elsewhere = [tmp_path / "link", tmp_path / "runs" / ".." / "runs"]
    assert find_runs([tmp_path / "runs", *elsewhere]) == [paths[1], paths[0], paths[2]]
    with pytest.raises(ValueError, match="unfinished must hold a finished run"):
        find_runs([tmp_path / "runs" / "unfinished"])
    with pytest.raises(ValueError, match=r"runs must be folders. Got .*nowhere, which is none"):
        find_runs([tmp_path / "nowhere"])


def test_classifiers_are_first_and_equal_names_get_their_folders(tmp_path):
    paths = [
        finished(tmp_path / "u", task="segmentation", title="A U-Net"),
        finished(tmp_path / "y"),
        finished(tmp_path / "x"),
        finished(tmp_path / "z", title="B"),
    ]
    names = [run.name for run in read_runs(paths)]
    depth_1 = "EfficientNet-B0, depth 1"
    assert names == ["B", f"{depth_1} (x)", f"{depth_1} (y)", "A U-Net"]


def test_equal_names_in_folders_of_one_name_get_what_differs(tmp_path):
    """The folds of two cross-validations: an audit of one would be taken for the other's."""
    paths = [finished(tmp_path / name) for name in ("a/fold-00", "b/fold-00", "a/fold-01")]
    depth_1 = "EfficientNet-B0, depth 1"
    expected = [f"{depth_1} ({name})" for name in ("a/fold-00", "a/fold-01", "b/fold-00")]
    assert [run.name for run in read_runs(paths)] == expected


def test_predictions_are_read_as_they_stand(tmp_path):
    path = tmp_path / "predictions.csv"
    columns = "uncalibrated probability a,uncalibrated probability é"
    path.write_text(f'id,truth,{columns}\n"1\r\n",é,0.25,0.75\n2,a,1,0\n', "utf-8", newline="")
    rows = read_predictions(path)
    assert [row["id"] for row in rows] == ["1\r\n", "2"] and rows[0]["truth"] == "é"
    truth, probabilities = truth_and_probabilities(rows, ["a", "é"])
    assert truth.tolist() == [1, 0] and truth.dtype == np.int64
    assert probabilities.tolist() == [[0.25, 0.75], [1.0, 0.0]]
    assert probabilities.dtype == np.float64


def test_runs_are_found_by_what_they_are_not_by_their_names(tmp_path):
    runs = ("cls/audit", "cls/mine", "external/audit", "external/cv/fold-00")
    others = ("cls/mine/audit/border_only", "cls/.old-mine", "cls/.partial-mine-abcd1234")
    for name in (*runs, *others):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "DONE").touch()
    assert find_runs([tmp_path]) == [tmp_path / name for name in sorted(runs)]
    assert find_runs([tmp_path / "cls/mine"]) == [tmp_path / "cls/mine"]
    ablation = tmp_path / "cls/mine/audit"
    assert find_runs([ablation]) == [ablation / "border_only"]
