"""Fits a run's decision rule at the end of its training, and applies it to images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerascxr.config import ClassificationConfig
from kerascxr.data.altered_copies import altered_copies
from kerascxr.data.images import resize_image
from kerascxr.data.ingest.store import Store
from kerascxr.data.pipeline import Images
from kerascxr.evaluation.abstention import Decisions
from kerascxr.evaluation.conformal import (
    COVERAGE,
    class_thresholds,
    common_threshold,
    least_images,
    prediction_sets,
)
from kerascxr.models.decision_rule import DecisionRule
from kerascxr.models.input_checks import InputChecks, OrientationClassifier, turned_copies
from kerascxr.models.layer_statistics import layer_statistics, require_finite
from kerascxr.models.ood_detector import FALSE_ALARMS, OODDetector
from kerascxr.training.engines import Engine, EngineName, build_engine
from kerascxr.training.learner import Learner
from kerascxr.training.sharing import shared

_TRAINING = 1500  # images
_TURNED = 150  # of these, also inverted and rotated
_VALIDATION = 1000
_DECIDED_AT_ONCE = 256


class Statistics:
    """Computes the layer statistics of images.

    Args:
        engine: Runs a classifier as it will be used; the last of its outputs are the statistics.
        sizes: How many statistics each layer has.
    """

    def __init__(self, engine: Engine, sizes: tuple[int, ...]):
        self.sizes = sizes
        self._engine = engine

    @classmethod
    def of_model(cls, model: keras.Model, engine: EngineName, sample: np.ndarray) -> "Statistics":
        """Builds an engine for a classifier's statistics.

        Args:
            model: The classifier.
            engine: What runs it; Keras where that turns out not to work.
            sample: Some images, uint8 (n, height, width, channels), to try the engine on.
        """
        found = layer_statistics(model)
        only = keras.Model(model.input, found.output)
        return cls(build_engine(only, engine, sample[:2].astype(np.float32)), found.sizes)

    def of(self, pixels: np.ndarray) -> np.ndarray:
        """Returns float32 (n, statistics) of uint8 (n, height, width, channels)."""
        return _run(self._engine, pixels)[-1]


class LogitsAndStatistics:
    """Computes a classifier's logits and its layer statistics in one pass.

    Args:
        model: A classifier as it will be used.
        engine: What runs it; Keras where that turns out not to work.
        sample: Some images, uint8 (n, height, width, channels), to try the engine on.

    Attributes:
        engine: What runs it.
    """

    def __init__(self, model: keras.Model, engine: EngineName, sample: np.ndarray):
        whole = keras.Model(model.input, [model.output, layer_statistics(model).output])
        self._engine = build_engine(whole, engine, sample[:2].astype(np.float32))
        self.engine = self._engine.name

    def of(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns float32 (n, k) and (n, statistics) of uint8 (n, height, width, channels)."""
        logits, statistics = _run(self._engine, pixels)
        return logits, statistics


def _run(engine: Engine, pixels: np.ndarray) -> list[np.ndarray]:
    """Returns an engine's outputs for uint8 (n, height, width, channels)."""
    step = engine.batch_size
    batches = (
        pixels[begin : begin + step].astype(np.float32) for begin in range(0, len(pixels), step)
    )
    return [np.concatenate(outputs) for outputs in zip(*engine.run(batches), strict=True)]


@dataclass(frozen=True)
class Decider:
    """A rule with what it needs of its model.

    Attributes:
        rule: The rule.
        statistics: The model's layer statistics.
        validation: Those of its validation images, float32 (n, statistics).
    """

    rule: DecisionRule
    statistics: Statistics
    validation: np.ndarray


def apply_rule(
    rule: DecisionRule,
    store: Store,
    images: Images,
    probabilities: np.ndarray,
    classes: Sequence[str],
    statistics: Callable[[np.ndarray], np.ndarray] | np.ndarray,
) -> Decisions:
    """Decides on images, some of them at a time.

    Args:
        rule: The rule.
        store: The images' store, which knows their own sizes.
        images: The n images, as the classifier gets them.
        probabilities: float (n, k), calibrated.
        classes: The model's k classes.
        statistics: Their layer statistics, float32 (n, statistics), or what computes them of
            pixels, uint8 (m, height, width, channels).
    """
    sizes = {row["id"]: (int(row["height"]), int(row["width"])) for row in store.rows}
    own_sizes = np.array([sizes[image] for image in images.ids], np.int32)
    given = probabilities.astype(np.float32)
    answers = []
    for begin in range(0, len(images), _DECIDED_AT_ONCE):
        place = slice(begin, begin + _DECIDED_AT_ONCE)
        pixels = images.pixels[place]
        known = statistics[place] if isinstance(statistics, np.ndarray) else statistics(pixels)
        answers.append(
            rule.apply(
                tf.cast(pixels, tf.float32),
                tf.constant(known),
                tf.constant(given[place]),
                classes,
                tf.constant(own_sizes[place]),
            )
        )
    return decisions_of(answers, prediction_sets(given, rule.thresholds))


