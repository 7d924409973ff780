"""Engines that run the frozen part of a backbone: Keras, or OpenVINO (faster on CPUs).

An engine takes batches of grey images and gives the frozen part's outputs for each. OpenVINO is an
optional extra; what it gives is compared with what Keras gives before it is used.
"""

import copy
import importlib.metadata
import importlib.util
import logging
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, Protocol

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import (
    convert_variables_to_constants_v2,
)

from kerascxr.data.images import to_backbone_input
from kerascxr.training.runtime import versions

logger = logging.getLogger(__name__)

EngineName = Literal["keras", "openvino"]
EngineChoice = Literal["auto", "keras", "openvino"]

Precision = Literal["float32", "bfloat16"]

# Of the largest value. Features are kept as float16, whose rounding is half of this.
TOLERANCE = 1e-3
# Measured on X-rays: 0.011 with EfficientNetB0's drawn weights, 0.093 with ImageNet's, which is
# no rounding any more: pooled features move by up to 0.4 of their standard deviation.
_TOLERANCE_BFLOAT16 = 0.05


Outputs = tuple[np.ndarray, ...]
"""What a model gives for a batch, in the order of its outputs."""


class Engine(Protocol):
    """Runs the frozen part.

    Attributes:
        name: "keras" or "openvino".
        precision: The number type in which it computes.
        batch_size: How many images it likes at once.
    """

    name: EngineName
    precision: Precision
    batch_size: int

    def run(self, batches: Iterable[np.ndarray]) -> Iterator[Outputs]:
        """Gives the outputs, float32 (batch, ...), for float32 (batch, h, w, channels), 0..255."""
        ...


class KerasEngine:
    """Runs the frozen part as Keras does.

    Args:
        frozen: Images float32 (batch, height, width, 3), 0..255, to one or more tensors.
        channels: Of the images that it gets, see ``to_backbone_input``.
    """

    name: EngineName = "keras"
    precision: Precision = "float32"
    batch_size = 32

    def __init__(self, frozen: keras.Model, channels: int = 1):
        height, width = frozen.input_shape[1:3]
        self.function = tf.function(
            lambda images: tf.nest.flatten(frozen(to_backbone_input(images), training=False)),
            [tf.TensorSpec((None, height, width, channels), name="images")],
            autograph=False,
        )
        self.graph = self.function.get_concrete_function()  # one for batches of any size

    def run(self, batches: Iterable[np.ndarray]) -> Iterator[Outputs]:
        """See ``Engine.run``."""
        for batch in batches:
            outputs = self.graph(tf.convert_to_tensor(batch))
            yield tuple(np.asarray(output, np.float32) for output in outputs)


class OpenVINOEngine:
    """Runs the frozen part in OpenVINO on the CPU, one stream of requests a core.

    Args:
        of: The same in Keras.

    Raises:
        Exception: Whatever OpenVINO raises where it cannot read the model.
    """

    name: EngineName = "openvino"
    batch_size = 4  # measured: 2 to 8 are alike, more is slower

    def __init__(self, of: KerasEngine):
        import openvino

        self._core = openvino.Core()
        with tempfile.TemporaryDirectory() as folder:
            self._model = self._core.read_model(frozen_graph(of.function, Path(folder)))
        self._outputs = [output.name for output in of.graph.outputs]  # and not in this order
        # On some CPUs OpenVINO would take bfloat16 of its own accord.
        self._compile("f32")

    def in_bfloat16(self) -> "OpenVINOEngine":
        """Returns an engine of the same model that computes in bfloat16, where the CPU does."""
        other = copy.copy(self)
        other._compile("bf16")
        return other

    def _compile(self, number_type: str) -> None:
        settings = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": number_type}
        compiled = self._core.compile_model(self._model, "CPU", settings)
        taken = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        self.precision: Precision = "bfloat16" if taken == "bf16" else "float32"
        # One more than run at a time, so that no core waits while an output is taken.
        requests = compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS") + 1
        self._requests = [compiled.create_infer_request() for _ in range(requests)]

    def run(self, batches: Iterable[np.ndarray]) -> Iterator[Outputs]:
        """See ``Engine.run``."""
        free = deque(self._requests)
        running: deque = deque()
        for batch in batches:
            if not free:
                yield self._finished(running[0])
                free.append(running.popleft())
            request = free.popleft()
            request.start_async({0: batch})
            running.append(request)
        for request in running:
            yield self._finished(request)

    def _finished(self, request) -> Outputs:
        request.wait()
        return tuple(request.get_tensor(name).data.copy() for name in self._outputs)


