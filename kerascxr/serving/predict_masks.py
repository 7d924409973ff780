"""Lung masks, overlays and a table of areas for files and folders; a killed call is resumed."""

import dataclasses
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from kerascxr.data.dicom import DicomError, open_dicom
from kerascxr.data.files import ImageFileError, is_dicom_file, read_grey, spacing_in
from kerascxr.data.images import resize_image
from kerascxr.data.remote import fetched_once, join
from kerascxr.evaluation.lung_areas import LungAreas, measure_lungs
from kerascxr.evaluation.lung_masks import lung_mask_faults
from kerascxr.models.input_checks import unfitted_warnings
from kerascxr.plots.overlay import overlay
from kerascxr.runs.atomic import replacing
from kerascxr.serving.dicom_seg import is_frontal, write_dicom_seg
from kerascxr.serving.files import derived_name
from kerascxr.serving.mask_predictors import MaskPredictor
from kerascxr.serving.predicted_rows import (
    LUNG_TABLE,
    PredictedRows,
    Rows,
    TableKind,
    check_folder,
    write_rows,
)
from kerascxr.serving.predictors import digest_of
from kerascxr.serving.saved_rows import ERROR, PATH
from kerascxr.serving.shards import WHOLE, Shard
from kerascxr.training.runtime import versions

MASKS, SEGMENTATIONS = "masks", "dicom_seg"

_BATCH = 8  # images at their own size wait for their masks
_AREAS = tuple(field.name for field in dataclasses.fields(LungAreas) if field.name != "components")
_SIDES = tuple(name for name in _AREAS if name.startswith(("right", "left")))
_COLUMNS = (
    *(PATH, ERROR, "mask", "dicom_seg"),
    *_AREAS,
    *("components_before_cleanup", "row_mm", "column_mm", "spacing_from", "warnings"),
)


@dataclasses.dataclass(frozen=True)
class _Folders:
    masks: Path
    overlays: Path | None
    segmentations: Path


@dataclasses.dataclass(frozen=True)
class _Item:
    path: str
    image: np.ndarray  # uint8 (height, width)
    small: tf.Tensor  # uint8 (*size, 1)
    is_dicom: bool = False
    error: str = ""


def predict_masks(
    predictor: MaskPredictor,
    files: Sequence[Path],
    to: Path,
    overlays: Path | None,
    shard: Shard = WHOLE,
) -> list[tuple[str, str]]:
    """Writes each image's lung mask, and a table with one row per image.

    ``to/masks/`` has a PNG of 0 and 255 for each image, at the image's own size; ``to/dicom_seg/``
    a DICOM SEG for each DICOM file; ``to/lungs.csv`` the table. Its columns:

    - ``path``; ``mask`` and ``dicom_seg``, those files.
    - ``lung_fraction``, the share of the image that is lung, 0..1; the area of both lungs, of the
      right and of the left one, in pixels and in square millimetres. Right and left are the
      patient's: the right lung is taken to be on the image's left, unless a DICOM file says that
      it is not; then these cells are empty.
    - ``components_before_cleanup``, the number of components before all but the two largest were
      removed, found on cells of 4x4 pixels of the U-Net's input. The warning about a mask's parts
      counts connected pixels of the finished mask: one component can consist of several parts.
    - ``row_mm`` and ``column_mm``, the distances of rows and columns, and ``spacing_from``, the
      DICOM attribute that they come from.
    - ``warnings``, joined by "; ".

    A cell is empty where a value is not known.

    Each finished batch is saved in ``to``. A later call with the same model continues there; it
    reads again what could not be read and what has changed.

    Args:
        predictor: The model.
        files: The images.
        to: The folder to write in.
        overlays: A folder for pictures of each image with its mask; None draws none.
        shard: Which of the images to predict; its table is ``shard.named(to / LUNG_TABLE)``.

    Returns:
        The files that could not be read: path and reason. They have no row.

    Raises:
        ValueError: If ``to`` is a file.
    """
    check_folder(to)
    made = mask_rows(predictor, to, overlays)
    return write_rows(made.kind, made.compute, files, to / LUNG_TABLE, shard)


