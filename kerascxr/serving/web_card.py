"""model.json of the browser page: all that the page shows of a model beside its answers."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kerascxr import __version__
from kerascxr.config import PACKAGED
from kerascxr.data.ingest.folds import split_folds
from kerascxr.data.roi import ROIS
from kerascxr.evaluation.abstention import NOT_DECIDED, SEVERAL
from kerascxr.evaluation.conformal import COVERAGE
from kerascxr.evaluation.ensembles import TEST, common_predictions
from kerascxr.evaluation.lung_masks import checks_without_components
from kerascxr.models import input_checks, lung_model
from kerascxr.models.decision_rule import DecisionRule
from kerascxr.models.ensemble_rule import EnsembleRule
from kerascxr.runs.reading import Run, read_run
from kerascxr.serving.ensemble import describe_ensemble, member_names
from kerascxr.serving.web_model import Lungs, PageModel

FORMAT = 2

WARNING_TEXTS = {
    SEVERAL: "No single class is likely enough.",
    input_checks.CONSTANT: "The image has almost no contrast. It may be empty or badly exposed.",
    input_checks.FAR: "The image is unlike the training images. The probabilities may be wrong.",
    input_checks.INVERTED: "The grey scale may be inverted: bones should be bright.",
    input_checks.UPSIDE_DOWN: "The image may be upside down.",
    input_checks.ON_ITS_SIDE: "The image may lie on its side.",
    input_checks.ASPECT: "The image is too wide or too tall for a whole chest X-ray.",
}
"""What the page shows for each of a decision rule's kinds."""

_METRICS = {
    "accuracy": "accuracy",
    "precision": "macro precision",
    "recall": "macro recall",
    "f1": "macro F1",
    "auc": "macro AUC",
}


@dataclass(frozen=True)
class Findings:
    """What other parts of the package found about a run, in words.

    Attributes:
        limits: Sentences on what the model must not be used for.
        audit: One row an input ablation: ``input``, ``accuracy``, ``auc``, ``verdict``; None for a
            run that was not audited.
        audit_note: A sentence on the audit.
    """

    limits: Sequence[str]
    audit: Sequence[dict[str, Any]] | None
    audit_note: str


def model_card(page: PageModel, findings: Findings) -> dict[str, Any]:
    """Returns what model.json holds.

    Args:
        page: What the page's model is made of.
        findings: See ``Findings``.
    """
    roi, rule = ROIS[page.config.roi], page.rule
    limit = 0.0 if page.together else page.members[0].rule.checks.ood_detector.limit
    return {
        "format": FORMAT,
        "name": page.name,
        "created": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "kerascxr": __version__,
        "classes": page.classes,
        "image_size": list(page.config.image_size),
        "region": None
        if page.config.roi == "none"
        else {"text": roi.description, "needs_lungs": roi.needs_lungs},
        "members": member_names(page.runs) if page.together else [],
        "decision": {"not_decided": NOT_DECIDED, **_operating_point(rule)},
        "warnings": [{"kind": kind, "text": WARNING_TEXTS.get(kind, kind)} for kind in rule.kinds],
        "ood": {"limit": limit},  # an ensemble's scores are less their limits
        "lungs": _lungs(page.lungs) if page.lungs else None,
        "metrics": _metrics_of_ensemble(page) if page.together else _metrics(page),
        "operating_points": [] if page.together else _operating_points(page.runs[0]),
        "data": _data(page),
        "audit": findings.audit,
        "audit_note": findings.audit_note,
        "limits": list(findings.limits),
    }


def _operating_point(rule: DecisionRule | EnsembleRule) -> dict[str, Any]:
    """Returns from which probability on a class is likely enough; null where members vote."""
    always = list(rule.in_every_set)
    if isinstance(rule, EnsembleRule) and rule.votes:
        coverage = 1 - 2 * (1 - COVERAGE)
        return {"least": None, "in_every_set": always, "coverage": round(coverage, 6)}
    return {"least": rule.least, "in_every_set": always, "coverage": COVERAGE}


def _metrics(page: PageModel) -> dict[str, Any]:
    test = page.runs[0].metrics["test"]
    intervals = test.get("intervals", {})
    rows = [
        {"name": title, "value": test[name], **_ends(intervals.get(name))}
        for name, title in _METRICS.items()
        if test.get(name) is not None
    ]
    return {"n_test": test["n"], "rows": rows, "note": page.note}


def _metrics_of_ensemble(page: PageModel) -> dict[str, Any]:
    assert page.together is not None
    about = describe_ensemble(page.runs, page.together, common_predictions(page.runs, TEST))
    test = about["test"]
    if test is None:
        note = about["note"]
        return {"n_test": 0, "rows": [], "note": note[0].upper() + note[1:]}
    rows = [
        {"name": "accuracy", "value": test["accuracy"], **_ends(test["interval"])},
        {"name": "expected calibration error", "value": test["ece"], **_ends(None)},
    ]
    return {"n_test": test["n"], "rows": rows, "note": page.note}


def _operating_points(run: Run) -> list[dict[str, Any]]:
    points = run.metrics.get("calibration", {}).get("operating_points") or {}
    return [
        {"class": name} | {key: of[key] for key in ("threshold", "sensitivity", "specificity")}
        for name, of in points.items()
        if of["threshold"] is not None
    ]


def _ends(interval: Sequence[float] | None) -> dict[str, float | None]:
    low, high = interval or (None, None)
    return {"low": low, "high": high}


def _data(page: PageModel) -> dict[str, Any]:
    run = page.runs[0]
    folds = set(map(str, split_folds(page.config.split)["train"]))
    labels = [row["label"] for row in page.store.rows if row["fold"] in folds]
    images = run.metrics["data"]["images"]
    held_out = f"{images['validation']:,} for validation and {images['test']:,} for the test"
    found = {
        "description": f"{run.source}; {held_out} were held out.",
        "n_train": len(labels),
        "classes": {name: labels.count(name) for name in page.classes},
    }
    if any(_training(one) != _training(run) for one in page.runs):
        sources = "; ".join(dict.fromkeys(one.source for one in page.runs))
        text = f"{sources}. Each member was trained on other images of them."
        return {"description": text, "n_train": None, "classes": {}}
    return found


def _training(run: Run) -> tuple[Any, ...]:
    return run.metrics["data"]["fingerprint"], run.config.get("split")


def _lungs(lungs: Lungs) -> dict[str, Any]:
    path, segmenter = lungs.path, lungs.segmenter
    found = {
        "size": list(segmenter.size),
        "threshold": segmenter.threshold,
        "checks": checks_without_components(),
    }
    if path == PACKAGED:
        card = lung_model.read_card()
        results = [
            f"{of['dice']:.3f} ({of['n']} images; {name})" for name, of in card["results"].items()
        ]
        shown = {
            "data": card["data"],
            "licence": card["licence"],
            "Dice": ", ".join(results),
            "limits": " ".join(card["limits"]),
        }
        return {"name": card["title"], **found, "card": shown}
    run = read_run(path, "segmentation")
    test = run.metrics["test"]
    shown = {"data": run.source, "Dice": f"{test['dice']:.3f}, mean of {test['n']} test images"}
    return {"name": run.name, **found, "card": shown}
