"""The registry of export formats: how to convert a model and run the file, how exact it is.

An entry in ``FORMATS`` adds a format; ``kerascxr export --format NAME`` then accepts its name. This
module imports TensorFlow and the formats' packages only inside its functions.
"""

import importlib.util
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from kerascxr.names import look_up

Run = Callable[[np.ndarray], np.ndarray]
"""Images float32 (batch, height, width, 1), 0..255, to probabilities: float32 (batch, n) of a
classifier, (batch, height, width, 1) of a U-Net."""

Convert = Callable[[Any, np.ndarray, Path], None]
"""Writes a ``tf.function`` with one input signature, images to probabilities as in ``Run``, to a
file. The second argument holds calibration images, uint8 (n, height, width, 1)."""


@dataclass(frozen=True)
class Format:
    """An export format.

    Attributes:
        file: The name of the file to write.
        packages: The modules that ``convert`` and ``load`` import.
        convert: Writes the file.
        load: Reads the file and returns a function that runs it.
        tolerance: The largest accepted difference of a probability to Keras'; None for any.
        most_lost: The largest accepted loss of test accuracy or Dice; None for any.
    """

    file: str
    packages: tuple[str, ...]
    convert: Convert
    load: Callable[[Path], Run]
    tolerance: float | None = None
    most_lost: float | None = None


def find_format(name: str) -> Format:
    """Returns a format whose packages are installed.

    Raises:
        ValueError: If the name is unknown, or a package is missing.
    """
    found = look_up(FORMATS, name, "format")
    require_packages(name, found.packages)
    return found


def require_packages(name: str, packages: tuple[str, ...]) -> None:
    """Checks that a format's packages are installed.

    Raises:
        ValueError: If one is missing.
    """
    missing = [item for item in packages if importlib.util.find_spec(item) is None]
    if missing:
        wanted = " ".join(item.replace("_", "-") for item in missing)
        raise ValueError(f"--format {name} must have its packages: pip install {wanted}.")


def _to_onnx(function: Any, calibration: np.ndarray, path: Path) -> None:
    from kerascxr.serving.onnx_files import onnx_model

    path.write_bytes(onnx_model(function, ["probabilities"]).SerializeToString())


def _run_onnx(path: Path) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    feed = session.get_inputs()[0].name
    return lambda images: session.run(None, {feed: images})[0]


def _to_openvino(function: Any, calibration: np.ndarray, path: Path) -> None:
    import openvino

    from kerascxr.training.engines import frozen_graph

    with tempfile.TemporaryDirectory() as temporary:
        model = openvino.Core().read_model(frozen_graph(function, Path(temporary)))
        openvino.save_model(model, path, compress_to_fp16=False)


def _run_openvino(path: Path) -> Run:
    import openvino

    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(str(path), "CPU", settings)
    return lambda images: compiled(images)[0]


def _to_litert(
    function: Any, calibration: np.ndarray, path: Path, eight_bits: bool = False
) -> None:
    """Writes LiteRT, with weights as 8-bit integers if wanted."""
    import tensorflow as tf

    concrete = function.get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], function)
    if eight_bits:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    path.write_bytes(converter.convert())


def _run_litert(path: Path) -> Run:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=2)
    interpreter.allocate_tensors()
    given, wanted = interpreter.get_input_details()[0], interpreter.get_output_details()[0]

    def run(images: np.ndarray) -> np.ndarray:
        results = []
        for image in images:  # one at a time: another batch size would allocate the memory anew
            interpreter.set_tensor(given["index"], image[None])
            interpreter.invoke()
            results.append(interpreter.get_tensor(wanted["index"]).copy())
        return np.concatenate(results)

    return run


_LITERT = ("ai_edge_litert",)

FORMATS = {
    "onnx": Format("model.onnx", ("tf2onnx", "onnxruntime"), _to_onnx, _run_onnx, tolerance=1e-4),
    "litert": Format("model.tflite", _LITERT, _to_litert, _run_litert, tolerance=1e-4),
    "litert-dynamic": Format(
        "model_dynamic.tflite",
        _LITERT,
        partial(_to_litert, eight_bits=True),
        _run_litert,
        most_lost=0.05,
    ),
    "openvino": Format("model.xml", ("openvino",), _to_openvino, _run_openvino, tolerance=1e-4),
}
