"""Testing several finished runs, as one model, on another set."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kerascxr.audits.answers import write_answers
from kerascxr.audits.external import (
    about_data,
    config_elsewhere,
    read_unseen,
    relabelled,
    unknown_classes,
    with_lung_model,
)
from kerascxr.audits.unseen import LeftOut
from kerascxr.config import ClassificationConfig, DataConfig
from kerascxr.data.ingest.store import Store
from kerascxr.data.pipeline import Images
from kerascxr.data.roi import ROIS
from kerascxr.evaluation.abstention import Decisions, measure_abstention
from kerascxr.evaluation.classification import evaluate
from kerascxr.evaluation.ensembles import (
    TEST,
    CommonPredictions,
    common_predictions,
    read_members,
    score_members,
)
from kerascxr.evaluation.metric_tables import metrics_markdown, metrics_text
from kerascxr.evaluation.transfer import compare_with_internal, of_common_classes
from kerascxr.evaluation.uncertainty import classification_intervals
from kerascxr.runs.abstention_tables import abstention_markdown, decided_text
from kerascxr.runs.atomic import replace_folder
from kerascxr.runs.folder import RunFolder
from kerascxr.runs.reading import Run
from kerascxr.training.classification import write_predictions
from kerascxr.training.ensembles import (
    Members,
    decide_together,
    ensemble_rule,
    member_with_lungs,
)
from kerascxr.training.inputs import read_everything

logger = logging.getLogger(__name__)


def evaluate_ensemble(
    paths: Sequence[Path], data: DataConfig, to: Path, lungs: Path | None = None
) -> dict[str, Any]:
    """Tests an ensemble on a set; writes ``to/<set>/`` whole or not at all.

    Its answer is the mean of the members' calibrated probabilities. Images that a member was
    trained or validated on are left out. Of classes that the members do not know, or none, it is
    counted what the ensemble answers there.

    Args:
        paths: Finished classification runs that fit together; see ``check_members``.
        data: The other set.
        to: Where to.
        lungs: See ``evaluate_run``.

    Returns:
        What metrics.json holds: ``members``, each with ``run``, ``accuracy`` and ``ece``; ``test``,
        ``ece``, ``abstention`` and, if all members were tested on the same images,
        ``against_internal``, the difference to these. Or what answers.json holds.

    Raises:
        ValueError: If the runs do not fit together, one has no decision rule, or they have seen the
            whole set.
    """
    runs = read_members(paths)
    rule = ensemble_rule(runs)
    if rule is None:
        raise ValueError(
            f"runs of an ensemble must have decision rules. Got {', '.join(map(str, paths))}."
        )
    read, store, inputs, left_out = _read_regions(runs, data, lungs)
    classes = runs[0].metrics["test"]["classes"]
    unknown = unknown_classes(store, classes)
    if not unknown:
        inputs = {roi: relabelled(images, store, classes) for roi, images in inputs.items()}
    images = inputs[read.roi]
    about: dict[str, Any] = {
        "task": "classification",
        "title": f"Ensemble of {len(runs)} runs, on {store.path.name}",
        "runs": [str(path) for path in paths],
        "classes": classes,
        "data": about_data(read, store, images, left_out),
    }
    samples = {roi: one.pixels for roi, one in inputs.items()}
    found = Members(runs, rule, samples).answer(store, inputs)
    decisions = decide_together(rule, found, classes)
    common = common_predictions(runs, TEST)
    result: dict[str, Any] = {}

    def fill(partial: Path) -> None:
        folder = RunFolder(partial)
        if unknown:
            own = None
            if common is not None:
                own = _abstention(decide_together(rule, common, classes), common, classes)
            given = (about, images, found.mean, decisions, own)
            answers, table = write_answers(folder, *given)
            logger.info(f"\n{about['title']}\n\n{table}\n")
            result.update(answers)
            return
        members = [{"run": str(path)} for path in paths]
        metrics = _metrics(about, members, found, decisions, common)
        _write_test(folder, metrics)
        write_predictions(folder, "predictions.csv", images, found.mean, classes, 1.0, decisions)
        result.update(metrics)

    place = to / store.path.name
    replace_folder(place, fill, "external test")
    logger.info(f"Written to {place}")
    return result


def _read_regions(
    runs: Sequence[Run], data: DataConfig, lungs: Path | None
) -> tuple[ClassificationConfig, Store, dict[str, Images], LeftOut]:
    """Reads the images of a set that no run was trained or validated on.

    Returns:
        The config of a run whose region of interest needs the lungs, or of the first run; the set's
        store; each region -> that of the images; and what was left out.
    """
    first = {run.roi: run.path for run in reversed(runs)}
    paths = [run.path for run in runs]
    main = member_with_lungs(runs).roi
    config, store, images, left_out = read_unseen(paths, config_elsewhere(first[main], data, lungs))
    inputs = {main: images}
    for roi in first.keys() - {main}:
        own = lungs if ROIS[roi].needs_lungs else None
        one = with_lung_model(config_elsewhere(first[roi], data, own), store)
        every = read_everything(one, store)
        places = {image: place for place, image in enumerate(every.ids)}
        inputs[roi] = every.only([places[image] for image in images.ids])
    return config, store, inputs, left_out


def _metrics(
    about: dict[str, Any],
    members: Sequence[dict[str, Any]],
    found: CommonPredictions,
    decisions: Decisions,
    common: CommonPredictions | None,
) -> dict[str, Any]:
    """Returns what metrics.json holds of a set whose classes the members know."""
    *own, whole = score_members(found)
    metrics = about | {
        "members": [named | score for named, score in zip(members, own, strict=True)],
        "ece": whole["ece"],
        "test": _test(found, about["classes"]),
        "abstention": _abstention(decisions, found, about["classes"]),
    }
    if common is not None:
        predicted = (common.truth, common.mean, about["classes"], common.groups)
        internal = of_common_classes(*predicted, metrics["test"])
        if internal:
            metrics["internal_of_common_classes"] = internal
        metrics["against_internal"] = compare_with_internal(
            internal or _test(common, about["classes"]),
            metrics["test"],
            ("accuracy", "f1", "auc"),
        )
    return metrics


def _write_test(folder: RunFolder, metrics: dict[str, Any]) -> None:
    folder.write_json("metrics.json", metrics)
    text = metrics_markdown(metrics["test"], metrics["title"])
    folder.write_text("metrics.md", text + abstention_markdown(metrics["abstention"]))
    logger.info(f"\n{metrics['title']}\n\n{metrics_text(metrics['test'])}\n")
    logger.info(decided_text(metrics["abstention"]))


def _test(found: CommonPredictions, classes: Sequence[str]) -> dict[str, Any]:
    test = evaluate(found.truth, found.mean, classes)
    test["intervals"] = classification_intervals(found.truth, found.mean, classes, found.groups)
    return test


def _abstention(
    decisions: Decisions, found: CommonPredictions, classes: Sequence[str]
) -> dict[str, Any]:
    return measure_abstention(decisions, found.truth, found.mean, classes, found.groups)
