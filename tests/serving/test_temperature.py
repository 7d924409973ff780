"""What is served is softmax(logits / temperature), the same from a run and from its exports."""

import csv
import json
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from scipy.special import softmax

from kerascxr import __main__ as verbs
from kerascxr.serving.export_formats import Measured, check, slack_at
from kerascxr.serving.formats import FORMATS
from kerascxr.serving.predictors import load_predictor
from kerascxr.tables import csv_text

TEMPERATURE = 2.5


def copied(run, to, calibration):
    """A copy of a run with another calibration, or with none."""
    shutil.copytree(run, to)
    metrics = json.loads((to / "metrics.json").read_text())
    metrics.pop("calibration")
    (to / "metrics.json").write_text(json.dumps(metrics | calibration))
    return to


@pytest.fixture(scope="module")
def images(served, runs):
    """Test images, float32 (n, 32, 32, 1), and the logits that the run's model gives them."""
    with (runs[0] / "predictions.csv").open(newline="") as file:
        paths = [served / "set" / f"{row['id']}.png" for row in csv.DictReader(file)]
    pixels = np.stack([np.asarray(Image.open(path), np.float32)[..., None] for path in paths])
    model = keras.saving.load_model(runs[0] / "model.keras")
    return pixels, model.predict(np.repeat(pixels, 3, axis=-1), verbose=0)


@pytest.fixture(scope="module")
def warm(runs, images, tmp_path_factory):
    """A run of temperature 2.5, and its export."""
    folder = tmp_path_factory.mktemp("warm")
    found = {"calibration": {"temperature": TEMPERATURE, "fitted_on": "a test's say-so"}}
    run = copied(runs[0], folder / "run", found)
    _decide_again(run, images[0])
    assert verbs.main(["export", str(run), "--to", str(folder / "model")]) == 0
    return run, folder / "model" / "1"


def _decide_again(run, pixels):
    """Gives the run's predictions the decisions at its temperature, which its export must have."""
    answer = load_predictor(run).answer(tf.constant(pixels), tf.fill((len(pixels), 2), 32))
    with (run / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for index, row in enumerate(rows):
        for name in ("decision", "prediction_set", "warnings"):
            row[name] = answer[name][index].decode()
    (run / "predictions.csv").write_text(csv_text(rows))


def test_an_export_divides_the_logits(warm, images):
    pixels, logits = images
    serve = tf.saved_model.load(str(warm[1])).signatures["pixels"]
    given = serve(images=tf.constant(pixels))
    expected = softmax(logits / TEMPERATURE, axis=1)
    np.testing.assert_allclose(given["probabilities"], expected, atol=1e-5)
    assert np.abs(expected - softmax(logits, axis=1)).max() > 1e-2  # it would be seen
    labels = given["labels"].numpy()[0][logits.argmax(axis=1)]
    assert given["label"].numpy().tolist() == labels.tolist()
    told = json.loads((warm[1] / "metadata.json").read_text())["temperature"]
    assert told["value"] == TEMPERATURE and told["fitted_on"] == "a test's say-so"
    assert "softmax(logits / value)" in told["meaning"]


def test_a_run_and_its_export_predict_the_same(warm, served, tmp_path):
    tables = []
    for index, model in enumerate(warm):
        to = tmp_path / f"{index}.csv"
        assert verbs.main(["predict", str(model), f"{served}/set/dark", "--to", str(to)]) == 0
        with to.open(newline="") as file:
            tables.append(list(csv.DictReader(file)))
    assert len(tables[0]) == len(tables[1]) == 30
    for ours, theirs in zip(*tables, strict=True):
        assert ours["path"] == theirs["path"] and ours["predicted"] == theirs["predicted"]
        for name in ("bright", "dark", "middle"):
            key = f"probability {name}"
            assert float(ours[key]) == pytest.approx(float(theirs[key]), abs=1e-6)


def test_a_run_without_calibration_is_served_as_it_is(runs, images, tmp_path):
    pixels, logits = images
    run = copied(runs[0], tmp_path / "old", {})
    sizes = tf.fill((len(pixels), 2), 32)
    given = load_predictor(run).answer(tf.constant(pixels), sizes)["probabilities"]
    np.testing.assert_allclose(given, softmax(logits, axis=1), atol=1e-6)


def test_other_formats_may_differ_more_where_the_temperature_is_low():
    row = Measured("onnx", 3e-4, {"accuracy": 1.0}, 1.0, (1.0, 1.0))
    check(row, FORMATS["onnx"], row, slack_at(0.25), "accuracy")
    for temperature in (0.5, 1.0, 5.0):
        with pytest.raises(ValueError, match="nothing was written"):
            check(row, FORMATS["onnx"], row, slack_at(temperature), "accuracy")
