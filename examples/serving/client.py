"""Requests predictions for X-rays from a served model, over REST or gRPC.

python examples/serving/client.py IMAGE...            # REST, http://localhost:8501
python examples/serving/client.py --grpc IMAGE...     # gRPC, localhost:8500

REST needs nothing but Python; gRPC needs grpcio and tensorflow-serving-api.
"""

import argparse
import base64
import json
import urllib.request
from collections.abc import Sequence
from pathlib import Path

MODEL = "chest"


def rest_request(files: Sequence[bytes]) -> dict:
    """Returns the body of a REST request, in the row format."""
    return {"instances": [{"b64": base64.b64encode(data).decode("ascii")} for data in files]}


def ask_rest(host: str, files: Sequence[bytes]) -> list[tuple[str, dict[str, float]]]:
    """Returns each image's class and probabilities."""
    request = urllib.request.Request(
        f"http://{host}/v1/models/{MODEL}:predict",
        json.dumps(rest_request(files)).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        rows = json.load(answer)["predictions"]
    return [
        (row["label"], dict(zip(row["labels"], row["probabilities"], strict=True))) for row in rows
    ]


def grpc_request(files: Sequence[bytes]):
    """Returns a PredictRequest."""
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name = MODEL
    request.model_spec.signature_name = "serving_default"
    request.inputs["images"].CopyFrom(tf.make_tensor_proto(list(files)))
    return request


def ask_grpc(host: str, files: Sequence[bytes]) -> list[tuple[str, dict[str, float]]]:
    """Returns each image's class and probabilities."""
    import grpc
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_service_pb2_grpc

    with grpc.insecure_channel(host) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        outputs = stub.Predict(grpc_request(files), timeout=60).outputs
    found = {name: tf.make_ndarray(value) for name, value in outputs.items()}
    return [
        (label.decode(), {name.decode(): float(p) for name, p in zip(names, row, strict=True)})
        for label, names, row in zip(
            found["label"], found["labels"], found["probabilities"], strict=True
        )
    ]


def main() -> None:
    """Requests the predictions and prints them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("images", type=Path, nargs="+")
    parser.add_argument("--grpc", action="store_true")
    parser.add_argument("--host", help="by default localhost:8501, with --grpc localhost:8500")
    arguments = parser.parse_args()
    files = [path.read_bytes() for path in arguments.images]
    if arguments.grpc:
        answers = ask_grpc(arguments.host or "localhost:8500", files)
    else:
        answers = ask_rest(arguments.host or "localhost:8501", files)
    for path, (label, probabilities) in zip(arguments.images, answers, strict=True):
        shown = ", ".join(f"{name} {value:.3f}" for name, value in probabilities.items())
        print(f"{path}: {label} ({shown})")


if __name__ == "__main__":
    main()