def decisions_of(answers: Sequence[dict[str, tf.Tensor]], sets: np.ndarray) -> Decisions:
    """Puts answers of ``DecisionRule.apply`` together, batch by batch."""

    def texts(name: str) -> tuple[str, ...]:
        return tuple(text.decode() for answer in answers for text in answer[name].numpy())

    scores = np.concatenate([answer["ood_score"].numpy() for answer in answers])
    return Decisions(texts("decision"), sets, scores, texts("warnings"))


def fit_decider(
    model: keras.Model,
    splits: dict[str, Images],
    probabilities: np.ndarray,
    config: ClassificationConfig,
    learner: Learner,
) -> Decider:
    """Fits a classifier's decision rule to its training and validation images.

    Statistics that were computed with the learner's features are not computed again.

    Args:
        model: The trained classifier.
        splits: Its images.
        probabilities: float (n, k), of the validation images, calibrated.
        config: How it was trained.
        learner: What it was trained by.

    Raises:
        NonFiniteStatisticsError: If layer statistics are NaN or infinite.
    """
    training, validation = splits["train"], splits["validation"]
    chosen = _chosen(training, _TRAINING)
    pixels = training.pixels[chosen]
    features = learner.features

    def fit_checks() -> InputChecks:
        return _fit_checks(model, statistics, pixels, as_is, held_out, config)

    if features is not None and features.sizes is not None:
        statistics = Statistics(features.engine_for(validation), features.sizes)
        as_is = features.statistics(training)[chosen]
        of_validation = features.statistics(validation)
        held_out = _some(of_validation, _VALIDATION)
        images = (training.digest, chosen.tobytes(), validation.digest)
        key = (features.identity, *images, config.runtime.seed, config.roi)
        checks = shared("input checks", key, fit_checks)
    else:
        engine = learner.engine or "keras"  # as config.yaml has it
        statistics = Statistics.of_model(model, engine, validation.pixels)
        as_is = statistics.of(pixels)
        of_validation = statistics.of(validation.pixels)
        held_out = _some(of_validation, _VALIDATION)
        checks = fit_checks()
    thresholds = class_thresholds(validation.labels, probabilities).astype(np.float32)
    least = float(np.float32(common_threshold(validation.labels, probabilities)))
    return Decider(DecisionRule(checks, thresholds, least), statistics, of_validation)


def _fit_checks(
    model: keras.Model,
    statistics: Statistics,
    pixels: np.ndarray,
    as_is: np.ndarray,
    held_out: np.ndarray,
    config: ClassificationConfig,
) -> InputChecks:
    """Fits the checks of images. Of the model they depend on the layer statistics alone.

    Args:
        model: The classifier, for messages.
        statistics: Its layer statistics.
        pixels: Training images, uint8 (n, height, width, channels).
        as_is: Their statistics, float32 (n, statistics).
        held_out: Those of validation images.
        config: The seed of altered copies, and the region of interest.
    """
    altered = statistics.of(altered_copies(pixels, config.runtime.seed))
    for values, of in (
        (as_is, "training images"),
        (held_out, "validation images"),
        (altered, "altered copies of training images"),
    ):
        require_finite(model, values, of)
    orientation = None
    if config.roi == "none":  # a rotated crop is not the crop of a rotated image
        size = pixels.shape[1:3]
        turned = {
            name: statistics.of(resize_image(copies, size).numpy())
            for name, copies in turned_copies(_some(pixels, _TURNED)).items()
        }
        for values in turned.values():
            require_finite(model, values, "inverted or rotated training images")
        orientation = OrientationClassifier.fit({"": as_is} | turned, held_out, tuple(turned))
    detector = OODDetector.fit(as_is, altered, held_out, statistics.sizes)
    return InputChecks(detector, orientation)


def describe_rule(rule: DecisionRule, labels: np.ndarray) -> dict[str, Any]:
    """Returns what metrics.json says of a rule, before it is measured.

    Args:
        rule: The rule.
        labels: int (n,), of the validation images that its thresholds were fitted to.
    """
    counts = np.bincount(labels, minlength=len(rule.thresholds)).tolist()
    return {
        "ood_limit": rule.checks.ood_detector.limit,
        "ood_false_alarms": FALSE_ALARMS,
        "coverage_level": COVERAGE,
        "least_probability": rule.least,
        "set_thresholds": [float(value) for value in rule.thresholds],
        "validation_images": counts,
        "least_validation_images": least_images(),
    }


def _chosen(images: Images, count: int) -> np.ndarray:
    """Returns the places of some images, spread evenly over each class, in order."""
    share = min(1.0, count / len(images))
    places = [np.flatnonzero(images.labels == kind) for kind in np.unique(images.labels)]
    return np.sort(np.concatenate([_some(of, max(1, round(share * len(of)))) for of in places]))


def _some(items: np.ndarray, count: int) -> np.ndarray:
    """Returns some items, spread evenly, in order."""
    return items[np.unique(np.linspace(0, len(items) - 1, min(len(items), count)).astype(np.int64))]
