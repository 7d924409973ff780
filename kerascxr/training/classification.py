"""Classification: one run from config to run folder."""

import dataclasses
import logging
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from kerascxr.config import ClassificationConfig
from kerascxr.data.control_markers import check_control_marker
from kerascxr.data.pipeline import (
    Images,
    steps_per_epoch,
)
from kerascxr.data.roi import ROIS, check_roi
from kerascxr.evaluation.abstention import Decisions, measure_abstention
from kerascxr.evaluation.calibration import apply_temperature, calibrate
from kerascxr.evaluation.classification import (
    evaluate,
)
from kerascxr.evaluation.leaks import measure_leak
from kerascxr.evaluation.metric_tables import linear_probe_text, metrics_markdown, metrics_text
from kerascxr.evaluation.uncertainty import classification_intervals
from kerascxr.models.backbones import BACKBONES
from kerascxr.models.classifier import build_classifier, fine_tune
from kerascxr.models.decision_rule import FILE
from kerascxr.models.parameters import format_parameter_table, parameter_summary
from kerascxr.models.weights import WeightsUsed, load_weights
from kerascxr.names import look_up
from kerascxr.runs.abstention_tables import abstention_markdown, decided_text
from kerascxr.runs.atomic import replacing
from kerascxr.runs.calibration_tables import bound_note, calibration_markdown
from kerascxr.runs.folder import RunFolder
from kerascxr.runs.reading import CALIBRATED, UNCALIBRATED
from kerascxr.runs.training_images import SEEN
from kerascxr.tables import csv_text
from kerascxr.training.decisions import apply_rule, describe_rule, fit_decider
from kerascxr.training.engines import engine_version
from kerascxr.training.figures import draw_evidence, draw_test, draw_training
from kerascxr.training.fitting import Fitting, Session, fit, identity_of
from kerascxr.training.inputs import (
    as_read,
    check_classes,
    describe_lungs,
    open_data,
    read_splits,
    seen_images,
)
from kerascxr.training.learner import Learner, by_features
from kerascxr.training.linear_probe import (
    accuracy_and_f1,
    check_linear_probe,
    uses_linear_probe,
    with_linear_probe,
)
from kerascxr.training.lungs import choose_lungs, lungs_digest
from kerascxr.training.precision import (
    StepPrecision,
    bfloat16_pays,
    check_step,
    copies_precision,
)
from kerascxr.training.runtime import Runtime, as_set, environment, regime_of, set_up
from kerascxr.training.starting_weights import seen_before

logger = logging.getLogger(__name__)

_SHOWN = ("loss", "accuracy", "val_loss", "val_accuracy", "val_f1", "val_augmented_f1", "val_auc")


