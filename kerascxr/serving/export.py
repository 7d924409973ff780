"""Export of a finished run as a SavedModel for TF Serving: image bytes in, probabilities out."""

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from kerascxr.config import ClassificationConfig
from kerascxr.data.ingest.folds import split_folds
from kerascxr.data.ingest.store import Store
from kerascxr.data.roi import ROIS
from kerascxr.evaluation.abstention import NOT_DECIDED
from kerascxr.evaluation.calibration import apply_temperature
from kerascxr.evaluation.conformal import COVERAGE
from kerascxr.evaluation.lung_masks import LungMaskCheck, lung_mask_faults
from kerascxr.models.decision_rule import FILE, DecisionRule
from kerascxr.models.graphs import traced
from kerascxr.models.ood_detector import FALSE_ALARMS
from kerascxr.models.saved import load_saved
from kerascxr.parsing import load_config
from kerascxr.runs.atomic import write_json
from kerascxr.runs.inflated_scores import require_fair_scores
from kerascxr.runs.reading import UNCALIBRATED, Run, read_predictions, read_run
from kerascxr.serving.graph import DECIDING, Classifier, Outputs, from_bytes, from_pixels
from kerascxr.serving.publishing import (
    IN_EVERY_SET,
    describe,
    examples_of,
    files_spec,
    pixels_spec,
    publish,
    some_of,
    tensor,
    write_model,
    write_warm_up,
)
from kerascxr.serving.read_back import (
    SCORE_TOLERANCE,
    Expected,
    allowed_at,
    answers_of,
    compare_reloaded,
)
from kerascxr.serving.rounding import require_near_runs, tolerance_of_runs, without_tf32
from kerascxr.training.feature_files import FeatureFolder
from kerascxr.training.inputs import open_run_store
from kerascxr.training.lungs import (
    choose_lungs,
    load_segmenter,
    lungs_title,
    read_lungs,
    require_plausible,
)

logger = logging.getLogger(__name__)

LUNG_OUTPUTS = {
    "lung_mask_bytes": tensor("string", [None], "a PNG of 0 and 255, at the image's own size"),
    "lung_fraction": tensor("float32", [None], "the share of the image that is lung, 0..1"),
}


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
        The version's folder. It is written only if the reloaded SavedModel reproduces what the
        run's predictions.csv has of test images: see ``compare_reloaded``. If the lungs of the
        training came from another source, it must reproduce what Keras computes with this U-Net. So
        it must where a GPU computed, or OpenVINO a region of interest, and Keras must nearly
        reproduce the run: see ``rounding``.

    Raises:
        ValueError: If a run is not finished or of another task, its test scores are not fair (see
            ``require_fair_scores``), its images are missing or have changed (their split included),
            too many lung masks are implausible, or the answers differ.
    """
    run = read_run(run_path, "classification")
    config = load_config(ClassificationConfig, run_path / "config.yaml")
    require_fair_scores(run)
    store = open_run_store(run, config.data)
    classes = run.metrics["test"]["classes"]
    model = load_saved(run_path / "model.keras")
    roi = ROIS[config.roi]
    if roi.needs_lungs:
        segmentation = choose_lungs(segmentation or config.lungs)
    segmenter = load_segmenter(segmentation) if segmentation else None
    lung_masks = check_lung_masks(segmentation, config, store) if segmentation else None
    height, width = config.image_size
    rule = DecisionRule.load(run_path / FILE)
    classifier = Classifier(model, classes, rule, run.temperature, config.roi)
    serve = traced(from_bytes(classifier, (height, width), segmenter), files_spec())
    expected = expected_of_test(run, config, store, rule)
    other_lungs = other_lungs_note(config, segmentation)
    if other_lungs or tolerance_of_runs([run]) is not None:
        of_run = expected.probabilities
        expected = expected_of_keras(run, serve, expected, rule)
        differences = np.abs(expected.probabilities - of_run)
        if other_lungs:
            logger.info(
                "The lung masks of the training came from another source: probabilities differ "
                f"from the run's by {differences.mean():.3f} on average."
            )
            logger.warning(other_lungs["test_metrics_note"])
        else:
            require_near_runs([run], float(differences.max()), run.temperature)
            logger.info(
                "The export is compared with what Keras computes here, which differs from the "
                f"run's own probabilities by up to {differences.max():.1e}: see docs/design."
            )

    def fill(folder: Path) -> None:
        pixels = pixels_spec((height, width))
        answer = traced(from_pixels(classifier, (height, width), segmenter), pixels)
        write_model(
            folder,
            [model, segmenter.model] if segmenter else [model],
            {
                "serving_default": (serve, files_spec()),
                "pixels": (answer, pixels),
            },
        )
        (folder / "labels.txt").write_text("\n".join(classes) + "\n", encoding="utf-8")
        description = _describe(run, config, segmentation, rule, lung_masks)
        write_json(folder / "metadata.json", description)
        difference = compare_reloaded(folder, expected, classes, run.temperature)
        logger.info(
            f"The reloaded export reproduces the run's answers to {len(expected.ids)} test images: "
            f"largest difference of a probability {difference:.1e}."
        )
        write_warm_up(folder, to.name, expected.files)

    return publish(run, to, fill)


def check_lung_masks(run: Path, config: ClassificationConfig, store: Store) -> LungMaskCheck:
    """Checks the lung masks that a U-Net gives for the classifier's test images."""
    folds = split_folds(config.split)["test"]
    masks = read_lungs(store, folds, run, config.image_size, FeatureFolder.of(config.data))
    faults = [lung_mask_faults(mask[..., 0]) for mask in masks]
    return require_plausible(faults, run, "--segmentation")


