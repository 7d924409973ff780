"""An ensemble of finished runs: what it computes, and how good it is on common test images.

See docs/design/ensembles.md.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerascxr.evaluation.abstention import measure_abstention
from kerascxr.evaluation.conformal import COVERAGE
from kerascxr.evaluation.ensembles import (
    TEST,
    CommonPredictions,
    common_predictions,
    ensemble_table,
    read_members,
    score_members,
)
from kerascxr.evaluation.shares import share_interval
from kerascxr.models.download import file_digest
from kerascxr.models.ensemble_rule import EnsembleRule
from kerascxr.models.ood_detector import FALSE_ALARMS
from kerascxr.models.saved import load_saved
from kerascxr.names import with_folders
from kerascxr.runs.reading import Run
from kerascxr.serving.graph import Classifier, Outputs
from kerascxr.serving.publishing import record_of
from kerascxr.tables import text_table
from kerascxr.training.ensembles import decide_together, ensemble_rule

logger = logging.getLogger(__name__)

NO_TEST = (
    "no metrics: the members were not tested on the same images, so an image that one of them was "
    "tested on may be one that another was trained on. Test the ensemble on other images."
)
_BY_THRESHOLD = (
    "the mean probability is likely enough from a threshold on, fitted to validation images that "
    "all members held out: an image that is exchangeable with these is decided wrongly with a "
    f"probability of {1 - COVERAGE:.0%} at most, and has its class in its prediction set with one "
    f"of {COVERAGE:.0%} or more"
)
_BY_VOTE = (
    "there is no validation image that all members held out, so the members vote, each with its "
    "own threshold: a class must be the only likely one for more than half of them. An image that "
    "is exchangeable with the validation images of each member is decided wrongly with a "
    f"probability of {2 * (1 - COVERAGE):.0%} at most, and has its class in its prediction set "
    f"with one of {1 - 2 * (1 - COVERAGE):.0%} or more"
)
_FAR = (
    "{}; images like the validation images are called unlike the training images with a "
    "probability of {:.0%} at most. Any other input check warns if it does for more than half of "
    "the members that have it"
)
_FAR_BY_THRESHOLD = _FAR.format(
    "The mean of the members' out-of-distribution scores, each less its limit, has a limit fitted "
    "to the same images",
    FALSE_ALARMS,
)
_FAR_BY_VOTE = _FAR.format(
    "An image is unlike the training images if it is for more than half of the members",
    2 * FALSE_ALARMS,
)


class EnsembleClassifier:
    """The function from images to an ensemble's answer, as ``Classifier`` has it.

    Args:
        members: The members' classifiers, with their rules if the ensemble has one.
        classes: Their class names.
        rule: What decides between an answer and "not decided"; None for probabilities alone.
    """

    def __init__(
        self, members: Sequence[Classifier], classes: Sequence[str], rule: EnsembleRule | None
    ):
        self._members, self._classes, self._rule = list(members), list(classes), rule
        self.rois = tuple(dict.fromkeys(roi for member in members for roi in member.rois))

    def answer(
        self, inputs: Mapping[str, tf.Tensor], own_sizes: tf.Tensor | None = None
    ) -> Outputs:
        """Computes the answer: see ``Classifier.answer``; ``probabilities`` are the mean."""
        answers = [member.answer(inputs, own_sizes) for member in self._members]
        each = tf.stack([answer["probabilities"] for answer in answers])
        mean = tf.reduce_mean(each, axis=0)
        outputs = {
            "probabilities": mean,
            "label": tf.gather(tf.constant(self._classes), tf.argmax(mean, axis=-1)),
            "labels": answers[0]["labels"],
        }
        if self._rule:
            warnings, scores = (
                tf.stack([answer[name] for answer in answers]) for name in ("warnings", "ood_score")
            )
            outputs |= self._rule.apply(each, warnings, scores, self._classes)
        return outputs


@dataclass(frozen=True)
class Ensemble:
    """An ensemble with its models.

    Attributes:
        runs: The members.
        models: Their Keras models.
        classifiers: The functions of each.
        whole: The function of all together.
        rule: What decides; None if a member has no rule.
    """

    runs: list[Run]
    models: list[keras.Model]
    classifiers: list[Classifier]
    whole: EnsembleClassifier
    rule: EnsembleRule | None


def build_ensemble(runs: Sequence[Run]) -> Ensemble:
    """Loads the models of an ensemble and fits its rule.

    Args:
        runs: From ``read_members``.
    """
    classes = runs[0].metrics["test"]["classes"]
    rule = ensemble_rule(runs)
    models = [load_saved(run.path / "model.keras") for run in runs]
    classifiers = [
        Classifier(model, classes, rule.members[index] if rule else None, run.temperature, run.roi)
        for index, (run, model) in enumerate(zip(runs, models, strict=True))
    ]
    whole = EnsembleClassifier(classifiers, classes, rule)
    return Ensemble(list(runs), models, classifiers, whole, rule)


def ensemble_name(runs: Sequence[Run]) -> str:
    """Returns what to call an ensemble, by its members' names."""
    names = "; ".join(dict.fromkeys(run.name for run in runs))
    return f"ensemble of {len(runs)} runs: {names}"


