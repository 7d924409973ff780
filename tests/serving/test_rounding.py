"""Exports of runs that another device or engine tested: near the run, and equal to Keras."""

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from kerascxr import __main__ as verbs
from kerascxr.runs.reading import read_run
from kerascxr.serving import export, rounding
from kerascxr.serving.rounding import (
    computed_on_gpu,
    require_near_runs,
    tolerance_of_runs,
    without_tf32,
)
from tests.support.ready_exports import take_loaded_model


@pytest.fixture(scope="module")
def loaded(plain):
    return tf.saved_model.load(str(plain / "2"))


@pytest.fixture
def ready(plain, loaded, monkeypatch):
    """Exports take the SavedModel that is there; they are compared with the run as ever."""
    take_loaded_model(monkeypatch, export, plain / "2", loaded)


def copied(device, run, folder, shift):
    """Copies a run as if a device had tested it, whose probabilities differ by ``shift``."""
    folder.mkdir()
    for path in run.iterdir():
        if path.name not in ("metrics.json", "predictions.csv"):
            (folder / path.name).symlink_to(path)
    metrics = json.loads((run / "metrics.json").read_text())
    metrics["regime"]["devices"] = [device]
    (folder / "metrics.json").write_text(json.dumps(metrics))
    with (run / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        names = [name for name in row if name.startswith("uncalibrated probability")]
        values = np.array([float(row[name]) for name in names])
        values[values.argmax()] -= shift
        values[values.argmin()] += shift
        row |= dict(zip(names, map(repr, values.tolist()), strict=True))
    with (folder / "predictions.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


@pytest.mark.parametrize(
    ("device", "shift", "words"),
    [
        ("NVIDIA H200", 0.001, None),
        ("NVIDIA H200", 0.2, "since a GPU computed one of the two. Got a difference of 0."),
        ("CPU (2 cores)", 0.001, "the export must reproduce the run's probabilities to 1e-05"),
    ],
)
def test_the_rounding_of_a_gpu_is_allowed_and_no_more(
    ready, runs, tmp_path, capsys, device, shift, words
):
    run = copied(device, runs[0], tmp_path / "run", shift)
    code = verbs.main(["export", str(run), "--to", str(tmp_path / "models")])
    if words is None:
        assert code == 0 and (tmp_path / "models/1/saved_model.pb").exists()
        return
    message = capsys.readouterr().err
    assert code == 2 and words in message
    assert "Export with the packages that the run's environment.json names, or train" in message
    assert not (tmp_path / "models/1").exists()


def test_an_export_of_a_gpus_run_must_still_give_what_keras_computes(
    ready, runs, tmp_path, monkeypatch, capsys
):
    run = copied("NVIDIA H200", runs[0], tmp_path / "run", 0.001)
    monkeypatch.setattr("kerascxr.serving.read_back.TOLERANCE", -1.0)
    assert verbs.main(["export", str(run), "--to", str(tmp_path / "models")]) == 2
    assert "the export must reproduce the run's probabilities" in capsys.readouterr().err


def test_a_gpu_of_either_machine_counts(runs, monkeypatch):
    run = read_run(runs[0])
    assert not computed_on_gpu([run])
    monkeypatch.setattr(rounding.tf.config, "list_physical_devices", lambda kind: ["one"])
    assert computed_on_gpu([run])


@pytest.mark.parametrize(
    ("roi", "engine", "allowed"),
    [("none", "openvino", None), ("lungs_only", "keras", None), ("lungs_only", "openvino", 1e-3)],
)
def test_a_region_of_interest_that_openvino_computed_is_nearly_reproduced(roi, engine, allowed):
    regime = {"devices": ["CPU (2 cores)"], "feature_engine": engine}
    run = SimpleNamespace(roi=roi, path="runs/a", metrics={"regime": regime})
    assert tolerance_of_runs([run]) == allowed
    if allowed:
        whole = SimpleNamespace(roi="none", path="runs/b", metrics={"regime": regime})
        require_near_runs([whole, run], 0.0019, 0.5)
        with pytest.raises(ValueError, match=r"of runs/b, runs/a to 0\.002, since OpenVINO"):
            require_near_runs([whole, run], 0.0021, 0.5)


def test_tf32_is_off_in_comparisons_and_as_it_was_afterwards(ready, runs, tmp_path, monkeypatch):
    enabled = tf.config.experimental.tensor_float_32_execution_enabled
    seen = []
    load = tf.saved_model.load

    def spy(path):
        loaded = load(path)
        signature = loaded.signatures["serving_default"]

        def answer(images):
            seen.append(enabled())
            return signature(images=images)

        return SimpleNamespace(signatures={"serving_default": answer})

    monkeypatch.setattr(tf.saved_model, "load", spy)
    assert enabled()
    assert verbs.main(["export", str(runs[0]), "--to", str(tmp_path / "models")]) == 0
    assert seen == [False] and enabled()
    with pytest.raises(ValueError, match="x"), without_tf32():
        assert not enabled()
        raise ValueError("x")
    assert enabled()
