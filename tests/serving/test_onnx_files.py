"""Weights of ONNX files in 16 bits."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from kerascxr.serving import onnx_files  # noqa: E402


def model_of(weights, kind):
    from onnx import TensorProto, helper, numpy_helper

    shape = [1, weights.shape[1], 4, 4] if kind == "Conv" else [3, weights.shape[0]]
    graph = helper.make_graph(
        [helper.make_node(kind, ["x", "w"], ["y"])],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weights, "w")],
    )
    opset = [helper.make_opsetid("", onnx_files.OPSET)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8), shape


@pytest.mark.parametrize("kind, shape", [("Conv", (64, 64, 3, 3)), ("MatMul", (200, 100))])
def test_weights_take_half_the_bytes_and_hardly_change(kind, shape):
    random = np.random.default_rng(0)
    weights = random.normal(size=shape).astype(np.float32)
    weights *= (
        (10.0 ** random.uniform(-3, 3, shape[0 if kind == "Conv" else -1]))
        .reshape((-1, 1, 1, 1) if kind == "Conv" else (1, -1))
        .astype(np.float32)
    )  # channels of very different scales
    weights[0 if kind == "Conv" else (slice(None), 0)] = 0
    model, of = model_of(weights, kind)
    x = random.normal(size=of).astype(np.float32)

    def run():
        whole = model.SerializeToString()
        session = onnxruntime.InferenceSession(whole, providers=["CPUExecutionProvider"])
        return len(whole), session.run(None, {"x": x})[0]

    size, before = run()
    onnx_files.store_in_16_bits(model)
    smaller, after = run()
    assert smaller < 0.55 * size
    axes = (0, 2, 3) if kind == "Conv" else (0,)
    scale = np.abs(before).max(axis=axes, keepdims=True) + 1e-9
    assert (np.abs(after - before) / scale).max() < 2e-4


def test_small_weights_stay_as_they_are():
    model, _ = model_of(np.ones((10, 10), np.float32), "MatMul")
    before = model.SerializeToString()
    onnx_files.store_in_16_bits(model)
    assert model.SerializeToString() == before