def member_names(runs: Sequence[Run]) -> list[str]:
    """Returns names of an ensemble's members, all different: those of their folders."""
    return with_folders([run.path.name for run in runs], [run.path for run in runs])


def describe_ensemble(
    runs: Sequence[Run], rule: EnsembleRule | None, tested: CommonPredictions | None
) -> dict[str, Any]:
    """Returns what metadata.json says of an ensemble, from the members' saved predictions.

    Args:
        runs: The members.
        rule: The ensemble's rule, or None.
        tested: What they predict for common test images, from ``common_predictions``.

    Returns:
        ``members``: ``run``, ``path``, ``model_sha256``, ``temperature``, ``seed``,
        ``split_offset``, ``data_fingerprint``, ``differs`` (see ``divide_records``) and, if all
        have the same test images, ``test`` (``accuracy``, ``ece``, ``not_decided``,
        ``accuracy_of_decided``); ``probabilities`` and
        ``decisions``, texts; ``test`` of the ensemble, with ``n`` and what ``measure_abstention``
        gives, or None; ``note``, why there is none.
    """
    scores: list[dict[str, Any]] = [*score_members(tested)] if tested else []
    _, differing = divide_records([record_of(run) for run in runs])
    members = [
        {
            "run": name,
            "path": str(run.path),
            "model_sha256": file_digest(run.path / "model.keras"),
            "temperature": run.temperature,
            "seed": run.config["runtime"]["seed"],
            "split_offset": run.config["split"]["offset"],
            "data_fingerprint": run.metrics["data"]["fingerprint"],
            "differs": differs,
        }
        for name, run, differs in zip(member_names(runs), runs, differing, strict=True)
    ]
    test = None
    if tested:
        for member, run, score in zip(members, runs, scores[:-1], strict=True):
            known = run.metrics.get("abstention", {})
            shares = ("not_decided", "accuracy_of_decided")
            member["test"] = score | {name: known[name] for name in shares if name in known}
        right = tested.mean.argmax(axis=1) == tested.truth
        limits = share_interval(right, np.asarray(tested.groups, dtype=str))
        test = scores[-1] | {"n": len(tested.truth), "interval": limits and list(limits)}
        if rule:
            classes = runs[0].metrics["test"]["classes"]
            test |= measure_abstention(
                decide_together(rule, tested, classes),
                tested.truth,
                tested.mean,
                classes,
                tested.groups,
            )
    return {
        "members": members,
        "probabilities": "the mean of the members' probabilities, each calibrated by its own "
        "temperature",
        "decisions": rule and _how_it_decides(rule),
        "test": test,
        "note": None if tested else NO_TEST,
    }


def _how_it_decides(rule: EnsembleRule) -> str:
    parts = (_BY_VOTE, _FAR_BY_VOTE) if rule.votes else (_BY_THRESHOLD, _FAR_BY_THRESHOLD)
    return f"{'. '.join(parts)}."


def ensemble_metrics(paths: Sequence[Path]) -> dict[str, Any]:
    """Returns what ``describe_ensemble`` does of some runs' folders; no model is loaded."""
    runs = read_members(paths)
    return describe_ensemble(runs, ensemble_rule(runs), common_predictions(runs, TEST))


def divide_records(
    records: Sequence[Mapping[str, Any]],
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Divides what is known of an ensemble's members.

    Args:
        records: A record of each; nested dictionaries are divided entry by entry.

    Returns:
        What is the same in all, and what is not, of each.
    """
    same: dict[str, Any] = {}
    differing: list[dict[str, Any]] = [{} for _ in records]
    for key in dict.fromkeys(key for record in records for key in record):
        having = [place for place, record in enumerate(records) if key in record]
        values = [records[place][key] for place in having]
        everywhere = len(having) == len(records)
        if everywhere and all(value == values[0] for value in values):
            same[key] = values[0]
        elif everywhere and all(isinstance(value, Mapping) for value in values):
            same[key], parts = divide_records(values)
            for own, part in zip(differing, parts, strict=True):
                own |= {key: part} if part else {}
        else:
            for place, value in zip(having, values, strict=True):
                differing[place][key] = value
    return same, differing


def log_ensemble(about: Mapping[str, Any]) -> None:
    """Logs how good an ensemble is, or why that is not known.

    Args:
        about: From ``describe_ensemble``, with ``cost`` if that was measured.
    """
    if about["test"] is None:
        logger.info(f"Ensemble of {len(about['members'])} runs: {about['note']}")
    else:
        table = ensemble_table(about)
        logger.info(f"\n{table.title}\n\n{text_table(table.header, table.rows)}\n")
    if about["decisions"]:
        logger.info(f"Decisions: {about['decisions']}")
