"""A finished run in other forms than a SavedModel, with a table of what each changes and costs."""

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from kerascxr.config import ClassificationConfig
from kerascxr.data.pipeline import epoch_order
from kerascxr.data.roi import ROIS
from kerascxr.models.saved import load_saved
from kerascxr.parsing import load_config
from kerascxr.runs.atomic import replace_folder, write_json
from kerascxr.runs.reading import read_run
from kerascxr.serving.formats import (
    MOST_LOST,
    TOLERANCE,
    Format,
    Measured,
    check_installed,
    convert,
    load,
    measure,
    table,
)
from kerascxr.serving.graph import Classifier
from kerascxr.tables import markdown_table, text_table
from kerascxr.training.inputs import open_run_store, read_splits

logger = logging.getLogger(__name__)

_CALIBRATION = 200  # training images


def export_formats(
    run_path: Path,
    to: Path,
    names: Sequence[Format],
) -> Path:
    """Writes a classifier in other forms, each measured on the whole test set.

    Args:
        run_path: A finished classification run.
        to: The model's folder; the forms go into ``to/forms``, which is replaced.
        names: Which forms.

    Returns:
        The folder, with a file a form, labels.txt, and the table as formats.md and formats.json.

    Raises:
        ValueError: If the run is none, a package is missing, a conversion fails, or a form's
            answers differ from Keras' by more than they may; nothing is written then.
    """
    for name in names:
        check_installed(name)
    run = read_run(run_path, "classification")
    config = load_config(ClassificationConfig, run_path / "config.yaml")
    if config.roi != "none":
        raise ValueError(
            f"other forms hold a classifier alone, without what finds the lungs. Got {run_path}, "
            f"which sees {ROIS[config.roi].description}; export it as saved_model."
        )
    splits = read_splits(config, open_run_store(run, config.data))
    classes = tuple(run.metrics["test"]["classes"])
    model = load_saved(run_path / "model.keras")
    classifier = Classifier(model, classes, temperature=run.temperature)
    train, test = splits["train"], splits["test"]
    order = np.sort(epoch_order(train.labels, config.runtime.seed, 0)[:_CALIBRATION])
    traced = tf.function(classifier.answer, reduce_retracing=True)
    data = (test.pixels, test.labels, classes)

    def in_keras(images: np.ndarray) -> np.ndarray:
        return traced(tf.constant(images))["probabilities"].numpy()

    def fill(folder: Path) -> None:
        keras_file = run_path / "model.keras"
        first, expected = measure("keras", in_keras, None, *data, keras_file)
        rows = [first]
        for name in names:
            logger.info(f"Converting to {name}.")
            try:
                path = convert(classifier, config.image_size, name, train.pixels[order], folder)
            except Exception as error:  # each library raises of its own kind
                reason = " ".join(str(error).split())[:200]
                raise ValueError(f"{name} cannot hold this model ({reason}).") from error
            row, _ = measure(name, load(path), expected, *data, path)
            _check(row, first, run.temperature)
            rows.append(row)
        header, cells = table(rows)
        logger.info(f"\n{text_table(header, cells)}\n")
        (folder / "formats.md").write_text(markdown_table(header, cells) + "\n", encoding="utf-8")
        write_json(folder / "formats.json", [dataclasses.asdict(row) for row in rows])
        (folder / "labels.txt").write_text("\n".join(classes) + "\n", encoding="utf-8")

    replace_folder(to / "formats", fill)
    logger.info(f"Written to {to / 'formats'}")
    return to / "formats"


def _check(row: Measured, in_keras: Measured, temperature: float) -> None:
    # A temperature below 1 enlarges the logits' rounding errors.
    most = TOLERANCE.get(row.name, 1.0) * max(1.0, 1 / temperature)
    if not row.difference <= most:
        raise ValueError(
            f"{row.name} must give Keras' probabilities to {most:g}. Got a "
            f"difference of {row.difference:.2g}; nothing was written."
        )
    accuracy, before = row.scores["accuracy"], in_keras.scores["accuracy"]
    if row.name in MOST_LOST and before - accuracy > MOST_LOST[row.name]:
        raise ValueError(
            f"{row.name} must keep the test accuracy to {MOST_LOST[row.name]:g}. Got "
            f"{accuracy:.4f} where Keras has {before:.4f}, so this model does not "
            "survive it; nothing was written."
        )
