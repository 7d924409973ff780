"""A finished run in other formats than a SavedModel, with a table of their scores and cost."""

import dataclasses
import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerascxr.config import ClassificationConfig, SegmentationConfig, TrainingConfig
from kerascxr.data.order import epoch_order
from kerascxr.data.pipeline import Images
from kerascxr.data.roi import ROIS
from kerascxr.evaluation.classification import evaluate
from kerascxr.evaluation.ensembles import TEST, common_predictions, read_members
from kerascxr.evaluation.segmentation import score_image, summarise
from kerascxr.models.saved import computes_in_16_bits, load_saved
from kerascxr.parsing import load_config
from kerascxr.runs.atomic import replace_folder, write_json
from kerascxr.runs.inflated_scores import require_fair_scores
from kerascxr.runs.reading import Run as FinishedRun
from kerascxr.runs.reading import read_run
from kerascxr.serving.ensemble import EnsembleClassifier
from kerascxr.serving.formats import Format, Run, find_format
from kerascxr.serving.graph import Answering, Classifier
from kerascxr.serving.rounding import HINT, TF32_TOLERANCE, computed_on_gpu, without_tf32
from kerascxr.tables import markdown_table, text_table
from kerascxr.training.inputs import open_run_store, read_splits
from kerascxr.training.lungs import load_segmenter

logger = logging.getLogger(__name__)

_CALIBRATION = 200  # training images
_REPEATS = 50
_OF_RUN = 1e-3  # of a probability, and of the Dice: another engine may have computed the run's
_OF_16_BITS = 10.0  # times as much where a model computes with 16-bit numbers


@dataclass(frozen=True)
class Subject:
    """What is converted, and how its outputs are scored.

    Attributes:
        compute: Images float32 (batch, height, width, 1), 0..255, to probabilities.
        train: Training images.
        test: Test images.
        score: The scores of the test images, from their probabilities, batch by batch.
        scores: The scores that the table has, and their titles; the first decides.
        batch: Images a batch.
        slack: The formats' tolerances are multiplied by this.
        beside: Text files to write beside the formats.
        check_keras: Raises ``ValueError`` if Keras' probabilities, by batch, and scores are not
            those of the run's own test.
    """

    compute: Callable[[tf.Tensor], tf.Tensor]
    train: Images
    test: Images
    score: Callable[[Iterable[np.ndarray]], dict[str, Any]]
    scores: Mapping[str, str]
    batch: int
    slack: float
    beside: Mapping[str, str]
    check_keras: Callable[[Sequence[np.ndarray], Mapping[str, Any]], None]


@dataclass(frozen=True)
class Measured:
    """The scores and the cost of a format.

    Attributes:
        name: "keras" or a format.
        difference: The largest difference of a probability to Keras', over the test images.
        scores: From ``Subject.score``.
        megabytes: Size on disk, in MiB.
        milliseconds: Median and 95th percentile for one image, from pixels to probabilities.
    """

    name: str
    difference: float
    scores: dict[str, Any]
    megabytes: float
    milliseconds: tuple[float, float]


def export_formats(paths: Sequence[Path], to: Path, names: Sequence[str]) -> Path:
    """Writes a model in other formats, each measured on the whole test set.

    A U-Net's formats give the probability of each pixel, before small components are removed.

    Args:
        paths: A finished run, of a classifier or a U-Net; or several classification runs with the
            same test images, which are one model, the mean of their probabilities.
        to: The model's folder; the formats are written to ``to/formats``, which is replaced.
        names: Keys of ``FORMATS``.

    Returns:
        The folder: one file per format; labels.txt of a classifier, metadata.json of a U-Net; and
        the table as formats.md and formats.json.

    Raises:
        ValueError: If a run is not a finished one, runs do not fit together, a format is unknown,
            a package is missing, a conversion fails, a format's probabilities, accuracy or Dice
            differ from Keras' by more than it allows, or Keras' probabilities or Dice from the
            run's. Nothing is written then.
    """
    formats = {name: find_format(name) for name in names}
    runs = read_members(paths) if len(paths) > 1 else [read_run(paths[0])]
    run = runs[0]
    require_fair_scores(run)
    subject = _unet(run) if run.task == "segmentation" else _classifier(runs)
    train, test = subject.train, subject.test
    order = np.sort(epoch_order(train.labels, run.config["runtime"]["seed"], 0)[:_CALIBRATION])
    size = test.pixels.shape[1:3]
    spec = tf.TensorSpec((None, *size, 1), tf.float32, name="images")

    @tf.function(input_signature=[spec], autograph=False)
    def probabilities(images: tf.Tensor) -> tf.Tensor:
        return tf.identity(subject.compute(images), name="probabilities")

    def in_keras(images: np.ndarray) -> np.ndarray:
        return probabilities(tf.constant(images)).numpy()

    def fill(folder: Path) -> None:
        with without_tf32():  # formats do not run on a GPU
            expected = list(_outputs(in_keras, subject))
        models = [path / "model.keras" for path in paths]
        first = measure("keras", in_keras, expected, subject, *models)
        subject.check_keras(expected, first.scores)
        rows = [first]
        for name, form in formats.items():
            logger.info(f"Converting to {name}.")
            path = folder / form.file
            try:
                form.convert(probabilities, train.pixels[order], path)
            except Exception as error:  # each library raises errors of its own
                reason = " ".join(str(error).split())[:200]
                raise ValueError(f"{name} cannot hold this model ({reason}).") from error
            row = measure(name, form.load(path), expected, subject, path)
            check(row, form, first, subject.slack, next(iter(subject.scores)))
            rows.append(row)
        header, cells = _table(rows, subject.scores)
        logger.info(f"\n{text_table(header, cells)}\n")
        (folder / "formats.md").write_text(markdown_table(header, cells) + "\n", encoding="utf-8")
        write_json(folder / "formats.json", [dataclasses.asdict(row) for row in rows])
        for name, text in subject.beside.items():
            (folder / name).write_text(text, encoding="utf-8")

    replace_folder(to / "formats", fill, "export formats")
    logger.info(f"Written to {to / 'formats'}")
    return to / "formats"