def same_folder(one: Path | None, other: Path | None) -> bool:
    """Returns whether two paths are the same folder."""
    return one is not None and other is not None and one.resolve() == other.resolve()


def other_lungs_note(config: ClassificationConfig, segmentation: Path | None) -> dict[str, str]:
    """Returns what metadata.json says where the test was with other lung masks than the export's.

    Args:
        config: Of the run.
        segmentation: What finds the lungs in the export.
    """
    if not ROIS[config.roi].needs_lungs or same_folder(segmentation, config.lungs):
        return {}
    return {
        "test_metrics_note": f"Lung masks of the test: {lungs_title(config.lungs)}. Lung masks of "
        f"this model: {lungs_title(segmentation)}; how good it is with these was not tested."
    }


def expected_of_test(
    run: Run,
    config: ClassificationConfig,
    store: Store,
    rule: DecisionRule,
    tolerance: float | None = None,
) -> Expected:
    """Returns what the run's predictions.csv has of some test images, with the store's files.

    Args:
        run: The run.
        config: Its config.
        store: Its images.
        rule: Its decision rule.
        tolerance: How far probabilities may differ, for what is borderline; None for what
            ``allowed_at`` gives.
    """
    rows = {row["id"]: row for row in read_predictions(run.path / "predictions.csv")}
    examples = examples_of(store, split_folds(config.split)["test"], some_of(list(rows)))
    ids = [example["id"].decode() for example in examples]
    known = [rows[image] for image in ids]
    columns = [f"{UNCALIBRATED} {kind}" for kind in run.metrics["test"]["classes"]]
    uncalibrated = np.array([[float(row[name]) for name in columns] for row in known])
    probabilities = apply_temperature(uncalibrated, run.temperature)
    answers: dict[str, list[Any]] = {name: [row[name] for row in known] for name in DECIDING}
    answers["ood_score"] = [float(score) for score in answers["ood_score"]]
    return Expected(
        ids,
        [example["image"] for example in examples],
        probabilities,
        answers,
        _borderline(run, rule, probabilities, answers, tolerance),
    )


