"""A finished run in other formats than a SavedModel, with a table of their accuracy and cost."""

import dataclasses
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from kerascxr.config import ClassificationConfig
from kerascxr.data.pipeline import Images, epoch_order
from kerascxr.data.roi import ROIS
from kerascxr.evaluation.classification import evaluate
from kerascxr.models.saved import load_saved
from kerascxr.parsing import load_config
from kerascxr.runs.atomic import replace_folder, write_json
from kerascxr.runs.reading import read_run
from kerascxr.serving.formats import Format, Run, find_format
from kerascxr.serving.graph import Classifier
from kerascxr.tables import markdown_table, text_table
from kerascxr.training.inputs import open_run_store, read_splits

logger = logging.getLogger(__name__)

_CALIBRATION = 200  # training images
_REPEATS = 50
_BATCH = 32


@dataclass(frozen=True)
class Measured:
    """The accuracy and the cost of a format.

    Attributes:
        name: "keras" or a format.
        difference: The largest difference of a probability to Keras', over the test images.
        scores: The dict from ``evaluate``.
        megabytes: Size on disk, in MiB.
        milliseconds: Median and 95th percentile for one image, from pixels to probabilities.
    """

    name: str
    difference: float
    scores: dict[str, Any]
    megabytes: float
    milliseconds: tuple[float, float]


def export_formats(run_path: Path, to: Path, names: Sequence[str]) -> Path:
    """Writes a classifier in other formats, each measured on the whole test set.

    Args:
        run_path: A finished classification run.
        to: The model's folder; the formats are written to ``to/formats``, which is replaced.
        names: Keys of ``FORMATS``.

    Returns:
        The folder: one file per format, labels.txt, and the table as formats.md and formats.json.

    Raises:
        ValueError: If the run is not a finished one, a format is unknown, a package is missing, a
            conversion fails, or a format's probabilities or accuracy differ from Keras' by more
            than it allows. Nothing is written then.
    """
    formats = {name: find_format(name) for name in names}
    run = read_run(run_path, "classification")
    config = load_config(ClassificationConfig, run_path / "config.yaml")
    if config.roi != "none":
        raise ValueError(
            "these formats hold a classifier alone, without a model for the lungs. Got "
            f"{run_path}, which was trained on {ROIS[config.roi].description}; export it as "
            "saved_model."
        )
    splits = read_splits(config, open_run_store(run, config.data))
    classes = tuple(run.metrics["test"]["classes"])
    classifier = Classifier(
        load_saved(run_path / "model.keras"), classes, temperature=run.temperature
    )
    train, test = splits["train"], splits["test"]
    order = np.sort(epoch_order(train.labels, config.runtime.seed, 0)[:_CALIBRATION])
    spec = tf.TensorSpec((None, *config.image_size, 1), tf.float32, name="images")

    @tf.function(input_signature=[spec])
    def probabilities(images: tf.Tensor) -> tf.Tensor:
        return tf.identity(classifier.answer(images)["probabilities"], name="probabilities")

    def in_keras(images: np.ndarray) -> np.ndarray:
        return probabilities(tf.constant(images)).numpy()

    def fill(folder: Path) -> None:
        first, expected = measure("keras", in_keras, None, test, run_path / "model.keras")
        rows = [first]
        for name, form in formats.items():
            logger.info(f"Converting to {name}.")
            path = folder / form.file
            try:
                form.convert(probabilities, train.pixels[order], path)
            except Exception as error:  # each library raises errors of its own
                reason = " ".join(str(error).split())[:200]
                raise ValueError(f"{name} cannot hold this model ({reason}).") from error
            row, _ = measure(name, form.load(path), expected, test, path)
            check(row, form, first, run.temperature)
            rows.append(row)
        header, cells = _table(rows)
        logger.info(f"\n{text_table(header, cells)}\n")
        (folder / "formats.md").write_text(markdown_table(header, cells) + "\n", encoding="utf-8")
        write_json(folder / "formats.json", [dataclasses.asdict(row) for row in rows])
        (folder / "labels.txt").write_text("\n".join(classes) + "\n", encoding="utf-8")

    replace_folder(to / "formats", fill, "export formats")
    logger.info(f"Written to {to / 'formats'}")
    return to / "formats"


def measure(
    name: str, run: Run, expected: np.ndarray | None, test: Images, path: Path
) -> tuple[Measured, np.ndarray]:
    """Runs a format on test images.

    Args:
        name: The format.
        run: A function that runs it.
        expected: Keras' probabilities, float (n, n_classes); None for Keras itself.
        test: The n images.
        path: The format's file; the size includes OpenVINO's .bin beside it.

    Returns:
        The measurement, and the probabilities, float (n, n_classes).
    """
    images = test.pixels
    given = np.concatenate(
        [
            run(images[begin : begin + _BATCH].astype(np.float32))
            for begin in range(0, len(images), _BATCH)
        ]
    )
    times = []
    for index in range(_REPEATS):
        one = images[index % len(images)][None].astype(np.float32)
        started = time.perf_counter()
        run(one)
        times.append(1000 * (time.perf_counter() - started))
    files = [path, path.with_suffix(".bin")]
    size = sum(item.stat().st_size for item in files if item.exists()) / 2**20
    difference = 0.0 if expected is None else float(np.abs(given - expected).max())
    sums = given.sum(axis=1, keepdims=True)
    scores = evaluate(test.labels, given / sums, test.classes)  # int8's sums differ from 1
    middle, late = np.percentile(times, [50, 95])
    return Measured(name, difference, scores, size, (float(middle), float(late))), given


def check(row: Measured, form: Format, in_keras: Measured, temperature: float) -> None:
    """Checks that a format is as exact as it must be.

    Raises:
        ValueError: If it is not.
    """
    # A temperature below 1 enlarges the rounding errors of the logits.
    most = (1.0 if form.tolerance is None else form.tolerance) * max(1.0, 1 / temperature)
    if not row.difference <= most:
        raise ValueError(
            f"{row.name} must give Keras' probabilities to {most:g}. Got a "
            f"difference of {row.difference:.2g}; nothing was written."
        )
    accuracy, before = row.scores["accuracy"], in_keras.scores["accuracy"]
    if form.most_lost is not None and not before - accuracy <= form.most_lost:
        raise ValueError(
            f"{row.name} must keep the test accuracy to {form.most_lost:g}. Got "
            f"{accuracy:.4f} where Keras has {before:.4f}; nothing was written."
        )


def _table(rows: list[Measured]) -> tuple[list[str], list[list[Any]]]:
    """Returns header and cells of the table; changes are relative to the first row."""
    header = ["format", "largest difference", "accuracy", "change", "AUC", "change"]
    header += ["MiB", "p50 ms", "p95 ms"]
    first = rows[0].scores
    return header, [
        [
            row.name,
            f"{row.difference:.1e}",
            row.scores["accuracy"],
            f"{row.scores['accuracy'] - first['accuracy']:+.4f}",
            row.scores["auc"],
            f"{row.scores['auc'] - first['auc']:+.4f}",
            f"{row.megabytes:.1f}",
            f"{row.milliseconds[0]:.1f}",
            f"{row.milliseconds[1]:.1f}",
        ]
        for row in rows
    ]