def _classifier(runs: Sequence[FinishedRun]) -> Subject:
    """Returns what is converted of a classifier, or of an ensemble."""
    run = runs[0]
    config = load_config(ClassificationConfig, run.path / "config.yaml")
    for one in runs:
        if one.roi != "none":
            raise ValueError(
                "these formats hold a classifier alone, without a model for the lungs. Got "
                f"{one.path}, which was trained on {ROIS[one.roi].description}; export it as "
                "saved_model."
            )
    classes = tuple(run.metrics["test"]["classes"])
    models = [load_saved(one.path / "model.keras") for one in runs]
    members = [
        Classifier(model, classes, temperature=one.temperature)
        for model, one in zip(models, runs, strict=True)
    ]
    saved = common_predictions(runs, TEST)
    if saved is None:
        raise ValueError(
            "these formats are measured on test images, and the runs of an ensemble must have the "
            f"same. Got {', '.join(str(one.path) for one in runs)}; export them as saved_model."
        )
    classifier: Answering
    classifier = EnsembleClassifier(members, classes, None) if len(runs) > 1 else members[0]
    splits = _splits(run, config)

    def score(batches: Iterable[np.ndarray]) -> dict[str, Any]:
        given = np.concatenate(list(batches))
        sums = given.sum(axis=1, keepdims=True)  # of 8-bit formats, they differ from 1
        return evaluate(splits["test"].labels, given / sums, splits["test"].classes)

    slack = slack_at(min(one.temperature for one in runs))

    def check_keras(batches: Sequence[np.ndarray], scores: Mapping[str, Any]) -> None:
        places = {row["id"]: place for place, row in enumerate(saved.rows[0])}
        known = saved.mean[[places[image] for image in splits["test"].ids]]
        difference = np.abs(np.concatenate(batches) - known).max()
        _require_near(run, models, "probabilities", difference, _OF_RUN * slack)

    return Subject(
        lambda images: classifier.answer({"none": images})["probabilities"],
        splits["train"],
        splits["test"],
        score,
        {"accuracy": "accuracy", "auc": "AUC"},
        batch=32,
        slack=slack,
        beside={"labels.txt": "\n".join(classes) + "\n"},
        check_keras=check_keras,
    )


def _require_near(
    run: FinishedRun, models: Sequence[keras.Model], what: str, difference: float, allowed: float
) -> None:
    if any(map(computes_in_16_bits, models)):
        allowed *= _OF_16_BITS
    elif computed_on_gpu([run]):
        allowed = max(allowed, TF32_TOLERANCE)
    if not difference <= allowed:
        raise ValueError(
            f"Keras must reproduce the {what} of the test of {run.path} to {allowed:g}. Got a "
            f"difference of {difference:.2g}; {HINT}."
        )


def slack_at(temperature: float) -> float:
    """Returns a classifier's slack: a temperature below 1 enlarges the logits' rounding errors."""
    return max(1.0, 1 / temperature)


