"""Predictions for files and folders, written as a table; a killed call is resumed."""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from kerascxr.data.files import ImageFileError, read_grey
from kerascxr.data.graphs import do_not_convert
from kerascxr.data.images import resize_image, to_backbone_input
from kerascxr.data.remote import RemoteError, fetched_once, join
from kerascxr.evaluation.conformal import least_images
from kerascxr.models.gradcam import GradCAM
from kerascxr.plots.heat import heat_overlay
from kerascxr.runs.abstention_tables import in_every_set_note
from kerascxr.runs.atomic import replacing
from kerascxr.runs.reading import CALIBRATED
from kerascxr.serving.files import derived_name
from kerascxr.serving.predicted_rows import (
    PredictedRows,
    Rows,
    TableKind,
    check_table,
    write_rows,
)
from kerascxr.serving.predictors import Answer, LungFinder, Predictor, digest_of
from kerascxr.serving.saved_rows import ERROR, PATH
from kerascxr.serving.shards import WHOLE, Shard
from kerascxr.training.runtime import versions

logger = logging.getLogger(__name__)

_BATCH = 32
_FILES_BATCH = 8  # of images at their own size, which take more memory
_READERS = os.cpu_count() or 1  # tf.data's own choice was at times one reader, a fifth as fast
_TEXTS = (
    "path",
    "predicted",
    "decision",
    "prediction_set",
    "warnings",
)  # columns that are not numbers
Grey = np.ndarray


def predict_files(
    predictor: Predictor,
    files: Sequence[Path],
    to: Path,
    *,
    lungs: LungFinder | None = None,
    overlays: Path | None = None,
    shard: Shard = WHOLE,
) -> list[tuple[str, str]]:
    """Writes a table of predictions, one row per file.

    Columns: ``path``; ``predicted``, the most probable class; ``probability <class>``, calibrated,
    0..1; then ``decision`` (the class or "not decided"), ``prediction_set`` and ``warnings`` (the
    classes that are possible, and why nothing was decided, each joined by "; ") and ``ood_score``;
    and, if the model is an export with a U-Net, ``lung_fraction`` (0..1). ``lungs`` adds or
    replaces ``lung_fraction``.

    Each finished batch is saved beside ``to``. A later call with the same model continues there;
    it reads again what could not be read and what has changed.

    Args:
        predictor: The model.
        files: The images.
        to: The table, .csv or .parquet.
        lungs: A U-Net for ``lung_fraction``; None leaves it to the export.
        overlays: A folder for pictures of each image with its class's Grad-CAM; None draws none.
        shard: Which of the images to predict; its table has the name ``shard.named(to)``.

    Returns:
        The files that could not be read: path and reason. They have no row.

    Raises:
        ValueError: If ``to`` has another suffix, or the model has no Grad-CAM for overlays.
    """
    check_table(to)
    made = classifier_rows(predictor, lungs, overlays)
    return write_rows(made.kind, made.compute, files, to, shard)


def classifier_rows(
    predictor: Predictor, lungs: LungFinder | None, overlays: Path | None
) -> PredictedRows:
    """Returns what computes the rows of ``predict_files``.

    Raises:
        ValueError: If the model has no Grad-CAM for overlays.
    """
    if overlays and predictor.keras_model is None:
        raise ValueError(
            "overlays need one run's folder, and a run on the full image. "
            f"Got {predictor.name}, which has no Grad-CAM."
        )
    camera = None
    if overlays and predictor.keras_model:
        camera = tf.function(
            GradCAM(predictor.keras_model).maps, reduce_retracing=True, autograph=False
        )
    extras = list(predictor.extras)
    if lungs and "lung_fraction" not in extras:
        extras.append("lung_fraction")
    probabilities = [f"{CALIBRATED} {name}" for name in predictor.classes]

    def compute(files: list[Path]) -> Iterator[Rows]:
        for paths, errors, sizes, small, large in _batches(files, predictor, lungs):
            answer = dict(predictor.predict(tf.constant(small), tf.constant(sizes)))
            if lungs:
                answer["lung_fraction"] = lungs.fractions(tf.constant(large, tf.float32))
            rows = _rows(paths, errors, answer, predictor.classes, extras)
            if overlays and camera:
                _draw(paths, errors, small, rows, overlays, camera, predictor)
            yield rows

    kind = TableKind(
        _identity(predictor, lungs, overlays),
        (PATH, ERROR, "predicted", *probabilities, *extras),
        _TEXTS,
        _batch_size(predictor),
        in_every_set_note(predictor.in_every_set, least_images()) or "",
    )
    return PredictedRows(kind, compute)


