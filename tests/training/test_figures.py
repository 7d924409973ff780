"""A run's figures show the probabilities that the run serves."""

import contextlib
from types import SimpleNamespace

import numpy as np
import pytest

from kerascxr.data.pipeline import Images
from kerascxr.evaluation.calibration import apply_temperature
from kerascxr.training import figures

CLASSES = ("a", "b")
UNCALIBRATED = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])


@pytest.fixture
def given(monkeypatch):
    """What each figure is drawn from, by the name of its function."""
    found = {}

    def keep(name):
        return lambda *values, **more: found.setdefault(name, values)

    for name in ("confusion_matrix", "roc_and_pr", "sample_predictions"):
        monkeypatch.setattr(figures.classification, name, keep(name))
    monkeypatch.setattr(figures.heat, "evidence_grid", keep("evidence_grid"))
    monkeypatch.setattr(figures, "GradCAM", lambda model: lambda images, classes: images[..., 0])
    return found


def test_their_probabilities_are_calibrated(given, tmp_path):
    pixels = np.zeros((3, 8, 8, 1), np.uint8)
    names = ("0", "1", "2")
    images = Images(pixels, None, names, names, np.array([0, 1, 1]), CLASSES)
    folder = SimpleNamespace(figure=lambda name: contextlib.nullcontext(tmp_path))
    metrics = {
        "title": "",
        "test": {"confusion_matrix": []},
        "calibration": {"temperature": 2.0},
    }
    served = apply_temperature(UNCALIBRATED, 2.0)
    figures.draw_test(folder, metrics, images, UNCALIBRATED, CLASSES)
    _, truth, predicted, confidence, _ = given["sample_predictions"]
    assert (truth, predicted) == (["a", "b", "b"], ["a", "b", "a"])
    assert confidence == pytest.approx(served.max(axis=1).tolist())
    figures.draw_evidence(folder, None, metrics, images, UNCALIBRATED, CLASSES)
    (wrong,) = (one for one in given["evidence_grid"][0]["wrong"] if one is not None)
    assert wrong.title == f"truth: b\npredicted: a {served[2, 0]:.0%}"
    assert f"{served[2, 0]:.0%}" != f"{UNCALIBRATED[2, 0]:.0%}"
