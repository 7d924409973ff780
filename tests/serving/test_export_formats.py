"""Other forms of a classifier answer as it does, or say why they cannot be made."""

import importlib.util
import json

import numpy as np
import pytest

from kerascxr import __main__ as verbs
from kerascxr.serving import export_formats, formats

FORMATS = ["openvino", "onnx", "litert", "litert-dynamic", "litert-int8"]


@pytest.mark.parametrize("name", FORMATS)
def test_it_answers_as_keras_does(runs, tmp_path, name):
    missing = [item for item in formats._NEEDS[name] if importlib.util.find_spec(item) is None]
    if missing:
        pytest.skip(f"pip install {' '.join(missing)} to run this")
    assert verbs.main(["export", str(runs[0]), "--to", str(tmp_path), "--format", f"[{name}]"]) == 0
    first, row = json.loads((tmp_path / "formats" / "formats.json").read_text())
    assert first["name"] == "keras" and row["name"] == name
    assert row["difference"] <= formats.TOLERANCE.get(name, 0.2)
    known = json.loads((runs[0] / "metrics.json").read_text())["test"]
    assert first["scores"]["accuracy"] == known["accuracy"]
    assert (tmp_path / "formats" / formats._FILES[name]).stat().st_size > 10_000
    assert (tmp_path / "formats" / "labels.txt").read_text().split() == known["classes"]


def test_a_missing_package_and_a_difference_are_one_line(runs, tmp_path, monkeypatch, capsys):
    command = ["export", str(runs[0]), "--to", str(tmp_path / "out"), "--format", "[onnx]"]
    with monkeypatch.context() as patched:
        patched.setattr(importlib.util, "find_spec", lambda name: None)
        assert verbs.main(command) == 2
    assert "pip install tf2onnx onnxruntime" in capsys.readouterr().err
    monkeypatch.setattr(export_formats, "check_installed", lambda name: None)

    def fail(*arguments):
        raise RuntimeError("no such\noperation")

    monkeypatch.setattr(export_formats, "convert", fail)
    assert verbs.main(command) == 2
    message = capsys.readouterr().err
    assert "onnx cannot hold this model (no such operation)" in message
    monkeypatch.setattr(export_formats, "convert", lambda *arguments: runs[0] / "model.keras")
    monkeypatch.setattr(
        export_formats, "load", lambda path: lambda images: np.eye(3)[np.zeros(len(images), int)]
    )
    assert verbs.main(command) == 2
    assert "must give Keras' probabilities" in capsys.readouterr().err
    monkeypatch.setattr(export_formats, "TOLERANCE", {})
    monkeypatch.setattr(export_formats, "MOST_LOST", {"onnx": -1.0})
    assert verbs.main(command) == 2
    assert "must keep the test accuracy" in capsys.readouterr().err
    assert not (tmp_path / "out" / "formats").exists()