def _identity(predictor: Predictor, lungs: LungFinder | None, overlays: Path | None) -> str:
    folder = overlays and str(overlays.absolute())
    return digest_of([versions(), predictor.identity, lungs and lungs.identity, folder])


def _batch_size(predictor: Predictor) -> int:
    return _FILES_BATCH if predictor.takes_files else _BATCH


def _batches(
    files: list[Path], predictor: Predictor, lungs: LungFinder | None
) -> Iterator[tuple[list[str], list[str], np.ndarray, np.ndarray, np.ndarray]]:
    """Reads, checks and prepares images in parallel, ahead of the model, in order.

    Raises:
        RemoteError: If a server does not send a file: it may be whole.
    """
    wanted = lungs.size if lungs else (1, 1)
    failed: list[RemoteError] = []  # not raised in the graph, which would give it another type

    def read(name: bytes) -> tuple[np.ndarray, bytes]:
        try:
            with fetched_once():
                return read_grey(join(Path(), name.decode()))[..., None], b""
        except ImageFileError as error:
            return np.zeros((1, 1, 1), np.uint8), f"{error.problem}".encode()
        except RemoteError as error:
            failed.append(error)
            return np.zeros((1, 1, 1), np.uint8), b"was not sent"

    @do_not_convert
    def prepare(name: tf.Tensor) -> tuple[tf.Tensor, ...]:
        image, error = tf.numpy_function(read, [name], (tf.uint8, tf.string))
        image = tf.ensure_shape(image, (None, None, 1))
        own_size = tf.shape(image)[:2]
        return name, error, own_size, predictor.prepare(image), resize_image(image, wanted)

    data = tf.data.Dataset.from_tensor_slices(tf.constant([str(path) for path in files], tf.string))
    data = data.map(prepare, num_parallel_calls=_READERS)
    data = data.batch(_batch_size(predictor)).prefetch(2)
    for names, errors, *arrays in data.as_numpy_iterator():
        if failed:
            raise failed[0]
        yield [n.decode() for n in names], [e.decode() for e in errors], *arrays


def _rows(
    paths: list[str],
    errors: list[str],
    answer: Answer,
    classes: Sequence[str],
    extras: Sequence[str],
) -> Rows:
    rows = []
    for index, (path, error) in enumerate(zip(paths, errors, strict=True)):
        if error:
            rows.append([path, error, *[""] * (1 + len(classes) + len(extras))])
            continue
        values = answer["probabilities"][index]
        cells = [_cell(value) for value in (*values, *(answer[name][index] for name in extras))]
        rows.append([path, "", classes[int(values.argmax())], *cells])
    return rows


def _cell(value: bytes | np.floating) -> str:
    return value.decode() if isinstance(value, bytes) else repr(float(value))


def _draw(
    paths: list[str],
    errors: list[str],
    small: Grey,
    rows: list[list[Any]],
    folder: Path,
    camera: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    predictor: Predictor,
) -> None:
    labels = [predictor.classes.index(row[2]) if row[2] else 0 for row in rows]
    maps = camera(to_backbone_input(small), tf.constant(labels, tf.int32)).numpy()
    for path, error, image, heat in zip(paths, errors, small, maps, strict=True):
        if not error:
            with replacing(folder / derived_name(path, ".png")) as partial:
                Image.fromarray(heat_overlay(image[..., 0], heat)).save(partial)
