"""Export of a finished run as a SavedModel for TF Serving: image bytes in, probabilities out."""

import csv
import datetime
import json
import logging
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerascxr import __version__
from kerascxr.config import ClassificationConfig
from kerascxr.data.ingest.folds import split_folds
from kerascxr.data.ingest.store import Store
from kerascxr.data.pipeline import encoded_examples
from kerascxr.data.roi import ROIS
from kerascxr.evaluation.calibration import apply_temperature
from kerascxr.models.saved import load_saved
from kerascxr.parsing import load_config
from kerascxr.runs.atomic import replace_folder
from kerascxr.runs.reading import UNCALIBRATED, Run, read_run
from kerascxr.serving.graph import Classifier, from_bytes, from_pixels
from kerascxr.serving.input_checks import QUANTILE, InputChecks
from kerascxr.training.inputs import open_run_store, read_splits
from kerascxr.training.lungs import choose_lungs, load_segmenter

logger = logging.getLogger(__name__)

TOLERANCE = 1e-5
_COMPARED = 16  # test images
_WARM_UP = (1, 8)  # batch sizes
_INTENDED_USE = (
    "Research, not diagnosis. Not a medical device. Scores hold for images like those of the data "
    "named here."
)


def export_run(
    run_path: Path,
    to: Path,
    segmentation: Path | None = None,
) -> Path:
    """Exports a classifier, with a U-Net if there is one, as ``to/<version>/``.

    Args:
        run_path: A finished classification run.
        to: The model's folder; the version is the next number there, from 1.
        segmentation: A finished segmentation run, for lung masks. A classifier with a region of
            interest that needs the lungs requires one; the default is the one of its training, or
            the package's lung model if that used the masks of the source.

    Returns:
        The version's folder. It is written only if the reloaded SavedModel reproduces the run's
        calibrated probabilities for test images to ``TOLERANCE``. If the lungs of the training came
        from another source, it must reproduce those that Keras computes with this U-Net.

    Raises:
        ValueError: If a run is not finished or of another task, its images are missing or have
            changed (their split included), or the probabilities differ.
    """
    run = read_run(run_path, "classification")
    config = load_config(ClassificationConfig, run_path / "config.yaml")
    store = open_run_store(run, config.data)
    samples = _test_files(run, config, store)
    classes = run.metrics["test"]["classes"]
    model = load_saved(run_path / "model.keras")
    roi = ROIS[config.roi]
    if roi.needs_lungs:
        segmentation = choose_lungs(segmentation or config.lungs)
    segmenter = load_segmenter(segmentation) if segmentation else None
    height, width = config.image_size
    splits = read_splits(config, store)
    pool = tf.function(Classifier(model, classes).pool, reduce_retracing=True)
    checks = InputChecks.fit(pool, splits["train"], splits["validation"], config.roi == "none")
    classifier = Classifier(model, classes, checks, run.temperature)
    serve = from_bytes(classifier, (height, width), segmenter, config.roi)
    expected = apply_temperature(np.stack([known for _, known in samples]), run.temperature)
    files_of_samples = [data for data, _ in samples]
    if roi.needs_lungs and not _same(segmentation, config.lungs):
        by_masks = expected
        given = tf.function(serve)(tf.constant(files_of_samples))
        expected = given["probabilities"].numpy().astype(np.float64)
        logger.info(
            "The lung masks of the training came from another source: probabilities differ from "
            f"the run's by {np.abs(expected - by_masks).mean():.3f} on average."
        )

    versions = [int(path.name) for path in to.glob("*") if path.name.isdigit()]
    place = to / str(max(versions, default=0) + 1)
    logger.info(f"Exporting {run.name} to {place}.")

    def fill(folder: Path) -> None:
        archive = keras.export.ExportArchive()
        archive.track(model)
        if segmenter:
            archive.track(segmenter.model)
        files = tf.TensorSpec((None,), tf.string, name="images")
        pixels = tf.TensorSpec((None, height, width, 1), tf.float32, name="images")
        archive.add_endpoint("serving_default", serve, [files])
        archive.add_endpoint(
            "pixels", from_pixels(classifier, (height, width), segmenter, config.roi), [pixels]
        )
        archive.write_out(str(folder), verbose=False)
        (folder / "labels.txt").write_text("\n".join(classes) + "\n", encoding="utf-8")
        description = json.dumps(_describe(run, config, segmentation, checks), indent=2)
        (folder / "metadata.json").write_text(description + "\n", encoding="utf-8")
        difference = _compare(folder, files_of_samples, expected, classes, run.temperature)
        logger.info(
            f"The reloaded export reproduces the run's probabilities of {len(samples)} test "
            f"images: largest difference {difference:.1e}."
        )
        _write_warm_up(folder, to.name, files_of_samples)

    replace_folder(place, fill, "export")
    logger.info(f"Written to {place}")
    return place


def _same(one: Path | None, other: Path | None) -> bool:
    return one is not None and other is not None and one.resolve() == other.resolve()