def expected_of_keras(
    run: Run,
    serve: Callable[[tf.Tensor], Outputs],
    known: Expected,
    rule: DecisionRule,
    tolerance: float | None = None,
) -> Expected:
    """Returns what Keras computes for the same files.

    Args:
        run: The run.
        serve: The graph from files' bytes to its answer.
        known: What the run has for them.
        rule: Its decision rule.
        tolerance: See ``expected_of_test``.
    """
    with without_tf32():
        given = serve(tf.constant(known.files))
    probabilities = given["probabilities"].numpy().astype(np.float64)
    answers = answers_of(given)
    near = _borderline(run, rule, probabilities, answers, tolerance)
    return dataclasses.replace(known, probabilities=probabilities, answers=answers, borderline=near)


def _borderline(
    run: Run,
    rule: DecisionRule,
    probabilities: np.ndarray,
    answers: Mapping[str, Sequence[Any]],
    tolerance: float | None = None,
) -> np.ndarray:
    scores = np.array(answers["ood_score"], float)
    allowed = allowed_at(run.temperature) if tolerance is None else tolerance
    return rule.borderline(probabilities, scores, allowed, SCORE_TOLERANCE)


def _describe(
    run: Run,
    config: ClassificationConfig,
    segmentation: Path | None,
    rule: DecisionRule,
    lung_masks: LungMaskCheck | None,
) -> dict[str, Any]:
    classes = run.metrics["test"]["classes"]
    outputs = describe_outputs(
        len(classes),
        "after the temperature",
        "for images exchangeable with the validation images, the true class is one with a "
        f"probability of {COVERAGE:.0%}",
        f"the limit is {rule.checks.ood_detector.limit:.3f}, which images like the validation "
        f"images exceed with a probability of {FALSE_ALARMS:.0%} at most",
        rule.kinds,
    )
    return describe(
        run,
        config.image_size,
        {
            "serving_default": outputs | (LUNG_OUTPUTS if segmentation else {}),
            "pixels": outputs,
        },
        ("n", "accuracy", "precision", "recall", "f1", "auc"),
        {
            "classes": classes,
            IN_EVERY_SET: [classes[place] for place in rule.in_every_set],
            "temperature": {
                "value": run.temperature,
                "meaning": "probabilities are softmax(logits / value), so that confidence agrees "
                "with accuracy; the label is the same at every value. The run's predictions.csv "
                "has probabilities before it as 'uncalibrated probability'",
                "fitted_on": run.metrics.get("calibration", {}).get("fitted_on"),
            },
            "segmentation": str(segmentation) if segmentation else None,
            "lung_masks": lung_masks and lung_masks.to_dict(),
            "input_region": ROIS[config.roi].description,
            **other_lungs_note(config, segmentation),
        },
    )


def describe_outputs(
    n_classes: int, scale: str, coverage: str, limit: str, warnings: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Returns metadata.json's description of what a classifier answers.

    Args:
        n_classes: How many classes it has.
        scale: What was done to the probabilities.
        coverage: What holds for the prediction sets.
        limit: From which out-of-distribution score on an image is unlike the training images.
        warnings: All reasons for not deciding.
    """
    return {
        "probabilities": tensor(
            "float32", [None, n_classes], f"of each class, 0..1, summing to 1, {scale}"
        ),
        "label": tensor("string", [None], "the most probable class"),
        "labels": tensor("string", [None, n_classes], "the classes, in the order of probabilities"),
        "decision": tensor("string", [None], f"the most probable class, or {NOT_DECIDED!r}"),
        "prediction_set": tensor(
            "string", [None], f"the classes that are possible, joined by '; ': {coverage}"
        ),
        "ood_score": tensor("float32", [None], f"how unlike the training images it is; {limit}"),
        "warnings": tensor(
            "string",
            [None],
            f"why nothing was decided, joined by '; ', or '': {', '.join(warnings)}",
        ),
    }
