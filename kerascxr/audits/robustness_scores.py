"""What a robustness test computes of a run's, or of an ensemble's, corrupted images."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from kerascxr.data.ingest.store import Store
from kerascxr.data.pipeline import Images
from kerascxr.evaluation import classification, segmentation
from kerascxr.evaluation.calibration import apply_temperature
from kerascxr.evaluation.robustness import ECE, MEASURES, RELIABILITY, measure_reliability
from kerascxr.evaluation.uncertainty import classification_intervals, segmentation_intervals
from kerascxr.models.decision_rule import FILE, DecisionRule
from kerascxr.models.segmenter import Segmenter
from kerascxr.runs.reading import Run
from kerascxr.training.decisions import LogitsAndStatistics, apply_rule
from kerascxr.training.ensembles import Members, decide_together, ensemble_rule
from kerascxr.training.learner import softmax

Score = Callable[[Images], dict[str, Any]]
"""Images to their scores, with ``intervals``."""


class ClassifierTest:
    """Tests a classifier; each image passes through the backbone once.

    Args:
        run: The run.
        store: The images' store.
        outputs: Its classifier's.
    """

    def __init__(self, run: Run, store: Store, outputs: LogitsAndStatistics):
        self._run, self._store, self._outputs = run, store, outputs
        self._rule = DecisionRule.load(run.path / FILE) if (run.path / FILE).exists() else None

    @property
    def measures(self) -> tuple[str, ...]:
        """What is measured."""
        return _measures(self._rule)

    def __call__(self, images: Images) -> dict[str, Any]:
        """Returns the scores of images."""
        logits, statistics = self._outputs.of(images.pixels)
        uncalibrated = softmax(logits)
        calibrated = apply_temperature(uncalibrated, self._run.temperature)
        decided = None
        if self._rule:
            given = (self._store, images, calibrated, images.classes, statistics)
            decided = apply_rule(self._rule, *given).decided
        return _scores(images, uncalibrated, calibrated, decided)


class EnsembleTest:
    """Tests an ensemble; each image passes once through each member.

    Args:
        runs: The members, of one region of interest.
        store: The images' store.
        sample: Some images, to try the engines on.
    """

    def __init__(self, runs: Sequence[Run], store: Store, sample: np.ndarray):
        self._store, self._rule = store, ensemble_rule(runs)
        self._roi = runs[0].roi
        self._members = Members(runs, self._rule, {self._roi: sample})
        self.engines = self._members.engines

    @property
    def measures(self) -> tuple[str, ...]:
        """What is measured."""
        return _measures(self._rule)

    def __call__(self, images: Images) -> dict[str, Any]:
        """Returns the scores of images."""
        found = self._members.answer(self._store, {self._roi: images})
        decided = None
        if self._rule:
            decided = decide_together(self._rule, found, images.classes).decided
        return _scores(images, found.mean, found.mean, decided)


def segmenter_score(segmenter: Segmenter, batch_size: int) -> Score:
    """Returns what tests a U-Net, so many images at a time."""
    find = tf.function(segmenter.masks, reduce_retracing=True, autograph=False)

    def score(images: Images) -> dict[str, Any]:
        assert images.masks is not None
        masks = (
            mask
            for begin in range(0, len(images), batch_size)
            for mask in find(tf.constant(images.pixels[begin : begin + batch_size])).numpy()
        )
        rows, scores = segmentation.evaluate(images.masks[..., 0], (mask[..., 0] for mask in masks))
        rows = [row | {"group": group} for row, group in zip(rows, images.groups, strict=True)]
        return scores | {"intervals": _as_json(segmentation_intervals(rows))}

    return score


def _measures(rule: object | None) -> tuple[str, ...]:
    """Returns what is measured of a classifier that has a decision rule, or None."""
    return MEASURES["classification"] + (RELIABILITY if rule else (ECE,))


def _scores(
    images: Images,
    probabilities: np.ndarray,
    calibrated: np.ndarray,
    decided: np.ndarray | None,
) -> dict[str, Any]:
    tested = (images.labels, probabilities, images.classes)
    ends = _as_json(classification_intervals(*tested, images.groups))
    values, more = measure_reliability(images.labels, calibrated, images.groups, decided)
    return classification.evaluate(*tested) | values | {"intervals": ends | more}


def _as_json(ends: dict[str, Any]) -> dict[str, Any]:
    """Returns intervals as they are read back from JSON, so that a resumed test has the same."""
    return {key: list(of) if isinstance(of, tuple) else of for key, of in ends.items()}
