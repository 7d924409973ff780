"""Predictions for files and folders, in a table: goes on after a kill, whatever the number."""

import csv
import glob
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image
from tqdm import tqdm

from kerascxr.data.files import SUFFIXES, ImageFileError, read_grey
from kerascxr.data.images import resize_image, to_backbone_input
from kerascxr.data.sources.paths import walk
from kerascxr.models.gradcam import GradCAM
from kerascxr.plots.heat import heat_overlay
from kerascxr.runs.atomic import replacing
from kerascxr.serving.predictors import LungFinder, Predictor

logger = logging.getLogger(__name__)

_BATCH = 32
_READERS = os.cpu_count() or 1  # left to tf.data, one reader at times took a fifth of the speed
_SHOWN = 20
_FORMATS = (".csv", ".parquet")
Grey = np.ndarray


def find_files(patterns: Sequence[str]) -> list[Path]:
    """Returns the image files that paths, folders and globs name, each once, in order.

    Raises:
        ValueError: If one names nothing.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        path = Path(pattern)
        if path.is_dir():
            files = [file for file in walk(path) if file.suffix.lower() in SUFFIXES]
        elif path.exists():
            files = [path]
        else:
            names = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 (absolute ones too)
            files = [Path(name) for name in names if Path(name).is_file()]
        if not files:
            raise ValueError(f"each path must name images. Got {pattern!r}, where there are none.")
        found |= dict.fromkeys(files)
    return list(found)


def predict_files(
    predictor: Predictor,
    files: Sequence[Path],
    to: Path,
    *,
    lungs: LungFinder | None = None,
    overlays: Path | None = None,
) -> list[tuple[str, str]]:
    """Writes a table of predictions, a row a file: path, predicted, probabilities, lung_fraction.

    What is done is kept beside ``to`` batch by batch, and a later call goes on behind it.

    Args:
        predictor: The model.
        files: The images.
        to: The table, .csv or .parquet.
        lungs: Finds the lungs, if wanted.
        overlays: A folder for pictures of each image with its class's Grad-CAM, if wanted.

    Returns:
        What could not be read: path and reason.

    Raises:
        ValueError: If ``to`` has another suffix, or overlays are wanted of an export.
    """
    if to.suffix not in _FORMATS:
        raise ValueError(f"the table must be .csv or .parquet. Got to={str(to)!r}.")
    if overlays and predictor.keras_model is None:
        raise ValueError("overlays need a run's folder: an export has no gradients.")
    camera = None
    if overlays and predictor.keras_model:
        camera = tf.function(GradCAM(predictor.keras_model).maps, reduce_retracing=True)
    columns = ["path", "error", "predicted", *(f"probability {name}" for name in predictor.classes)]
    columns += ["lung_fraction"] if lungs else []
    to.parent.mkdir(parents=True, exist_ok=True)
    kept = to.with_name(f".partial-{to.name}.csv")
    identity = _identity(predictor, lungs, overlays)
    done = _take_up(kept, identity, columns)
    if done:
        logger.info(f"Going on after {len(done):,} of {len(files):,} files.")
    waiting = [path for path in files if str(path) not in done]
    with (
        kept.open("a", encoding="utf-8", newline="") as file,
        tqdm(total=len(files), initial=len(files) - len(waiting), unit="image") as bar,
    ):
        writer = csv.writer(file, lineterminator="\n")
        for paths, errors, small, large in _batches(waiting, predictor, lungs):
            rows = _rows(paths, errors, small, large, predictor, lungs)
            if overlays and camera:
                _draw(paths, errors, small, rows, overlays, camera, predictor)
            writer.writerows(rows)
            file.flush()
            bar.update(len(paths))
    unreadable = _finish(kept, columns, {str(path) for path in files}, to)
    kept.unlink()
    return unreadable


def _identity(predictor: Predictor, lungs: LungFinder | None, overlays: Path | None) -> str:
    names = [predictor.name, lungs and lungs.name, overlays and str(overlays)]
    stamps = [
        path.stat().st_mtime_ns
        for name in (predictor.name, lungs and lungs.name)
        if name
        for path in (Path(name) / "model.keras", Path(name) / "saved_model.pb")
        if path.exists()
    ]
    return hashlib.sha256(json.dumps([names, stamps]).encode()).hexdigest()


def _take_up(kept: Path, identity: str, columns: list[str]) -> set[str]:
    """Returns the paths done by an earlier call of the same kind; cuts off a half-written row."""
    heading = f"{identity}\n{','.join(columns)}\n"
    if kept.exists():
        data = kept.read_bytes()
        if data.startswith(heading.encode()):
            whole = data[: data.rindex(b"\n") + 1]
            kept.write_bytes(whole)
            lines = whole.decode("utf-8").splitlines()[2:]
            return {row[0] for row in csv.reader(lines) if len(row) == len(columns)}
    kept.write_text(heading, encoding="utf-8")
    return set()


def _batches(
    files: list[Path], predictor: Predictor, lungs: LungFinder | None
) -> Iterator[tuple[list[str], list[str], np.ndarray, np.ndarray]]:
    """Reads, checks and resizes side by side, ahead of the model, in order."""
    wanted = lungs.size if lungs else (1, 1)

    def read(name: bytes) -> tuple[np.ndarray, bytes]:
        try:
            return read_grey(Path(name.decode()))[..., None], b""
        except ImageFileError as error:
            return np.zeros((1, 1, 1), np.uint8), f"{error.problem}".encode()

    def prepare(name: tf.Tensor) -> tuple[tf.Tensor, ...]:
        image, error = tf.numpy_function(read, [name], (tf.uint8, tf.string))
        image = tf.ensure_shape(image, (None, None, 1))
        if predictor.takes_files:
            return name, error, tf.io.encode_png(image), resize_image(image, wanted)
        return name, error, resize_image(image, predictor.size), resize_image(image, wanted)

    data = tf.data.Dataset.from_tensor_slices(tf.constant([str(path) for path in files], tf.string))
    data = data.map(prepare, num_parallel_calls=_READERS).batch(_BATCH).prefetch(2)
    for names, errors, small, large in data.as_numpy_iterator():
        yield [n.decode() for n in names], [e.decode() for e in errors], small, large


def _rows(
    paths: list[str],
    errors: list[str],
    small: Grey,
    large: Grey,
    predictor: Predictor,
    lungs: LungFinder | None,
) -> list[list[Any]]:
    kind = tf.string if predictor.takes_files else tf.float32
    probabilities = predictor.probabilities(tf.constant(small, kind))
    fractions = lungs.fractions(tf.constant(large, tf.float32)) if lungs else [None] * len(paths)
    rows: list[list[Any]] = []
    for path, error, values, fraction in zip(paths, errors, probabilities, fractions, strict=True):
        if error:
            rows.append([path, error, "", *[""] * len(values), *([""] if lungs else [])])
            continue
        label = predictor.classes[int(values.argmax())]
        numbers = [repr(float(value)) for value in values]
        rows.append([path, "", label, *numbers, *([repr(float(fraction))] if lungs else [])])
    return rows


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
            digest = hashlib.sha256(path.encode()).hexdigest()[:8]
            with replacing(folder / f"{Path(path).stem}-{digest}.png") as partial:
                Image.fromarray(heat_overlay(image[..., 0], heat)).save(partial)


def _finish(kept: Path, columns: list[str], wanted: set[str], to: Path) -> list[tuple[str, str]]:
    """Writes the table from what was kept, without the rows of unreadable files."""
    import pyarrow
    import pyarrow.parquet

    shown = [name for name in columns if name != "error"]
    unreadable = []

    def rows() -> Iterator[dict[str, str]]:
        with kept.open(encoding="utf-8", newline="") as file:
            next(file)
            for row in csv.DictReader(file):
                if row["path"] not in wanted:
                    continue
                if row["error"]:
                    unreadable.append((row["path"], row["error"]))
                else:
                    yield {name: row[name] for name in shown}

    with replacing(to) as partial:
        if to.suffix == ".csv":
            with partial.open("w", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, shown, lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows())
        else:
            table: dict[str, list[Any]] = {name: [] for name in shown}
            for row in rows():
                for name, value in row.items():
                    table[name].append(value if name in ("path", "predicted") else float(value))
            pyarrow.parquet.write_table(pyarrow.table(table), partial)
    return unreadable


def report_unreadable(unreadable: Sequence[tuple[str, str]]) -> None:
    """Lists files that could not be read, the first of them by name."""
    if unreadable:
        logger.info(f"{len(unreadable):,} files could not be read:")
        for path, reason in unreadable[:_SHOWN]:
            logger.info(f"  {path}: {reason}")
        if len(unreadable) > _SHOWN:
            logger.info(f"  ... and {len(unreadable) - _SHOWN:,} more")
