"""Requests predictions for X-rays from a served model, over REST or gRPC.

python examples/serving/client.py IMAGE...            # REST, http://localhost:8501
python examples/serving/client.py --grpc IMAGE...     # gRPC, localhost:8500

REST needs nothing but Python; gRPC needs grpcio and tensorflow-serving-api.
"""

import argparse
import base64
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

MODEL = "chest"


class Answer(NamedTuple):
    """The answer for one image.

    Attributes:
        label: The most probable class.
        probabilities: Class names to calibrated probabilities, 0..1.
        decision: The same, or "not decided".
        prediction_set: The classes that are possible, joined by "; ".
        ood_score: How unlike the training images the image is.
        warnings: Why nothing was decided, joined by "; ", or "".
        lung_fraction: The share of the image that is lung, 0..1; None if the model has no U-Net.
    """

    label: str
    probabilities: dict[str, float]
    decision: str
    prediction_set: str
    ood_score: float
    warnings: str
    lung_fraction: float | None


def rest_request(files: Sequence[bytes]) -> dict:
    """Returns the body of a REST request, in the row format."""
    return {"instances": [{"b64": base64.b64encode(data).decode("ascii")} for data in files]}


def ask_rest(host: str, files: Sequence[bytes]) -> list[Answer]:
    """Returns the answers over REST, in the order of the files."""
    request = urllib.request.Request(
        f"http://{host}/v1/models/{MODEL}:predict",
        json.dumps(rest_request(files)).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            rows = json.load(answer)["predictions"]
    except urllib.error.HTTPError as error:
        sys.exit(f"{host} answered {error.code}: {error.read().decode(errors='replace')}")
    except OSError as error:
        sys.exit(f"No server answers at {host} ({error}). Start it with compose.yaml.")
    return [
        Answer(
            row["label"],
            dict(zip(row["labels"], row["probabilities"], strict=True)),
            row["decision"],
            row["prediction_set"],
            row["ood_score"],
            row["warnings"],
            row.get("lung_fraction"),
        )
        for row in rows
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


def ask_grpc(host: str, files: Sequence[bytes]) -> list[Answer]:
    """Returns the answers over gRPC, in the order of the files."""
    import grpc
    from tensorflow_serving.apis import prediction_service_pb2_grpc

    with grpc.insecure_channel(host) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        return grpc_answers(stub.Predict(grpc_request(files), timeout=60))


def grpc_answers(response) -> list[Answer]:
    """Returns the answers in a PredictResponse."""
    import tensorflow as tf

    found = {name: tf.make_ndarray(value) for name, value in response.outputs.items()}
    fractions = found.get("lung_fraction", [None] * len(found["label"]))
    return [
        Answer(
            label.decode(),
            {name.decode(): float(p) for name, p in zip(names, row, strict=True)},
            decision.decode(),
            possible.decode(),
            float(score),
            warnings.decode(),
            None if fraction is None else float(fraction),
        )
        for label, names, row, decision, possible, score, warnings, fraction in zip(
            found["label"],
            found["labels"],
            found["probabilities"],
            found["decision"],
            found["prediction_set"],
            found["ood_score"],
            found["warnings"],
            fractions,
            strict=True,
        )
    ]


def describe(answer: Answer) -> str:
    """Returns an answer in one line."""
    shown = ", ".join(f"{name} {value:.3f}" for name, value in answer.probabilities.items())
    text = f"{answer.decision} ({shown}; out-of-distribution score {answer.ood_score:.2f})"
    if answer.lung_fraction is not None:
        text += f", lung {answer.lung_fraction:.0%} of the image"
    if answer.warnings:
        text += f", possible: {answer.prediction_set}, WARNING: {answer.warnings}"
    return text


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
    for path, answer in zip(arguments.images, answers, strict=True):
        print(f"{path}: {describe(answer)}")


if __name__ == "__main__":
    main()
