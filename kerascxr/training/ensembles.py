"""An ensemble of finished runs: its rule, its answers, and the rule on saved predictions."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from kerascxr.data.ingest.store import Store
from kerascxr.data.pipeline import Images
from kerascxr.data.roi import ROIS
from kerascxr.evaluation.abstention import Decisions
from kerascxr.evaluation.calibration import apply_temperature
from kerascxr.evaluation.ensembles import VALIDATION, CommonPredictions, common_predictions
from kerascxr.models.decision_rule import FILE, DecisionRule
from kerascxr.models.ensemble_rule import EnsembleRule
from kerascxr.models.saved import load_saved
from kerascxr.runs.reading import Run
from kerascxr.training.decisions import LogitsAndStatistics, apply_rule, decisions_of
from kerascxr.training.engines import EngineChoice, likely_engine
from kerascxr.training.learner import softmax


class Members:
    """The members of an ensemble, ready to answer.

    Args:
        runs: The members.
        rule: Their rule, or None.
        samples: Each member's region of interest -> some images, uint8 (n, height, width,
            channels), to try the engines on.

    Attributes:
        engines: What runs each member: that of its features, where it is installed.
    """

    def __init__(
        self, runs: Sequence[Run], rule: EnsembleRule | None, samples: Mapping[str, np.ndarray]
    ):
        self._runs, self._rule = list(runs), rule
        self._classes = runs[0].metrics["test"]["classes"]
        self._outputs = []
        for run in runs:
            wanted: EngineChoice = "keras" if run.config["feature_engine"] == "keras" else "auto"
            model = load_saved(run.path / "model.keras")
            engine = likely_engine(wanted)
            self._outputs.append(LogitsAndStatistics(model, engine, samples[run.roi]))
        self.engines = [outputs.engine for outputs in self._outputs]

    def answer(self, store: Store, inputs: Mapping[str, Images]) -> CommonPredictions:
        """Returns what each member predicts for n images, in their order.

        Args:
            store: The images' store.
            inputs: Each member's region of interest -> that of the same images; their labels become
                ``truth`` as they are.
        """
        rows: list[list[dict[str, Any]]] = []
        each = []
        for number, (run, outputs) in enumerate(zip(self._runs, self._outputs, strict=True)):
            images = inputs[run.roi]
            logits, statistics = outputs.of(images.pixels)
            calibrated = apply_temperature(softmax(logits), run.temperature)
            each.append(calibrated)
            rows.append([{"group": group} for group in images.groups])
            if self._rule:
                own = self._rule.members[number]
                given = (store, images, calibrated, self._classes, statistics)
                decided = apply_rule(own, *given)
                pairs = zip(decided.warnings, decided.ood_scores, strict=True)
                for row, (warnings, score) in zip(rows[-1], pairs, strict=True):
                    row |= {"warnings": warnings, "ood_score": repr(float(score))}
        labels = inputs[self._runs[0].roi].labels
        return CommonPredictions(rows, labels, np.stack(each))


def member_with_lungs(runs: Sequence[Run]) -> Run:
    """Returns the first member whose region of interest needs the lungs; without one, the first."""
    return next((run for run in runs if ROIS[run.roi].needs_lungs), runs[0])


def ensemble_rule(runs: Sequence[Run]) -> EnsembleRule | None:
    """Fits the rule of an ensemble.

    Args:
        runs: The members.

    Returns:
        One fitted to the validation images if all members held out the same, else a vote; None if a
        member has no rule.
    """
    if not all((run.path / FILE).exists() for run in runs):
        return None
    rules = [DecisionRule.load(run.path / FILE) for run in runs]
    held_out = common_predictions(runs, VALIDATION)
    if held_out is None or "ood_score" not in held_out.rows[0][0]:
        return EnsembleRule(tuple(rules))
    return EnsembleRule.fit(rules, held_out.truth, held_out.mean, held_out.ood_scores)


def decide_together(
    rule: EnsembleRule, found: CommonPredictions, classes: Sequence[str]
) -> Decisions:
    """Decides on images from the members' predictions.

    Args:
        rule: The ensemble's rule.
        found: The predictions, with the columns of the members' decisions.
        classes: The k class names.
    """
    answer = rule.apply(
        tf.constant(found.probabilities, tf.float32),
        tf.constant([[row["warnings"] for row in rows] for rows in found.rows]),
        tf.constant(found.ood_scores, tf.float32),
        classes,
    )
    return decisions_of([answer], rule.prediction_sets(found.probabilities))
