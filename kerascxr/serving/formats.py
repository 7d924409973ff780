"""The classifier in other forms: ONNX, LiteRT and OpenVINO, each measured against Keras."""

import importlib.util
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from kerascxr.evaluation.classification import evaluate
from kerascxr.serving.graph import Classifier
from kerascxr.training.engines import frozen_graph

Format = Literal["onnx", "litert", "litert-dynamic", "litert-int8", "openvino"]
Run = Callable[[np.ndarray], np.ndarray]
"""Images float32 (batch, height, width, 1), 0..255, to probabilities float32 (batch, n)."""

# Largest difference of a probability to Keras'.
TOLERANCE = {"onnx": 1e-4, "litert": 1e-4, "openvino": 1e-4}
# Of the forms in integers instead: largest loss of accuracy on the test images.
MOST_LOST = {"litert-dynamic": 0.05, "litert-int8": 0.05}
_NEEDS = {
    "onnx": ("tf2onnx", "onnxruntime"),
    "litert": ("ai_edge_litert",),
    "litert-dynamic": ("ai_edge_litert",),
    "litert-int8": ("ai_edge_litert",),
    "openvino": ("openvino",),
}
_FILES = {
    "onnx": "model.onnx",
    "litert": "model.tflite",
    "litert-dynamic": "model_dynamic.tflite",
    "litert-int8": "model_int8.tflite",
    "openvino": "model.xml",
}
_REPEATS = 50
_OPSET = 17


@dataclass(frozen=True)
class Measured:
    """What a form costs and changes.

    Attributes:
        name: "keras" or a format.
        difference: The largest difference of a probability to Keras', over the test images.
        scores: ``evaluate``'s dict.
        megabytes: Size on disk.
        milliseconds: Median and 95th percentile of one image, from pixels to probabilities.
    """

    name: str
    difference: float
    scores: dict[str, Any]
    megabytes: float
    milliseconds: tuple[float, float]


def check_installed(name: Format) -> None:
    """Checks that what a format needs is installed.

    Raises:
        ValueError: If not.
    """
    missing = [item for item in _NEEDS[name] if importlib.util.find_spec(item) is None]
    if missing:
        packages = " ".join(item.replace("_", "-") for item in missing)
        raise ValueError(f"--format {name} must have its packages: pip install {packages}.")


def convert(
    classifier: Classifier,
    size: tuple[int, int],
    name: Format,
    calibration: np.ndarray,
    folder: Path,
) -> Path:
    """Writes a classifier in another form.

    Args:
        classifier: The classifier.
        size: The (height, width) that it takes.
        name: The form. "litert-dynamic" keeps weights as 8-bit integers; "litert-int8" computes in
            them too, on scales taken from the calibration images.
        calibration: Training images, uint8 (n, height, width, 1); for int8 alone.
        folder: Where to.

    Returns:
        The file. Its input is float32 (batch, height, width, 1), 0..255; its output the
        probabilities.
    """
    spec = tf.TensorSpec((None, *size, 1), tf.float32, name="images")

    @tf.function(input_signature=[spec])
    def probabilities(images: tf.Tensor) -> tf.Tensor:
        return tf.identity(classifier.answer(images)["probabilities"], name="probabilities")

    path = folder / _FILES[name]
    if name == "onnx":
        import tf2onnx

        with tempfile.TemporaryDirectory() as temporary:
            frozen = frozen_graph(probabilities, Path(temporary)).read_bytes()
        # Of the function itself, tf2onnx would make inputs of the scaling's constants.
        tf2onnx.convert.from_graph_def(
            tf.compat.v1.GraphDef.FromString(frozen),
            input_names=["images:0"],
            output_names=["Identity:0"],
            opset=_OPSET,
            output_path=str(path),
        )
    elif name == "openvino":
        import openvino

        with tempfile.TemporaryDirectory() as temporary:
            model = openvino.Core().read_model(frozen_graph(probabilities, Path(temporary)))
            openvino.save_model(model, path, compress_to_fp16=False)
    else:
        function = probabilities.get_concrete_function()
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function], probabilities)
        if name != "litert":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if name == "litert-int8":

            def examples() -> Iterator[list[np.ndarray]]:
                for image in calibration:
                    yield [image[None].astype(np.float32)]

            converter.representative_dataset = examples
        path.write_bytes(converter.convert())
    return path


def load(path: Path) -> Run:
    """Returns what runs a file that ``convert`` wrote, batch by batch."""
    if path.suffix == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        feed = session.get_inputs()[0].name
        return lambda images: session.run(None, {feed: images})[0]
    if path.suffix == ".xml":
        import openvino

        settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        compiled = openvino.Core().compile_model(str(path), "CPU", settings)
        return lambda images: compiled(images)[0]
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=2)
    interpreter.allocate_tensors()
    given, wanted = interpreter.get_input_details()[0], interpreter.get_output_details()[0]

    def run(images: np.ndarray) -> np.ndarray:
        results = []
        for image in images:  # one at a time: another batch size would lay out memory anew
            interpreter.set_tensor(given["index"], image[None])
            interpreter.invoke()
            results.append(interpreter.get_tensor(wanted["index"]).copy())
        return np.concatenate(results)

    return run


def measure(
    name: str,
    run: Run,
    expected: np.ndarray | None,
    images: np.ndarray,
    labels: np.ndarray,
    classes: tuple[str, ...],
    path: Path,
) -> tuple[Measured, np.ndarray]:
    """Runs a form on test images.

    Args:
        name: What to call it.
        run: The form.
        expected: Keras' probabilities; None for Keras itself.
        images: uint8 (n, height, width, 1).
        labels: int (n,).
        classes: Class names.
        path: Its file; its size counts, with OpenVINO's .bin beside it.

    Returns:
        What was measured, and the probabilities (n, n_classes).
    """
    given = np.concatenate(
        [run(images[begin : begin + 32].astype(np.float32)) for begin in range(0, len(images), 32)]
    )
    times = []
    for index in range(_REPEATS):
        one = images[index % len(images)][None].astype(np.float32)
        started = time.perf_counter()
        run(one)
        times.append(1000 * (time.perf_counter() - started))
    files = [path, path.with_suffix(".bin")]
    size = sum(item.stat().st_size for item in files if item.exists()) / 2**20
    difference = 0.0 if expected is None else float(np.abs(given - expected).max())
    sums = given.sum(axis=1, keepdims=True)
    scores = evaluate(labels, given / sums, classes)  # int8's need not sum to 1
    middle, late = np.percentile(times, [50, 95])
    return Measured(name, difference, scores, size, (float(middle), float(late))), given


def table(rows: list[Measured]) -> tuple[list[str], list[list[Any]]]:
    """Returns header and rows of the printed table; the first row is what others change."""
    header = ["form", "largest difference", "accuracy", "change", "AUC", "change"]
    header += ["MiB", "p50 ms", "p95 ms"]
    first = rows[0].scores
    return header, [
        [
            row.name,
            f"{row.difference:.1e}",
            row.scores["accuracy"],
            f"{row.scores['accuracy'] - first['accuracy']:+.4f}",
            row.scores["auc"],
            f"{row.scores['auc'] - first['auc']:+.4f}",
            f"{row.megabytes:.1f}",
            f"{row.milliseconds[0]:.1f}",
            f"{row.milliseconds[1]:.1f}",
        ]
        for row in rows
    ]