def train(
    config: ClassificationConfig, folder: RunFolder, draw: bool = True, decide: bool = True
) -> dict[str, Any]:
    """Trains, evaluates and writes a run; takes up one that was cut off.

    Args:
        config: What to do.
        folder: The run folder, from ``RunFolder.start``.
        draw: Whether figures are drawn.
        decide: Whether the run gets a decision rule.

    Returns:
        What metrics.json holds; nothing from a worker that is not the chief.

    Raises:
        LostWorkerError: If another worker is lost, where several train together.
        ValueError: If the config asks for what the data or this machine does not have.
        NonFiniteLossError: If the loss becomes NaN or infinite.
        NonFiniteStatisticsError: If the layer statistics of an image are.
    """
    folder.start_clock()
    config = folder.settings(config)
    backbone = look_up(BACKBONES, config.backbone, "backbone")
    check_linear_probe(config, backbone)
    check_roi(config.roi, config.lungs)
    check_control_marker(config.control_marker)
    runtime = set_up(config.runtime, bfloat16_pays(config))
    store = open_data(config.data)
    if ROIS[config.roi].needs_lungs:
        config = dataclasses.replace(config, lungs=choose_lungs(config.lungs, store))
    lungs_sha256 = lungs_digest(config.lungs) if ROIS[config.roi].needs_lungs else ""
    splits = read_splits(config, store)
    check_classes(splits)
    # Again, right before weights are drawn: an ingest on the way here may have drawn numbers too.
    keras.utils.set_random_seed(config.runtime.seed)

    def build() -> keras.Model:
        size = config.image_size
        n_classes = len(store.classes)
        return build_classifier(config.backbone, n_classes, image_size=size, dropout=config.dropout)

    with runtime.scope():
        model = build()
        weights = load_weights(model, config.backbone, config.weights)
        require_recorded_weights(config, weights)
        fine_tune(model, config.depth, update_statistics=config.update_statistics)
    logger.info(f"Weights: {weights.description}")
    before = seen_before(weights, store, splits)
    parameters = parameter_summary(model)
    title = f"{backbone.study_name}, depth {config.depth}"
    title += "" if config.roi == "none" else f", roi {config.roi}"
    title += f", with the control marker {config.control_marker}" if config.control_marker else ""
    logger.info(format_parameter_table({title: parameters}))
    in_copies = copies_precision(config, runtime.precision)
    learner = Learner.build(model, splits, config, folder, in_copies, runtime.share)
    loss = keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=config.label_smoothing
    )
    precision = StepPrecision.of(model, build, runtime.precision)
    if config.runtime.precision == "auto":
        pairs = learner.training_pairs
        precision = check_step(precision, learner.model, pairs, loss, runtime.workers)
        if precision.policy != runtime.precision and in_copies == "bfloat16":
            learner = Learner.build(model, splits, config, folder, share=runtime.share)
        runtime = dataclasses.replace(runtime, precision=precision.policy)
    augmented = config.augment.enabled and learner.cached_copies != 1
    regime = regime_of(
        runtime, augmented, learner.cached_copies, learner.engine, learner.copies_precision
    )
    folder.write_json(
        "environment.json",
        environment(regime, config.runtime.seed)
        | {"weights": dataclasses.asdict(weights), "data_fingerprint": store.fingerprint},
    )
    folder.write_config(_resolved(config, splits, runtime, learner, weights))
    progress = fit(
        Fitting(
            learner.model,
            learner.training_pairs,
            steps_per_epoch(splits["train"], config.batch_size),
            learner.validation_figures,
            learner.monitor,
            loss,
            [keras.metrics.CategoricalAccuracy(name="accuracy")],
            _SHOWN,
            precision,
        ),
        Session(
            config,
            runtime,
            folder,
            identity_of(store.fingerprint["digest"], regime, weights.sha256)
            | {"lung model": lungs_sha256}
            | engine_version(learner.engine),
        ),
    )
    if not runtime.is_chief:
        return {}
    outputs = learner.outputs
    about_probe: dict[str, Any] = {}
    if learner.features is not None and uses_linear_probe(config, learner.features):
        logger.info("Fitting the linear probe: a softmax regression of all frozen stages.")
        model, about_probe = with_linear_probe(model, splits, config, learner)
        outputs = by_features(model, learner.features)
    with replacing(folder.path / "model.keras") as partial:
        keras.Model(model.input, model.output, name=model.name).save(partial)  # not compiled
    for_calibration, _ = outputs(splits["validation"])
    if about_probe:
        about_probe["validation"]["both"] = accuracy_and_f1(splits["validation"], for_calibration)
    probabilities, statistics = outputs(splits["test"])
    metrics: dict[str, Any] = {
        "task": "classification",
        "title": title,
        "backbone": backbone.name,
        "depth": config.depth,
        "weights": weights.description,
        "regime": regime,
        "data": {
            "source": store.path.name,
            "layout": store.layout,
            "fingerprint": store.fingerprint["digest"],
            "images": {name: len(images) for name, images in splits.items()},
            **describe_lungs(splits.values()),
            **({"lungs_sha256": lungs_sha256} if lungs_sha256 else {}),
        },
        "parameters": parameters,
        **({"linear_probe": about_probe} if about_probe else {}),
        "best_epoch": progress.best_epoch + 1,
        "epochs": len(progress.rows),
        "validation": _without_time(progress.rows[progress.best_epoch]),
        "test": evaluate(splits["test"].labels, probabilities, store.classes),
        "calibration": calibrate(
            (splits["validation"].labels, for_calibration),
            (splits["test"].labels, probabilities),
            store.classes,
            splits["test"].groups,
        ),
    }
    metrics["leak"] = measure_leak(
        probabilities.argmax(axis=1) == splits["test"].labels,
        splits["test"].groups,
        [*splits["train"].groups, *before.groups],
    ) | ({"through_starting_weights": before.tested} if before.tested else {})
    temperature = metrics["calibration"]["temperature"]
    decisions = held_out = None
    if decide:
        logger.info("Fitting the decision rule: which images the model answers.")
        decider = fit_decider(
            model,
            splits,
            apply_temperature(for_calibration, temperature),
            config,
            learner,
        )
        with replacing(folder.path / FILE) as partial:
            decider.rule.save(partial)
        held_out, decisions = (
            apply_rule(
                decider.rule,
                store,
                splits[name],
                apply_temperature(values, temperature),
                store.classes,
                known,
            )
            for name, values, known in (
                ("validation", for_calibration, decider.validation),
                (
                    "test",
                    probabilities,
                    decider.statistics.of if statistics is None else statistics,
                ),
            )
        )
        metrics["abstention"] = describe_rule(decider.rule, splits["validation"].labels)
    folder.write_text(SEEN, csv_text(seen_images(store, splits) + before.rows))
    write_predictions(
        folder,
        "validation_predictions.csv",
        splits["validation"],
        for_calibration,
        store.classes,
        temperature,
        held_out,
    )
    write_test(folder, metrics, splits["test"], probabilities, store.classes, decisions)
    if draw:
        draw_training(folder, metrics, progress.rows, splits["train"])
        draw_evidence(folder, model, metrics, splits["test"], probabilities, store.classes)
        draw_test(folder, metrics, splits["test"], probabilities, store.classes)
    folder.write_timing()
    folder.finish()
    logger.info(f"Written to {folder.path}")
    return metrics


