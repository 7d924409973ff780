"""The same images' bytes by every way to an export's probabilities, beside the run's own."""

import base64
import csv
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

from kerascxr.config import ClassificationConfig
from kerascxr.data.images import decode_file, resize_image
from kerascxr.data.ingest.folds import split_folds
from kerascxr.data.pipeline import encoded_examples
from kerascxr.evaluation.calibration import apply_temperature
from kerascxr.models.saved import load_saved
from kerascxr.parsing import load_config
from kerascxr.runs.reading import UNCALIBRATED, read_run
from kerascxr.serving.graph import Classifier
from kerascxr.tables import markdown_table
from kerascxr.training.inputs import open_run_store
from tests.support.c_api import run_in_c
from tests.support.recorded_server import answer_grpc, answer_rest

_ALONE = """
import sys
sys.modules |= dict.fromkeys(("keras", "tf_keras", "kerascxr"))  # importing these now fails
import numpy as np
import tensorflow as tf
model, folder, n = sys.argv[1:]
files = [open(f"{folder}/{index}", "rb").read() for index in range(int(n))]
serve = tf.saved_model.load(model).signatures["serving_default"]
np.save(f"{folder}/given.npy", serve(images=tf.constant(files))["probabilities"].numpy())
assert not any(sys.modules[name] for name in ("keras", "tf_keras", "kerascxr"))
"""


def in_a_fresh_process(export: Path, files: list[bytes]) -> np.ndarray:
    """Returns probabilities from a process that can import neither this project nor Keras.

    Keras is barred because TensorFlow 2.21 imports it by itself where it is installed.
    """
    with tempfile.TemporaryDirectory() as folder:
        for index, data in enumerate(files):
            (Path(folder) / str(index)).write_bytes(data)
        command = [sys.executable, "-I", "-c", _ALONE, str(export.resolve()), folder]
        subprocess.run([*command, str(len(files))], capture_output=True, check=True, cwd=folder)
        return np.load(Path(folder) / "given.npy")


def known_images(run_path: Path, n: int) -> tuple[list[bytes], np.ndarray]:
    """Returns test images' bytes, and the run's probabilities at its temperature."""
    run = read_run(run_path, "classification")
    config = load_config(ClassificationConfig, run_path / "config.yaml")
    with (run_path / "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    chosen = set(sorted(rows)[:: max(1, len(rows) // n)][:n])
    store = open_run_store(run, config.data)
    names = [f"{UNCALIBRATED} {name}" for name in run.metrics["test"]["classes"]]
    files, raw = [], []
    for example in encoded_examples(store, split_folds(config.split)["test"]).as_numpy_iterator():
        row = rows[example["id"].decode()]
        if row["id"] in chosen:
            files.append(example["image"])
            raw.append([float(row[name]) for name in names])
    return files, apply_temperature(np.array(raw), run.temperature)


def parity_table(export: Path, serve: Callable, run_path: Path, n: int = 32) -> str:
    """Returns the largest difference of probabilities from the run's, by way."""
    run = read_run(run_path, "classification")
    files, expected = known_images(run_path, n)
    model = load_saved(run_path / "model.keras")
    height, width = model.input_shape[1:3]
    classes = run.metrics["test"]["classes"]
    bare = Classifier(model, classes, temperature=run.temperature)
    pixels = tf.stack([resize_image(decode_file(tf.constant(f)), (height, width)) for f in files])
    encoded = [{"b64": base64.b64encode(data).decode("ascii")} for data in files]
    by_rows = json.loads(answer_rest(serve, json.dumps({"instances": encoded}).encode()))
    by_columns = json.loads(
        answer_rest(serve, json.dumps({"inputs": {"images": encoded}}).encode())
    )
    request = predict_pb2.PredictRequest()
    request.inputs["images"].CopyFrom(tf.make_tensor_proto(files))
    response = predict_pb2.PredictResponse.FromString(
        answer_grpc(serve, request.SerializeToString())
    )
    ways = {
        "Keras model, in process": bare.answer({"none": tf.cast(pixels, tf.float32)})[
            "probabilities"
        ],
        "SavedModel, in process": serve(images=tf.constant(files))["probabilities"],
        "SavedModel, fresh process without Keras and kerascxr": in_a_fresh_process(export, files),
        "C library, TF_LoadSessionFromSavedModel": run_in_c(export, files),
        "REST, rows": [row["probabilities"] for row in by_rows["predictions"]],
        "REST, columns": by_columns["outputs"]["probabilities"],
        "gRPC": tf.make_ndarray(response.outputs["probabilities"]),
    }
    rows = []
    for name, given in ways.items():
        apart = np.abs(np.asarray(given, np.float64) - expected)
        same = np.mean(np.argmax(given, 1) == expected.argmax(1))
        rows.append([name, len(files), f"{apart.max():.1e}", f"{same:.0%}"])
    return markdown_table(["way", "images", "largest difference", "same label"], rows)
