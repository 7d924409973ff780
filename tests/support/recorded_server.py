"""TF Serving's two interfaces in front of a signature: its forms of request and answer."""

import base64
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2


def _plain(name: str, value: Any) -> Any:
    """Returns a value as JSON has it: text must be UTF-8, unless its name says that it is bytes."""
    if isinstance(value, list):
        return [_plain(name, item) for item in value]
    if isinstance(value, bytes):
        bytes_named = name.endswith("_bytes")
        return {"b64": base64.b64encode(value).decode()} if bytes_named else value.decode("utf-8")
    return value


def answer_rest(signature: Callable, body: bytes) -> bytes:
    """Answers a REST request, in the row format ("instances") or the column format ("inputs")."""
    asked = json.loads(body)
    rows = asked["instances"] if "instances" in asked else asked["inputs"]["images"]
    batch = [base64.b64decode(row["b64"], validate=True) for row in rows]
    given = signature(images=tf.constant(batch))
    columns = {name: _plain(name, value.numpy().tolist()) for name, value in given.items()}
    if "inputs" in asked:
        return json.dumps({"outputs": columns}).encode()
    each = [{name: columns[name][row] for name in columns} for row in range(len(rows))]
    return json.dumps({"predictions": each}).encode()


def answer_grpc(signature: Callable, request: bytes) -> bytes:
    """Answers a PredictRequest with a PredictResponse, both as they travel."""
    asked = predict_pb2.PredictRequest.FromString(request)
    given = signature(images=tf.constant(tf.make_ndarray(asked.inputs["images"])))
    response = predict_pb2.PredictResponse()
    for name, value in given.items():
        response.outputs[name].CopyFrom(tf.make_tensor_proto(np.asarray(value)))
    return response.SerializeToString()
