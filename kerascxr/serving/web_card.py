"""model.json of the browser page: all that the page shows of a model beside its answers."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kerascxr import __version__
from kerascxr.config import PACKAGED, ClassificationConfig
from kerascxr.data.ingest.folds import split_folds
from kerascxr.data.ingest.store import Store
from kerascxr.evaluation.abstention import NOT_DECIDED, SEVERAL
from kerascxr.evaluation.conformal import COVERAGE
from kerascxr.evaluation.lung_masks import checks_without_components
from kerascxr.models import input_checks, lung_model
from kerascxr.models.decision_rule import DecisionRule
from kerascxr.models.segmenter import Segmenter
from kerascxr.runs.reading import Run, read_run

FORMAT = 1

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


def model_card(
    run: Run,
    config: ClassificationConfig,
    store: Store,
    rule: DecisionRule,
    lungs: tuple[Path, Segmenter] | None,
    findings: Findings,
) -> dict[str, Any]:
    """Returns what model.json holds.

    Args:
        run: The classifier's run.
        config: Its config.
        store: Its images.
        rule: Its decision rule.
        lungs: A segmentation run or ``PACKAGED``, and its U-Net; None without lung masks.
        findings: See ``Findings``.
    """
    test = run.metrics["test"]
    intervals = test.get("intervals", {})
    points = run.metrics.get("calibration", {}).get("operating_points") or {}
    return {
        "format": FORMAT,
        "name": run.name,
        "created": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "kerascxr": __version__,
        "classes": test["classes"],
        "image_size": list(config.image_size),
        "temperature": run.temperature,
        "decision": {
            "not_decided": NOT_DECIDED,
            "least": rule.least,
            "thresholds": [float(value) for value in rule.thresholds],
            "coverage": COVERAGE,
        },
        "warnings": [{"kind": kind, "text": WARNING_TEXTS.get(kind, kind)} for kind in rule.kinds],
        "ood": {"limit": rule.checks.ood_detector.limit},
        "lungs": _lungs(*lungs) if lungs else None,
        "metrics": {
            "n_test": test["n"],
            "rows": [
                {"name": title, "value": test[name], **_ends(intervals.get(name))}
                for name, title in _METRICS.items()
                if test.get(name) is not None
            ],
        },
        "operating_points": [
            {"class": name} | {key: of[key] for key in ("threshold", "sensitivity", "specificity")}
            for name, of in points.items()
            if of["threshold"] is not None
        ],
        "data": _data(run, config, store),
        "audit": findings.audit,
        "audit_note": findings.audit_note,
        "limits": list(findings.limits),
    }


def _ends(interval: Sequence[float] | None) -> dict[str, float | None]:
    low, high = interval or (None, None)
    return {"low": low, "high": high}


def _data(run: Run, config: ClassificationConfig, store: Store) -> dict[str, Any]:
    folds = set(map(str, split_folds(config.split)["train"]))
    labels = [row["label"] for row in store.rows if row["fold"] in folds]
    images = run.metrics["data"]["images"]
    held_out = f"{images['validation']:,} for validation and {images['test']:,} for the test"
    return {
        "description": f"{run.source}; {held_out} were held out.",
        "n_train": len(labels),
        "classes": {name: labels.count(name) for name in run.metrics["test"]["classes"]},
    }


def _lungs(path: Path, segmenter: Segmenter) -> dict[str, Any]:
    found = {
        "size": list(segmenter.size),
        "threshold": segmenter.threshold,
        "checks": checks_without_components(),
    }
    if path == PACKAGED:
        card = lung_model.read_card()
        result = next(iter(card["results"].values()))
        shown = {
            "data": card["data"],
            "licence": card["licence"],
            "Dice": f"{result['dice']:.3f}, mean of {result['n']} test images",
            "limits": " ".join(card["limits"]),
        }
        return {"name": card["title"], **found, "card": shown}
    run = read_run(path, "segmentation")
    test = run.metrics["test"]
    shown = {"data": run.source, "Dice": f"{test['dice']:.3f}, mean of {test['n']} test images"}
    return {"name": run.name, **found, "card": shown}