def require_recorded_weights(config: ClassificationConfig, weights: WeightsUsed) -> None:
    """Checks that starting weights are those that a run's config.yaml names.

    Raises:
        ValueError: If not.
    """
    if config.weights_sha256 not in (None, weights.sha256):
        got = f"{weights.source} with {weights.sha256[:24]}" if weights.sha256 else "random weights"
        raise ValueError(
            f"starting weights must have the SHA-256 {config.weights_sha256[:24]}... of the run's "
            f"config.yaml. Got {got}; bring the file back, or start a run of another --name with "
            "--weights_sha256 null."
        )


def _resolved(
    config: ClassificationConfig,
    splits: dict[str, Images],
    runtime: Runtime,
    learner: Learner,
    weights: WeightsUsed,
) -> ClassificationConfig:
    """Returns the config with what was chosen in place of "auto" and None."""
    return dataclasses.replace(
        config,
        weights=config.weights if weights.kind == "file" else weights.kind,
        weights_sha256=weights.sha256 or None,
        features=learner.cached_copies > 0,
        linear_probe=uses_linear_probe(config, learner.features),
        feature_engine=learner.engine or "keras",  # which alone trains on images
        data=as_read(config.data, splits),
        runtime=as_set(config.runtime, runtime),
    )


def _without_time(row: dict[str, float]) -> dict[str, float]:
    return {key: value for key, value in row.items() if key != "seconds"}


def write_predictions(
    folder: RunFolder,
    name: str,
    images: Images,
    probabilities: np.ndarray,
    classes: Sequence[str],
    temperature: float | None,
    decisions: Decisions | None = None,
) -> None:
    """Writes one row per image: its names, truth, predicted, and each class's probabilities.

    Args:
        folder: The run's folder.
        name: The file's name.
        images: The n images.
        probabilities: float (n, k), uncalibrated.
        classes: The k class names.
        temperature: Calibrates them; None writes uncalibrated probabilities alone.
        decisions: Adds their columns, see ``Decisions.columns``.
    """
    more = decisions.columns(classes) if decisions else {}
    columns = {UNCALIBRATED: probabilities}
    if temperature is not None:
        columns = {CALIBRATED: apply_temperature(probabilities, temperature)} | columns
    rows = [
        images.names(index)
        | {
            "truth": classes[truth],
            "predicted": classes[probabilities[index].argmax()],
        }
        | {
            f"{column} {kind}": value
            for column, values in columns.items()
            for kind, value in zip(classes, values[index], strict=True)
        }
        | {column: values[index] for column, values in more.items()}
        for index, truth in enumerate(images.labels)
    ]
    folder.write_text(name, csv_text(rows))


def write_test(
    folder: RunFolder,
    metrics: dict[str, Any],
    images: Images,
    probabilities: np.ndarray,
    classes: Sequence[str],
    decisions: Decisions | None = None,
) -> None:
    """Writes metrics and predictions of a test, and prints the table.

    Args:
        folder: Where to.
        metrics: What metrics.json is to hold: "test" from ``evaluate``, which gets ``intervals``,
            "title", "weights", "data" and, if there is one, "calibration" from ``calibrate``.
        images: The images tested; their labels count in ``classes``.
        probabilities: float (n, k).
        classes: The model's k classes.
        decisions: What the model's rule decides; "abstention" gets how good that is.
    """
    title = metrics["title"]
    metrics["test"]["intervals"] = classification_intervals(
        images.labels, probabilities, classes, images.groups
    )
    temperature = metrics.get("calibration", {}).get("temperature")
    if decisions is not None and temperature is not None:
        calibrated = apply_temperature(probabilities, temperature)
        metrics["abstention"] = metrics.get("abstention", {}) | measure_abstention(
            decisions, images.labels, calibrated, classes, images.groups
        )
    folder.write_json("metrics.json", metrics)
    note = f"\nWeights: {metrics['weights']}\n\nData: {metrics['data']['source']}, test images.\n"
    note += f"\n{linear_probe_text(metrics['linear_probe'])}\n" if "linear_probe" in metrics else ""
    body = metrics_markdown(metrics["test"], title)
    body += calibration_markdown(metrics["calibration"]) if "calibration" in metrics else ""
    body += abstention_markdown(metrics["abstention"]) if "abstention" in metrics else ""
    folder.write_text("metrics.md", body + note)
    write_predictions(
        folder, "predictions.csv", images, probabilities, classes, temperature, decisions
    )
    logger.info(f"\nTest, {title}\nWeights: {metrics['weights']}\n")
    logger.info(f"{metrics_text(metrics['test'])}\n")
    if "abstention" in metrics:
        logger.info(decided_text(metrics["abstention"]))
    at_bound = bound_note(metrics.get("calibration", {}))
    if at_bound:
        logger.warning(at_bound)
