"""The decisions of an ensemble of finished runs: its rule, and that rule on saved predictions."""

from collections.abc import Sequence

import tensorflow as tf

from kerascxr.evaluation.abstention import Decisions
from kerascxr.evaluation.ensembles import VALIDATION, CommonPredictions, common_predictions
from kerascxr.models.decision_rule import FILE, DecisionRule
from kerascxr.models.ensemble_rule import EnsembleRule
from kerascxr.runs.reading import Run
from kerascxr.training.decisions import decisions_of


def ensemble_rule(runs: Sequence[Run]) -> EnsembleRule | None:
    """Fits the rule of an ensemble.

    Args:
        runs: The members.

    Returns:
        Thresholds of the mean if all members held out the same validation images, else a vote; None
        if a member has no rule.
    """
    if not all((run.path / FILE).exists() for run in runs):
        return None
    rules = [DecisionRule.load(run.path / FILE) for run in runs]
    held_out = common_predictions(runs, VALIDATION)
    if held_out is None:
        return EnsembleRule(tuple(rules))
    return EnsembleRule.fit(rules, held_out.truth, held_out.mean)


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
        tf.constant([[float(row["ood_score"]) for row in rows] for rows in found.rows], tf.float32),
        classes,
    )
    return decisions_of([answer], rule.prediction_sets(found.probabilities))