def _unet(run: FinishedRun) -> Subject:
    config = load_config(SegmentationConfig, run.path / "config.yaml")
    segmenter = load_segmenter(run.path)
    splits = _splits(run, config)
    clean = tf.function(
        lambda found: segmenter.binarise(segmenter.of_lungs(found)), autograph=False
    )

    def score(batches: Iterable[np.ndarray]) -> dict[str, Any]:
        assert splits["test"].masks is not None
        masks = (mask[..., 0] for batch in batches for mask in clean(tf.constant(batch)).numpy())
        truths = splits["test"].masks[..., 0]
        return summarise(
            [score_image(truth, mask) for truth, mask in zip(truths, masks, strict=True)]
        )

    def check_keras(_: Sequence[np.ndarray], scores: Mapping[str, Any]) -> None:
        difference = abs(scores["dice"] - run.metrics["test"]["dice"])
        _require_near(run, [segmenter.model], "Dice", difference, _OF_RUN)

    known = {"task": run.task, "threshold": segmenter.threshold, "size": list(segmenter.size)}
    return Subject(
        segmenter.probabilities,
        splits["train"],
        splits["test"],
        score,
        {"dice": "Dice", "hd95": "HD95"},
        batch=8,
        slack=1.0,
        beside={"metadata.json": json.dumps(known, indent=2) + "\n"},
        check_keras=check_keras,
    )


def _splits(run: FinishedRun, config: TrainingConfig) -> dict[str, Images]:
    return read_splits(config, open_run_store(run, config.data), run.task == "segmentation")


def _outputs(run: Run, subject: Subject) -> Iterator[np.ndarray]:
    """Yields the probabilities of the test images, batch by batch."""
    images = subject.test.pixels
    for begin in range(0, len(images), subject.batch):
        yield run(images[begin : begin + subject.batch].astype(np.float32))


def measure(
    name: str, run: Run, expected: Sequence[np.ndarray], subject: Subject, *paths: Path
) -> Measured:
    """Runs a format on test images.

    Args:
        name: The format.
        run: A function that runs it.
        expected: Keras' probabilities, by batch.
        subject: What it computes.
        paths: The format's files; the size includes OpenVINO's .bin beside them.
    """
    difference = 0.0

    def compared() -> Iterator[np.ndarray]:
        nonlocal difference
        for given, known in zip(_outputs(run, subject), expected, strict=True):
            difference = float(np.maximum(difference, np.abs(given - known).max()))  # NaN stays
            yield given

    scores = subject.score(compared())
    times = []
    images = subject.test.pixels
    for index in range(_REPEATS):
        one = images[index % len(images)][None].astype(np.float32)
        started = time.perf_counter()
        run(one)
        times.append(1000 * (time.perf_counter() - started))
    files = [item for path in paths for item in (path, path.with_suffix(".bin"))]
    size = sum(item.stat().st_size for item in files if item.exists()) / 2**20
    middle, late = np.percentile(times, [50, 95])
    return Measured(name, difference, scores, size, (float(middle), float(late)))


def check(row: Measured, form: Format, in_keras: Measured, slack: float, score: str) -> None:
    """Checks that a format is as exact as it must be.

    Args:
        row: The format's measurement.
        form: What it allows.
        in_keras: Keras' measurement.
        slack: See ``Subject``.
        score: The score that must be kept.

    Raises:
        ValueError: If it is not.
    """
    most = (1.0 if form.tolerance is None else form.tolerance) * slack
    if not row.difference <= most:
        raise ValueError(
            f"{row.name} must give Keras' probabilities to {most:g}. Got a "
            f"difference of {row.difference:.2g}; nothing was written."
        )
    given, before = row.scores[score], in_keras.scores[score]
    if form.most_lost is not None and not before - given <= form.most_lost:
        raise ValueError(
            f"{row.name} must keep the test {score} to {form.most_lost:g}. Got "
            f"{given:.4f} where Keras has {before:.4f}; nothing was written."
        )


def _table(rows: list[Measured], shown: Mapping[str, str]) -> tuple[list[str], list[list[Any]]]:
    """Returns header and cells of the table; changes are relative to the first row."""
    titles = [item for title in shown.values() for item in (title, "change")]
    header = ["format", "largest difference", *titles, "MiB", "p50 ms", "p95 ms"]

    def scores(row: Measured) -> Iterator[Any]:
        for name in shown:
            value, before = row.scores[name], rows[0].scores[name]
            yield value
            yield None if value is None or before is None else f"{value - before:+.4f}"

    return header, [
        [
            row.name,
            f"{row.difference:.1e}",
            *scores(row),
            f"{row.megabytes:.1f}",
            f"{row.milliseconds[0]:.1f}",
            f"{row.milliseconds[1]:.1f}",
        ]
        for row in rows
    ]
