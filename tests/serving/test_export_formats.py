"""Other formats of a classifier answer as it does, or say why they cannot be made."""

import dataclasses
import importlib.util
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from kerascxr import __main__ as verbs
from kerascxr.runs.reading import read_predictions
from kerascxr.serving.export_formats import check, measure
from kerascxr.serving.formats import FORMATS, Format
from kerascxr.tables import csv_text
from tests.support.ready_exports import optimize_onnx_in_place


def installed(name):
    """The format, if its packages are here; else the test is skipped."""
    form = FORMATS[name]
    missing = [item for item in form.packages if importlib.util.find_spec(item) is None]
    if missing:
        pytest.skip(f"pip install {' '.join(missing)} to run this")
    return form


@pytest.fixture(autouse=True)
def quick_onnx(monkeypatch):
    """Conversions to ONNX without tf2onnx's copies."""
    if importlib.util.find_spec("tf2onnx"):
        optimize_onnx_in_place(monkeypatch)


@pytest.mark.parametrize("name", FORMATS)
def test_it_answers_as_keras_does(runs, tmp_path, name):
    form = installed(name)
    assert verbs.main(["export", str(runs[0]), "--to", str(tmp_path), "--format", f"[{name}]"]) == 0
    first, row = json.loads((tmp_path / "formats" / "formats.json").read_text())
    assert first["name"] == "keras" and row["name"] == name
    assert row["difference"] <= (form.tolerance or 0.2)
    known = json.loads((runs[0] / "metrics.json").read_text())["test"]
    assert first["scores"]["accuracy"] == known["accuracy"]
    assert (tmp_path / "formats" / form.file).stat().st_size > 10_000
    assert (tmp_path / "formats" / "labels.txt").read_text().split() == known["classes"]


@pytest.mark.parametrize("name", FORMATS)
def test_a_unets_format_has_keras_probabilities_and_the_runs_dice(runs, tmp_path, name):
    form = installed(name)
    assert verbs.main(["export", str(runs[1]), "--to", str(tmp_path), "--format", name]) == 0
    folder = tmp_path / "formats"
    first, row = json.loads((folder / "formats.json").read_text())
    assert first["name"] == "keras" and row["name"] == name
    assert row["difference"] <= (form.tolerance or 0.2)
    known = json.loads((runs[1] / "metrics.json").read_text())
    assert first["scores"]["dice"] == pytest.approx(known["test"]["dice"], abs=1e-6)
    assert row["scores"]["dice"] == pytest.approx(known["test"]["dice"], abs=0.05)
    assert (folder / form.file).stat().st_size > 10_000
    assert json.loads((folder / "metadata.json").read_text())["threshold"] == known["threshold"]
    header = (folder / "formats.md").read_text().splitlines()[0]
    assert [cell.strip() for cell in header.split("|")][3:6] == ["Dice", "change", "HD95"]


def test_a_missing_package_and_an_unknown_format_are_one_line(runs, tmp_path, monkeypatch, capsys):
    command = ["export", str(runs[0]), "--to", str(tmp_path / "out"), "--format"]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert verbs.main([*command, "[onnx]"]) == 2
    assert "pip install tf2onnx onnxruntime" in capsys.readouterr().err
    assert verbs.main([*command, "[onxn]"]) == 2
    message = capsys.readouterr().err
    assert "onxn" in message and "onnx" in message
    assert not (tmp_path / "out").exists()


def _fails(function, calibration, path):
    raise RuntimeError("no such\noperation")


def _first_class(path):
    return lambda images: np.eye(3)[np.zeros(len(images), int)]


def _write(function, calibration, path):
    path.write_bytes(b"0" * 2**20)


MADE_UP = Format("model.npy", (), _write, _first_class)


@pytest.mark.parametrize(
    ("form", "words"),
    [
        (
            dataclasses.replace(MADE_UP, convert=_fails),
            "made-up cannot hold this model (no such operation)",
        ),
        (dataclasses.replace(MADE_UP, tolerance=1e-4), "must give Keras' probabilities to 0.0001"),
        (dataclasses.replace(MADE_UP, most_lost=-1.0), "must keep the test accuracy"),
    ],
)
def test_a_format_that_fails_is_one_line_and_nothing_is_written(
    runs, tmp_path, monkeypatch, capsys, form, words
):
    monkeypatch.setitem(FORMATS, "made-up", form)
    command = ["export", str(runs[0]), "--to", str(tmp_path / "out"), "--format", "[made-up]"]
    assert verbs.main(command) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out" / "formats").exists()


def test_a_probability_that_is_no_number_is_a_difference():
    pixels = np.repeat(np.arange(4, dtype=np.uint8), 4).reshape(4, 2, 2, 1)
    subject = SimpleNamespace(
        test=SimpleNamespace(pixels=pixels), batch=1, score=lambda of: {"dice": len(list(of))}
    )
    known = [np.zeros(1)] * 4
    row = measure("x", lambda x: np.where(x[:, 0, 0, 0] == 2, np.nan, 0.0), known, subject)
    with pytest.raises(ValueError, match="Got a difference of nan"):
        check(row, dataclasses.replace(MADE_UP, tolerance=1e-4), row, 1.0, "dice")


def test_a_model_that_is_not_the_one_that_was_tested_is_one_line(
    runs, tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(FORMATS, "made-up", MADE_UP)
    copies = [shutil.copytree(run, tmp_path / f"{place}") for place, run in enumerate(runs)]
    rows = read_predictions(copies[0] / "predictions.csv")
    for name in [name for name in rows[0] if name.startswith("probability ")]:
        rows[0][name], rows[1][name] = rows[1][name], rows[0][name]
    (copies[0] / "predictions.csv").write_text(csv_text(rows))
    metrics = json.loads((copies[1] / "metrics.json").read_text())
    metrics["test"]["dice"] += 0.002
    (copies[1] / "metrics.json").write_text(json.dumps(metrics))
    for run, what in zip(copies, ("probabilities", "Dice"), strict=True):
        command = ["export", str(run), "--to", str(tmp_path / "out"), "--format", "made-up"]
        assert verbs.main(command) == 2
        [line] = capsys.readouterr().err.strip().splitlines()
        assert f"Keras must reproduce the {what} of the test of {run} to 0.001. Got" in line
        assert not (tmp_path / "out" / "formats").exists()


def test_one_entry_adds_a_format(runs, tmp_path, monkeypatch):
    calibration = []

    def convert(function, images, path):
        calibration.append(images)
        path.write_bytes(b"0" * 2**20)

    monkeypatch.setitem(FORMATS, "made-up", dataclasses.replace(MADE_UP, convert=convert))
    command = ["export", str(runs[0]), "--to", str(tmp_path), "--format", "[made-up]"]
    assert verbs.main(command) == 0
    _, row = json.loads((tmp_path / "formats" / "formats.json").read_text())
    assert row["megabytes"] == 1 and row["difference"] > 0.1
    assert calibration[0].shape[1:] == (32, 32, 1) and calibration[0].dtype == np.uint8
