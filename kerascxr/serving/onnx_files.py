"""Functions of TensorFlow as ONNX files, and weights in 16 bits there."""

import contextlib
import hashlib
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
        function: A ``tf.function`` with one input signature.
        outputs: The names for what it returns, in its order; the inputs keep their own names.

    Returns:
        The ``onnx.ModelProto``.

    Raises:
        ValueError: If it has operations that ONNX lacks.
    """
    import tf2onnx

    concrete = function.get_concrete_function()
    arguments = len(concrete.structured_input_signature[0])
    given = [tensor.name for tensor in concrete.inputs[:arguments]]  # variables follow
    with tempfile.TemporaryDirectory() as temporary:
        frozen = frozen_graph(function, Path(temporary)).read_bytes()
    # From the function itself, tf2onnx would turn the constants of the input scaling into inputs.
    with _silent("tensorflow", "tf2onnx"):
        model, _ = tf2onnx.convert.from_graph_def(
            tf.compat.v1.GraphDef.FromString(frozen),
            input_names=given,
            output_names=[output.name for output in concrete.outputs],
            opset=OPSET,
        )
    _require_known(model)
    names = {name: name.partition(":")[0] for name in given}
    names |= dict(zip((one.name for one in concrete.outputs), outputs, strict=True))
    graph = model.graph
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for value in (*graph.input, *graph.output):
        value.name = names[value.name]
    return model


@contextlib.contextmanager
def _silent(*names: str) -> Iterator[None]:
    """Keeps packages from warning of their own old functions, and of branches that are no LSTM."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _require_known(model: Any) -> None:
    """Refuses a graph in which TensorFlow's operations are left."""
    from onnx import defs

    known = {schema.name for schema in defs.get_all_schemas()}
    unknown = sorted({node.op_type for node in _nodes(model.graph)} - known)
    if unknown:
        raise ValueError(
            "the model, with its region of interest, must have operations that ONNX has. Got "
            f"{', '.join(unknown)}."
        )


def _nodes(graph: Any) -> Iterator[Any]:
    """Gives a graph's nodes, those of loops and of branches included."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)


def share_equal_weights(model: Any) -> None:
    """Keeps tensors of the same values once, as frozen layers of an ensemble's members have.

    A runtime that finds equal subexpressions then computes these layers once, too.

    Args:
        model: An ``onnx.ModelProto``.
    """
    kept: dict[tuple[Any, ...], str] = {}
    names: dict[str, str] = {}
    for tensor in list(model.graph.initializer):
        content = hashlib.sha256(tensor.raw_data or tensor.SerializeToString()).digest()
        known = (tensor.data_type, *tensor.dims, content)
        name = kept.setdefault(known, tensor.name)
        if name != tensor.name:
            names[tensor.name] = name
            model.graph.initializer.remove(tensor)
    for node in _nodes(model.graph):
        node.input[:] = [names.get(name, name) for name in node.input]


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
