"""Functions of TensorFlow as ONNX files, and weights in 16 bits there."""

import contextlib
import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from kerascxr.training.engines import frozen_graph

OPSET = 17
# Numbers. Smaller tensors are not worth it, and those of layer statistics, whose scales differ a
# thousandfold, would become inexact.
_LEAST_SIZE = 16384
_LARGEST = 32767  # of int16
_WEIGHTED = ("Conv", "ConvTranspose", "MatMul", "Gemm")


def onnx_model(function: Any, outputs: Sequence[str]) -> Any:
    """Converts a function to ONNX.

    Args:
        function: A ``tf.function`` with one input signature of one argument.
        outputs: The names for what it returns, in its order; the input keeps its own name.

    Returns:
        The ``onnx.ModelProto``.
    """
    import tf2onnx

    concrete = function.get_concrete_function()
    given = concrete.inputs[0].name
    with tempfile.TemporaryDirectory() as temporary:
        frozen = frozen_graph(function, Path(temporary)).read_bytes()
    # From the function itself, tf2onnx would turn the constants of the input scaling into inputs.
    with _errors_only("tensorflow", "tf2onnx"):
        model, _ = tf2onnx.convert.from_graph_def(
            tf.compat.v1.GraphDef.FromString(frozen),
            input_names=[given],
            output_names=[output.name for output in concrete.outputs],
            opset=OPSET,
        )
    names = {given: given.partition(":")[0]}
    names |= dict(zip((one.name for one in concrete.outputs), outputs, strict=True))
    graph = model.graph
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for value in (*graph.input, *graph.output):
        value.name = names[value.name]
    return model


@contextlib.contextmanager
def _errors_only(*names: str) -> Iterator[None]:
    """Keeps packages from warning of their own old functions."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def store_in_16_bits(model: Any) -> None:
    """Replaces the kernels of an ONNX model by 16-bit integers with a scale each channel.

    The runtime multiplies them once, as it loads the model: it computes in float32 as before. A
    weight changes by at most 1/65,534 of its channel's largest one.

    Args:
        model: An ``onnx.ModelProto``.
    """
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    axes: dict[str, int] = {}  # of the output's channels
    for node in graph.node:
        if node.op_type in _WEIGHTED and len(node.input) > 1:
            axes[node.input[1]] = 0 if node.op_type == "Conv" else -1
    added = []
    for tensor in list(graph.initializer):
        values = numpy_helper.to_array(tensor)
        if tensor.name not in axes or values.dtype != np.float32 or values.size < _LEAST_SIZE:
            continue
        others = tuple(
            axis for axis in range(values.ndim) if axis != axes[tensor.name] % values.ndim
        )
        scale = np.abs(values).max(axis=others, keepdims=True).astype(np.float64) / _LARGEST
        scale = np.where(scale > 0, scale, 1.0)
        whole = np.rint(values / scale).astype(np.int16)
        names = [f"{tensor.name}__{part}" for part in ("whole", "scale", "cast")]
        graph.initializer.remove(tensor)
        graph.initializer.append(numpy_helper.from_array(whole, names[0]))
        graph.initializer.append(numpy_helper.from_array(scale.astype(np.float32), names[1]))
        added.append(helper.make_node("Cast", names[:1], names[2:], to=TensorProto.FLOAT))
        added.append(helper.make_node("Mul", names[2:0:-1], [tensor.name]))
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend([*added, *nodes])