def _test_files(
    run: Run, config: ClassificationConfig, store: Store
) -> list[tuple[bytes, np.ndarray]]:
    """Returns some test images as the store has them, with the run's uncalibrated probabilities."""
    with (run.path / "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    chosen = set(sorted(rows)[:: max(1, len(rows) // _COMPARED)][:_COMPARED])
    encoded = encoded_examples(store, split_folds(config.split)["test"])
    names = run.metrics["test"]["classes"]
    samples = []
    for example in encoded.as_numpy_iterator():
        name = example["id"].decode()
        if name in chosen:
            expected = [float(rows[name][f"{UNCALIBRATED} {kind}"]) for kind in names]
            samples.append((example["image"], np.array(expected)))
    return samples


def _compare(
    folder: Path,
    files: list[bytes],
    expected: np.ndarray,
    classes: list[str],
    temperature: float,
) -> float:
    loaded = tf.saved_model.load(str(folder))
    given = loaded.signatures["serving_default"](images=tf.constant(files))
    difference = float(np.abs(given["probabilities"].numpy() - expected).max())
    labels = [label.decode() for label in given["labels"].numpy()[0]]
    # A temperature below 1 enlarges the logits' rounding errors.
    allowed = TOLERANCE * max(1.0, 1 / temperature)
    if not difference <= allowed or labels != classes:
        raise ValueError(
            f"the export must reproduce the run's probabilities to {allowed:g}. Got a difference "
            f"of {difference:.2g}; nothing was written."
        )
    return difference


def _write_warm_up(folder: Path, name: str, files: list[bytes]) -> None:
    """Writes the requests that TF Serving runs before it reports that it is ready."""
    from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_log_pb2

    place = folder / "assets.extra"
    place.mkdir()
    with tf.io.TFRecordWriter(str(place / "tf_serving_warmup_requests")) as writer:
        for size in _WARM_UP:
            batch = [files[index % len(files)] for index in range(size)]
            request = predict_pb2.PredictRequest(
                model_spec=model_pb2.ModelSpec(name=name, signature_name="serving_default"),
                inputs={"images": tf.make_tensor_proto(batch)},
            )
            log = prediction_log_pb2.PredictLog(request=request)
            writer.write(prediction_log_pb2.PredictionLog(predict_log=log).SerializeToString())


def _describe(
    run: Run,
    config: ClassificationConfig,
    segmentation: Path | None,
    checks: InputChecks,
) -> dict[str, Any]:
    classes = run.metrics["test"]["classes"]
    n, (height, width) = len(classes), config.image_size

    def tensor(kind: str, shape: list[int | None], meaning: str) -> dict[str, Any]:
        return {"type": kind, "shape": shape, "meaning": meaning}

    outputs = {
        "probabilities": tensor(
            "float32", [None, n], "of each class, 0..1, summing to 1, after the temperature"
        ),
        "label": tensor("string", [None], "the most probable class"),
        "labels": tensor("string", [None, n], "the classes, in the order of probabilities"),
        "warnings": tensor(
            "string",
            [None],
            f"of the input checks, joined by '; ', or '': {', '.join(checks.kinds)}. The third is "
            f"an out-of-distribution score above {checks.ood_detector.limit:.3f}, which "
            f"{1 - QUANTILE:.0%} of the validation images have",
        ),
    }
    lungs = {
        "lung_mask_bytes": tensor("string", [None], "a PNG of 0 and 255, at the image's own size"),
        "lung_fraction": tensor("float32", [None], "the share of the image that is lung, 0..1"),
    }
    test = run.metrics["test"]
    return {
        "name": run.name,
        "task": "classification",
        "made_by": f"kerascxr {__version__}",
        "made_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "intended_use": _INTENDED_USE,
        "signatures": {
            "serving_default": {
                "inputs": {
                    "images": tensor(
                        "string",
                        [None],
                        "an image file's bytes: PNG of up to 16 bits, JPEG or BMP; any size; grey, "
                        "colour or transparent. An EXIF orientation is applied.",
                    )
                },
                "outputs": outputs | (lungs if segmentation else {}),
            },
            "pixels": {
                "inputs": {
                    "images": tensor(
                        "float32", [None, height, width, 1], "grey values, 0 (black) to 255"
                    )
                },
                "outputs": outputs,
            },
        },
        "classes": classes,
        "temperature": {
            "value": run.temperature,
            "meaning": "probabilities are softmax(logits / value), so that confidence agrees with "
            "accuracy; the label is the same at every value. The run's predictions.csv has "
            "probabilities before it as 'uncalibrated probability'",
            "fitted_on": run.metrics.get("calibration", {}).get("fitted_on"),
        },
        "weights": run.environment["weights"],
        "packages": run.environment["packages"],
        "data": run.metrics["data"],
        "data_fingerprint": run.environment["data_fingerprint"],
        "test_metrics": {
            name: test[name] for name in ("n", "accuracy", "precision", "recall", "f1", "auc")
        },
        "segmentation": str(segmentation) if segmentation else None,
        "input_region": ROIS[config.roi].description,
    }
