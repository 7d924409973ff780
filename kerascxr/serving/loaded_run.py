"""A finished run as a Python object: its record, its Keras model and its predictions."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from kerascxr.data.files import read_grey
from kerascxr.data.images import resize_image
from kerascxr.evaluation.ensembles import read_members
from kerascxr.models.saved import load_saved
from kerascxr.models.segmenter import Segmenter
from kerascxr.runs.inflated_scores import warn_of_inflated_scores
from kerascxr.runs.reading import Run, read_run
from kerascxr.serving.ensemble import ensemble_metrics
from kerascxr.serving.files import find_files
from kerascxr.serving.predictors import Predictor, load_ensemble_predictor, load_predictor
from kerascxr.training.lungs import load_segmenter

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
Arrays = np.ndarray | Sequence[np.ndarray]

_BATCH = 32


@dataclass(frozen=True)
class ClassPredictions:
    """A classifier's predictions for n images.

    A run without a decision rule, which an audit's are, has no decisions and what goes with them.

    Attributes:
        ids: The images' paths; "0", "1", ... for arrays.
        classes: The k class names.
        probabilities: float32 (n, k), 0..1, each row with the sum 1, calibrated by the run's
            temperature.
        decisions: Each image's most probable class, or "not decided".
        prediction_sets: The classes that are possible, joined by "; ".
        ood_scores: float32 (n,), how unlike the training images each is.
        warnings: Why nothing was decided, joined by "; "; "" for a decision.
    """

    ids: tuple[str, ...]
    classes: tuple[str, ...]
    probabilities: np.ndarray
    decisions: tuple[str, ...] = ()
    prediction_sets: tuple[str, ...] = ()
    ood_scores: np.ndarray | None = None
    warnings: tuple[str, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """The most probable class of each image."""
        return tuple(self.classes[index] for index in self.probabilities.argmax(axis=1))


@dataclass(frozen=True)
class MaskPredictions:
    """A U-Net's predictions for n images.

    Attributes:
        ids: The images' paths; "0", "1", ... for arrays.
        masks: One per image: bool (height, width) at the image's own size, true inside the lungs.
            Only the two largest components are kept, found on cells of 4x4 pixels of the U-Net's
            input, where diagonal neighbours touch.
        lung_fractions: float32 (n,), the share of each image that is lung, 0..1.
    """

    ids: tuple[str, ...]
    masks: tuple[np.ndarray, ...]
    lung_fractions: np.ndarray


@dataclass(frozen=True, eq=False)
class LoadedRun:
    """A finished run; ``load_run`` makes one.

    Attributes:
        path: The run's folder.
        task: "classification" or "segmentation".
        metrics: metrics.json, see the run's own metrics.md for the same in words.
        config: The resolved config.yaml.
    """

    path: Path
    task: str
    metrics: dict[str, Any] = field(repr=False)
    config: dict[str, Any] = field(repr=False)

    @cached_property
    def model(self) -> keras.Model:
        """The Keras model, not compiled, read on first use.

        A classifier maps float32 (batch, height, width, 3), 0..255, to logits, before the
        temperature. A U-Net maps float32 (batch, height, width, 1), 0..255, to one logit per pixel.
        """
        return load_saved(self.path / "model.keras")

    def predict(self, images: Paths | Arrays) -> ClassPredictions | MaskPredictions:
        """Predicts images as the command ``kerascxr predict`` does.

        Args:
            images: One or several paths, of files (DICOM too), folders or globs, where a file that
                is named twice is predicted twice; or arrays, one per image: uint8, or float in
                0..255, which is rounded; (height, width), (height, width, 1) or RGB (height, width,
                3); of any sizes. An array of a batch will do; one image is given as [image].

        Returns:
            ``ClassPredictions`` of a classifier, ``MaskPredictions`` of a U-Net, in the order of
            ``images``.

        Raises:
            ValueError: If a path names no image, a file cannot be read, or an array has another
                shape or range.
        """
        if self.task == "segmentation":
            return self._masks(images)
        return _classes(self._predictor, images)

    @cached_property
    def _predictor(self) -> Predictor:
        return load_predictor(self.path)

    @cached_property
    def _segmenter(self) -> tuple[Segmenter, Callable[[tf.Tensor], tf.Tensor]]:
        """The U-Net, and what computes the probabilities of its lungs."""
        segmenter = load_segmenter(self.path)
        return segmenter, tf.function(
            lambda images: segmenter.of_lungs(segmenter.probabilities(images)),
            reduce_retracing=True,
            autograph=False,
        )

    def _masks(self, images: Paths | Arrays) -> MaskPredictions:
        segmenter, compute = self._segmenter
        ids: list[str] = []
        masks: list[np.ndarray] = []
        for names, greys in _batches(images):
            resized = [resize_image(grey[..., None], segmenter.size) for grey in greys]
            ids += names
            for probabilities, grey in zip(compute(tf.stack(resized)), greys, strict=True):
                mask = segmenter.mask_at(probabilities, tf.constant(grey.shape))
                masks.append(mask.numpy()[..., 0] > 0)
        fractions = np.array([mask.mean() for mask in masks], np.float32)
        return MaskPredictions(tuple(ids), tuple(masks), fractions)


def load_run(path: str | os.PathLike[str]) -> LoadedRun:
    """Reads a finished run from its folder.

    Args:
        path: The folder of a finished run, as in "runs/classification/NAME".

    Returns:
        The run, with ``.metrics`` (dict), ``.config`` (dict), ``.model`` (a Keras model, read on
        first use) and ``.predict(paths or arrays)``, which returns calibrated probabilities (0..1)
        and decisions of a classifier and masks of a U-Net: the two largest components, found on
        cells of 4x4 pixels where diagonal neighbours touch.

    Raises:
        ValueError: If the folder is not a finished run, or one of its files is damaged.

    Source:
        Guo et al., ICML 2017, on calibration by a temperature.

    Examples:
        >>> import kerascxr
        >>> run = kerascxr.load_run("runs/classification/mine")
        >>> 0 <= run.metrics["test"]["accuracy"] <= 1
        True
        >>> found = run.predict(["chest.png", "ward.png"])
        >>> found.probabilities.shape == (2, len(found.classes))
        True
        >>> len(found.decisions)
        2
    """
    run: Run = read_run(Path(path))
    warn_of_inflated_scores(run)
    return LoadedRun(run.path, run.task, run.metrics, run.config)


@dataclass(frozen=True, eq=False)
class LoadedEnsemble:
    """Several finished classification runs as one model; ``load_ensemble`` makes one.

    Attributes:
        members: The runs.
    """

    members: tuple[LoadedRun, ...]

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """What is known of the ensemble, as ``ensemble`` of an export's metadata.json has it.

        ``test`` is its test on the images that all members were tested on, None if they were not
        tested on the same ones; ``note`` says so; ``members`` has a dictionary of each.
        """
        return ensemble_metrics([member.path for member in self.members])

    def predict(self, images: Paths | Arrays) -> ClassPredictions:
        """Predicts images as the command ``kerascxr predict RUN RUN ...`` does.

        Args:
            images: See ``LoadedRun.predict``.

        Returns:
            The mean of the members' calibrated probabilities, with the ensemble's own decisions.

        Raises:
            ValueError: See ``LoadedRun.predict``.
        """
        return _classes(self._predictor, images)

    @cached_property
    def _predictor(self) -> Predictor:
        return load_ensemble_predictor([member.path for member in self.members])


def load_ensemble(paths: Sequence[str | os.PathLike[str]]) -> LoadedEnsemble:
    """Reads several finished classification runs as one model.

    Args:
        paths: Two or more runs' folders, of the same classes, image size, region of interest and
            lung model.

    Returns:
        The ensemble, with ``.members`` (each as ``load_run`` gives it), ``.metrics`` (how good it
        is on common test images) and ``.predict(paths or arrays)``.

    Raises:
        ValueError: If there are fewer than two, one is not a finished classification run, or they
            do not fit together.

    Source:
        Lakshminarayanan et al., NeurIPS 2017, on the mean probability of several networks.

    Examples:
        >>> import kerascxr
        >>> runs = ["runs/classification/mine", "runs/classification/other"]
        >>> ensemble = kerascxr.load_ensemble(runs)
        >>> [run.config["runtime"]["seed"] for run in ensemble.members]
        [0, 1]
        >>> found = ensemble.predict(["chest.png", "ward.png"])
        >>> found.probabilities.shape == (2, len(found.classes))
        True
        >>> 0 <= ensemble.metrics["test"]["accuracy"] <= 1
        True
    """
    if isinstance(paths, str | os.PathLike) or len(paths) < 2:
        raise ValueError(f"paths must be two or more runs' folders. Got paths={paths!r}.")
    runs = read_members([Path(path) for path in paths])
    return LoadedEnsemble(
        tuple(LoadedRun(run.path, run.task, run.metrics, run.config) for run in runs)
    )


def _classes(predictor: Predictor, images: Paths | Arrays) -> ClassPredictions:
    ids: list[str] = []
    found = []
    for names, greys in _batches(images):
        items = tf.stack([predictor.prepare(tf.constant(grey[..., None])) for grey in greys])
        ids += names
        sizes = tf.constant([grey.shape for grey in greys], tf.int32)
        found.append(predictor.predict(items, sizes))
    columns = {name: np.concatenate([part[name] for part in found]) for name in found[0]}
    predicted = ClassPredictions(tuple(ids), predictor.classes, columns["probabilities"])
    if not predictor.extras:
        return predicted

    def texts(name: str) -> tuple[str, ...]:
        return tuple(text.decode() for text in columns[name])

    return replace(
        predicted,
        decisions=texts("decision"),
        prediction_sets=texts("prediction_set"),
        ood_scores=columns["ood_score"],
        warnings=texts("warnings"),
    )


def _batches(images: Paths | Arrays) -> Iterator[tuple[list[str], list[np.ndarray]]]:
    """Yields ids and grey images, uint8 (height, width), batch by batch."""
    named = iter(_read(images))
    while batch := list(islice(named, _BATCH)):
        yield [name for name, _ in batch], [grey for _, grey in batch]


def _read(images: Paths | Arrays) -> Iterable[tuple[str, np.ndarray]]:
    if isinstance(images, str | os.PathLike):
        images = [images]
    if not len(images):
        raise ValueError("images must be at least one path or array. Got none.")
    if isinstance(images, np.ndarray) and images.ndim == 3 and images.shape[-1] in (1, 3):
        raise ValueError(
            f"images must be one array per image. Got one array of shape {images.shape}, which is "
            "one image: give [image]."
        )
    paths = [str(item) for item in images if isinstance(item, str | os.PathLike)]
    if not paths:
        return ((str(place), _grey(item, place)) for place, item in enumerate(images))
    if len(paths) != len(images):
        raise ValueError("images must be paths or arrays. Got both.")
    files = [file for path in paths for file in find_files([path])]  # one that comes twice, twice
    return ((str(file), read_grey(file)) for file in files)


def _grey(image: Any, place: int) -> np.ndarray:
    """Returns an array as a grey image, uint8 (height, width)."""
    array = np.asarray(image)
    shape = array.shape
    if (
        array.dtype.kind not in "uif"
        or len(shape) not in (2, 3)
        or shape[2:] not in ((), (1,), (3,))
    ):
        raise ValueError(
            "each image must be an array of numbers, (height, width), (height, width, 1) or "
            f"(height, width, 3). Got images[{place}] of shape {shape} and type {array.dtype}."
        )
    low, high = (float(array.min()), float(array.max())) if array.size else (np.nan, np.nan)
    if not (low >= 0 and high <= 255):
        raise ValueError(
            f"each image must hold values from 0 to 255. Got images[{place}] with {low:g} to "
            f"{high:g}."
        )
    if array.dtype.kind == "f" and 0 < high <= 1:
        raise ValueError(
            f"each image must hold values from 0 to 255. Got images[{place}] with floats up to "
            f"{high:g}; multiply images of 0..1 by 255."
        )
    pixels = np.rint(array).astype(np.uint8)
    if shape[2:] == (3,):
        return np.array(Image.fromarray(pixels).convert("L"))
    grey: np.ndarray = pixels.reshape(shape[:2])
    return grey
