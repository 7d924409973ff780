"""What the exports of classifiers and of U-Nets share: versions, signatures, metadata, warm-up."""

import contextlib
import datetime
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from kerascxr import __version__
from kerascxr.data.ingest.store import Store
from kerascxr.data.pipeline import encoded_examples
from kerascxr.runs.atomic import disk_errors, replace_folder
from kerascxr.runs.locks import locked
from kerascxr.runs.reading import Run

logger = logging.getLogger(__name__)

IN_EVERY_SET = "in_every_prediction_set"
"""The entry of metadata.json with the classes that no prediction set excludes."""

Signature = tuple[Callable[[tf.Tensor], dict[str, tf.Tensor]], tf.TensorSpec]

_COMPARED = 16  # test images
_WARM_UP = (1, 8)  # batch sizes
_INTENDED_USE = (
    "Research, not diagnosis. Not a medical device. Scores hold for images like those of the data "
    "named here."
)


def publish(run: Run, to: Path, fill: Callable[[Path], None]) -> Path:
    """Writes the next version of an export whole or not at all.

    Args:
        run: The run that is exported.
        to: The model's folder; the version is the next number there, from 1.
        fill: Writes and checks the content of the version's folder.

    Returns:
        The version's folder.
    """
    with next_version(to) as place:
        logger.info(f"Exporting {run.name} to {place}.")
        replace_folder(place, fill, "export")
    logger.info(f"Written to {place}")
    return place


@contextlib.contextmanager
def next_version(to: Path) -> Iterator[Path]:
    """Gives the folder of a model's next version; no other process gets one while the block runs.

    Args:
        to: The model's folder, with versions 1, 2, ...

    Yields:
        ``to/<version>``, which does not exist.
    """
    with locked(to / ".export.lock", f"Another process is exporting to {to}; waiting for it."):
        versions = [int(path.name) for path in to.glob("*") if path.name.isdigit()]
        yield to / str(max(versions, default=0) + 1)


def write_model(
    folder: Path, models: Sequence[keras.Model], signatures: Mapping[str, Signature]
) -> None:
    """Writes a SavedModel.

    Args:
        folder: Where to.
        models: The Keras models that the signatures call.
        signatures: Name -> graph, from ``traced``, and input; the first one is the default.
    """
    archive = keras.export.ExportArchive()
    for model in models:
        archive.track(model)
    for name, (graph, spec) in signatures.items():
        archive.add_endpoint(name, _once(graph), [spec])
    with disk_errors(folder):
        archive.write_out(str(folder), verbose=False)


def _once(graph: Callable[[tf.Tensor], Any]) -> Callable[[tf.Tensor], Any]:
    """Returns a function that only calls a graph: Keras and TensorFlow trace it three times."""
    return lambda images: graph(images)


def files_spec() -> tf.TensorSpec:
    """Returns the input of a signature that takes image files' bytes."""
    return tf.TensorSpec((None,), tf.string, name="images")


def pixels_spec(size: tuple[int, int]) -> tf.TensorSpec:
    """Returns the input of a signature that takes grey values."""
    return tf.TensorSpec((None, *size, 1), tf.float32, name="images")


def some_of(ids: Sequence[str]) -> set[str]:
    """Returns the ids of the test images on which an export is compared with its run."""
    return set(sorted(ids)[:: max(1, len(ids) // _COMPARED)][:_COMPARED])


def examples_of(store: Store, folds: Sequence[int], ids: set[str]) -> list[dict[str, Any]]:
    """Returns some images of a store with their PNG files' bytes: see ``encoded_examples``."""
    encoded = encoded_examples(store, sorted(folds)).as_numpy_iterator()
    return [example for example in encoded if example["id"].decode() in ids]


def write_warm_up(folder: Path, name: str, files: Sequence[bytes]) -> None:
    """Writes the requests that TF Serving runs before it reports that it is ready."""
    from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_log_pb2

    place = folder / "assets.extra"
    place.mkdir()
    path = place / "tf_serving_warmup_requests"
    with disk_errors(path), tf.io.TFRecordWriter(str(path)) as writer:
        for size in _WARM_UP:
            batch = [files[index % len(files)] for index in range(size)]
            request = predict_pb2.PredictRequest(
                model_spec=model_pb2.ModelSpec(name=name, signature_name="serving_default"),
                inputs={"images": tf.make_tensor_proto(batch)},
            )
            log = prediction_log_pb2.PredictLog(request=request)
            writer.write(prediction_log_pb2.PredictionLog(predict_log=log).SerializeToString())


def tensor(kind: str, shape: list[int | None], meaning: str) -> dict[str, Any]:
    """Returns metadata.json's description of a tensor."""
    return {"type": kind, "shape": shape, "meaning": meaning}


def record_of(run: Run) -> dict[str, Any]:
    """Returns what metadata.json has of a run's training."""
    return {
        "weights": run.environment["weights"],
        "packages": run.environment["packages"],
        "data": run.metrics["data"],
        "data_fingerprint": run.environment["data_fingerprint"],
    }


def describe(
    run: Run,
    size: tuple[int, int],
    outputs: Mapping[str, Mapping[str, Any]],
    test_metrics: Sequence[str],
    more: Mapping[str, Any],
) -> dict[str, Any]:
    """Returns metadata.json.

    Args:
        run: The run that is exported.
        size: The (height, width) that the signature "pixels" takes.
        outputs: Signature -> output -> from ``tensor``.
        test_metrics: Which of the run's test metrics it holds.
        more: What only this kind of model has.
    """
    inputs = {
        "serving_default": tensor(
            "string",
            [None],
            "an image file's bytes: PNG of up to 16 bits, JPEG or BMP; any size; grey, "
            "colour or transparent. An EXIF orientation is applied.",
        ),
        "pixels": tensor("float32", [None, *size, 1], "grey values, 0 (black) to 255"),
    }
    return {
        "name": run.name,
        "task": run.task,
        "made_by": f"kerascxr {__version__}",
        "made_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "intended_use": _INTENDED_USE,
        "signatures": {
            name: {"inputs": {"images": given}, "outputs": outputs[name]}
            for name, given in inputs.items()
        },
        **more,
        **record_of(run),
        "test_metrics": {name: run.metrics["test"][name] for name in test_metrics},
    }