def frozen_graph(function: Any, folder: Path) -> Path:
    """Writes a tf.function of one signature as a graph with constants for variables.

    Args:
        function: The function, with an input signature.
        folder: Where to.

    Returns:
        The file, as OpenVINO reads it.
    """
    constant = convert_variables_to_constants_v2(function.get_concrete_function())
    tf.io.write_graph(constant.graph.as_graph_def(), str(folder), "frozen.pb", as_text=False)
    return folder / "frozen.pb"


def likely_engine(wanted: EngineChoice) -> EngineName:
    """Returns the engine to try: the one wanted, by itself OpenVINO where it is installed.

    Raises:
        ValueError: If OpenVINO is wanted and not installed.
    """
    installed = importlib.util.find_spec("openvino") is not None
    if wanted == "openvino" and not installed:
        raise ValueError(
            "feature_engine must be installed. Got feature_engine='openvino', which is not; "
            "pip install openvino, or start another run with --feature_engine keras."
        )
    if wanted == "auto":
        return "openvino" if installed and not tf.config.list_physical_devices("GPU") else "keras"
    return wanted


def computed_by(name: EngineName) -> dict[str, str]:
    """Returns what decides the numbers that an engine computes, besides the model and the images.

    Args:
        name: The engine. OpenVINO runs on the CPU, Keras on the first GPU if there is one: GPUs
            round the factors of float32 products (to TF32), so their numbers are others.

    Returns:
        The engine, the device and the packages' versions.
    """
    device = "CPU"
    if name == "keras":
        for gpu in tf.config.list_physical_devices("GPU")[:1]:
            details = tf.config.experimental.get_device_details(gpu)
            device = details.get("device_name", "GPU")
    return {"engine": name, "device": device} | versions() | engine_version(name)


def engine_version(name: EngineName | None) -> dict[str, str]:
    """Returns the version of an engine's package that ``versions`` does not have."""
    return {"OpenVINO": importlib.metadata.version("openvino")} if name == "openvino" else {}


def build_engine(frozen: keras.Model, name: EngineName, sample: np.ndarray) -> Engine:
    """Returns an engine for a frozen part.

    Args:
        frozen: Images float32 (batch, height, width, 3), 0..255, to one or more tensors.
        name: The engine to take. If that is OpenVINO and it fails or gives something else than
            Keras on the sample, Keras is taken, and a line says so.
        sample: Images to compare on, float32 (n, height, width, channels), 0..255.
    """
    ours = KerasEngine(frozen, sample.shape[-1])
    if name == "keras":
        return ours
    try:
        engine = OpenVINOEngine(ours)
        given = next(engine.run([sample]))
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        logger.info(f"OpenVINO cannot run this backbone ({reason}); Keras runs it.")
        return ours
    difference = _largest_difference(given, next(ours.run([sample])))
    if not difference <= TOLERANCE:
        logger.info(
            f"OpenVINO's features differ from Keras' by {difference:.1g} of the largest, over "
            f"{TOLERANCE}; Keras computes them."
        )
        return ours
    return engine


def build_bfloat16_engine(engine: Engine, sample: np.ndarray) -> Engine:
    """Returns an engine that computes in bfloat16 what another one computes in float32.

    Args:
        engine: The engine in float32.
        sample: Images to compare on, float32 (n, height, width, channels), 0..255.

    Returns:
        The same engine where that is not OpenVINO, the CPU has no bfloat16, or the outputs for the
        sample differ by more than bfloat16's rounding; in the last case a line says so.
    """
    if not isinstance(engine, OpenVINOEngine):
        return engine
    faster = engine.in_bfloat16()
    if faster.precision == "float32":
        return engine
    difference = _largest_difference(next(faster.run([sample])), next(engine.run([sample])))
    if not difference <= _TOLERANCE_BFLOAT16:
        logger.info(
            f"Features in bfloat16 differ by {difference:.1g} of the largest, over "
            f"{_TOLERANCE_BFLOAT16}: those of augmented copies are computed in float32 too."
        )
        return engine
    return faster


def _largest_difference(given: Outputs, expected: Outputs) -> float:
    """Returns the largest difference, of an output's largest value; NaN if one is."""
    differences = [
        np.abs(output - known).max() / max(np.abs(known).max(), 1e-30)
        for output, known in zip(given, expected, strict=True)
    ]
    return float(np.max(differences))
