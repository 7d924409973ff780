"""A table of predictions holds calibrated and uncalibrated probabilities under their names."""

import csv
import io

import numpy as np

from kerascxr.data.pipeline import Images
from kerascxr.evaluation.calibration import apply_temperature
from kerascxr.runs.folder import RunFolder
from kerascxr.runs.reading import read_predictions, truth_and_probabilities
from kerascxr.training.classification import write_predictions

CLASSES = ["a", "b, c"]
RAW = np.array([[0.9, 0.1], [0.3, 0.7]])
PIXELS = np.zeros((2, 4, 4, 1), np.uint8)
IMAGES = Images(PIXELS, None, ("1", "2"), ("x", "y"), np.array([0, 1]), tuple(CLASSES))


def write(folder, temperature):
    write_predictions(RunFolder(folder), "table.csv", IMAGES, RAW, CLASSES, temperature)
    return read_predictions(folder / "table.csv")


def test_both_kinds_of_probability_are_named(tmp_path):
    rows = write(tmp_path, 2.5)
    calibrated = [[float(row[f"probability {name}"]) for name in CLASSES] for row in rows]
    np.testing.assert_array_equal(calibrated, apply_temperature(RAW, 2.5))
    assert np.abs(np.array(calibrated) - RAW).min() > 0.05
    truth, raw = truth_and_probabilities(rows, CLASSES)
    np.testing.assert_array_equal(raw, RAW)
    assert truth.tolist() == [0, 1]
    header = next(csv.reader(io.StringIO((tmp_path / "table.csv").read_text())))
    assert header[:4] == ["id", "group", "truth", "predicted"]
    assert [row["predicted"] for row in rows] == CLASSES


def test_without_a_temperature_nothing_is_called_calibrated(tmp_path):
    assert not any(name.startswith("probability") for name in write(tmp_path, None)[0])