def mask_rows(predictor: MaskPredictor, to: Path, overlays: Path | None) -> PredictedRows:
    """Returns what computes the rows of ``predict_masks``, and writes the files that they name."""
    folders = _Folders(to / MASKS, overlays, to / SEGMENTATIONS)

    def compute(files: list[Path]) -> Iterator[Rows]:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for items in _read_ahead(pool, files, predictor.size):
                rows = _rows(pool, predictor, items, folders)
                yield [[row.get(name, "") for name in _COLUMNS] for row in rows]

    return PredictedRows(TableKind(_identity(predictor, overlays), _COLUMNS, (), _BATCH), compute)


def _identity(predictor: MaskPredictor, overlays: Path | None) -> str:
    return digest_of([versions(), predictor.identity, overlays and str(overlays.absolute())])


def _read_ahead(
    pool: ThreadPoolExecutor, files: list[Path], size: tuple[int, int]
) -> Iterator[list[_Item]]:
    """Yields the images batch by batch, while the next batch is read."""
    batches = [files[begin : begin + _BATCH] for begin in range(0, len(files), _BATCH)]
    ahead: list[Future[_Item]] = []
    for batch in [*batches, []]:
        reading, ahead = ahead, [pool.submit(_read, path, size) for path in batch]
        if reading:
            yield [item.result() for item in reading]


def _read(path: Path, size: tuple[int, int]) -> _Item:
    try:
        with fetched_once():
            image, is_dicom = read_grey(path), is_dicom_file(path)
    except ImageFileError as error:
        nothing = np.zeros((1, 1), np.uint8)
        return _Item(str(path), nothing, tf.zeros((*size, 1), tf.uint8), error=error.problem)
    return _Item(str(path), image, resize_image(image[..., None], size), is_dicom)


def _rows(
    pool: ThreadPoolExecutor, predictor: MaskPredictor, items: list[_Item], folders: _Folders
) -> list[dict[str, str]]:
    """Writes a batch's files and returns its rows."""
    images = tf.cast(tf.stack([item.small for item in items]), tf.float32)
    probabilities, components = predictor.find(images)
    sizes = tf.constant([item.image.shape for item in items])
    warnings = unfitted_warnings(images, sizes).numpy()

    def write(place: int) -> dict[str, str]:
        item = items[place]
        if item.error:
            return {PATH: item.path, ERROR: item.error}
        mask = predictor.mask_at(probabilities[place], item.image.shape)
        with fetched_once():
            row = _write(item, mask, folders, predictor.identity)
        found = (warnings[place].decode(), row.get("warnings", ""))
        return row | {
            "components_before_cleanup": str(int(components[place])),
            "warnings": "; ".join(filter(None, found)),
        }

    return list(pool.map(write, range(len(items))))


def _write(item: _Item, mask: np.ndarray, folders: _Folders, model: str) -> dict[str, str]:
    """Writes an image's files and returns its row, in part."""
    path, name = join(Path(), item.path), derived_name(item.path, ".png")
    _save(255 * mask.astype(np.uint8), folders.masks / name)
    if folders.overlays:
        _save(overlay(item.image, mask), folders.overlays / name)
    warnings = [f"the mask {fault}" for fault in lung_mask_faults(mask)]
    spacing = spacing_in(path) if item.is_dicom else None
    row = {PATH: item.path, "mask": f"{MASKS}/{name}"}
    frontal = True
    if item.is_dicom:
        frontal = is_frontal(open_dicom(path, pixels=False))
        target = folders.segmentations / derived_name(item.path, ".dcm")
        try:
            write_dicom_seg(path, mask, target, model)
            row["dicom_seg"] = f"{SEGMENTATIONS}/{target.name}"
        except DicomError as error:
            warnings.append(f"no DICOM SEG: the file {error}")
    if spacing:
        row |= {
            "row_mm": repr(spacing.row_mm),
            "column_mm": repr(spacing.column_mm),
            "spacing_from": spacing.attribute,
        }
    areas = measure_lungs(mask, spacing and (spacing.row_mm, spacing.column_mm))
    values = {name: getattr(areas, name) for name in _AREAS}
    if not frontal:
        values |= dict.fromkeys(_SIDES)
        warnings.append("right and left are not distinguished: the view is mirrored or not frontal")
    row |= {name: "" if value is None else repr(value) for name, value in values.items()}
    return row | {"warnings": "; ".join(warnings)}


def _save(pixels: np.ndarray, path: Path) -> None:
    with replacing(path) as partial:
        # The default level takes three times as long for a file a quarter smaller.
        Image.fromarray(pixels).save(partial, compress_level=1)
