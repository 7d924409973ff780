"""Browser pages of runs: what they show of a run, and pages kept for ``kerascxr app``."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from kerascxr import __version__
from kerascxr.config import PACKAGED
from kerascxr.data.roi import ROIS
from kerascxr.evaluation.lung_masks import ImplausibleMasksError
from kerascxr.models.download import file_digest
from kerascxr.names import look_up, with_folders
from kerascxr.report.input_ablations import RESULT, meaning, read_audit, verdict
from kerascxr.report.limits import limit_sentences
from kerascxr.runs.atomic import write_text
from kerascxr.runs.locks import locked
from kerascxr.runs.reading import read_run
from kerascxr.serving.export_web import export_web
from kerascxr.serving.web_card import Findings
from kerascxr.serving.web_names import find_page, page_files
from kerascxr.serving.web_runtime import cache_folder
from kerascxr.training.lungs import lungs_digest

_NOT_AUDITED = "It was not audited for shortcuts. The command kerascxr audit does that."
_DIGITS = 12


def findings_of(paths: Sequence[Path]) -> Findings:
    """Returns what the page of a run, or of an ensemble, shows of its limits and its audits."""
    limits = limit_sentences([read_run(path, "classification") for path in paths])
    names = with_folders([path.name for path in paths], paths)
    results = [read_audit(path) for path in paths]
    audits = {name: one for name, one in zip(names, results, strict=True) if one is not None}
    if not audits:
        return Findings(limits, None, _NOT_AUDITED)
    rows = [
        {
            "input": of["title"] if len(paths) == 1 else f"{of['title']} ({name})",
            "accuracy": of["accuracy"]["value"],
            "auc": of["auc"]["value"],
            "verdict": meaning(of),
        }
        for name, result in audits.items()
        for of in result["ablations"].values()
    ]
    if len(paths) == 1:
        return Findings(limits, rows, verdict(next(iter(audits.values()))))
    notes = [f"Of {name}: {verdict(result)}" for name, result in audits.items()]
    if len(audits) < len(paths):
        notes.append("The other members were not audited.")
    return Findings(limits, rows, " ".join(notes))


def kept_page(run: Path, segmentation: Path | None, onnxruntime: Path | None) -> tuple[Path, bool]:
    """Returns a run's page in the cache; exports it first unless it is there.

    Args:
        run: A finished classification run.
        segmentation: A segmentation run; ``PACKAGED`` where the package's lung model may be left
            out; None for no lungs. A region of interest that needs the lungs takes for either what
            the run was trained with, or the package's.
        onnxruntime: See ``export_web``.

    Returns:
        The page's folder, and whether it was there.
    """
    config = read_run(run, "classification").config
    needed = look_up(ROIS, config.get("roi", "none"), "roi").needs_lungs
    if needed and segmentation in (None, PACKAGED):
        given = config.get("lungs")
        segmentation = Path(given) if given else PACKAGED
    digest = hashlib.sha256(f"{run.resolve()} {segmentation}".encode()).hexdigest()[:_DIGITS]
    kept = cache_folder() / "pages" / f"{run.resolve().name}-{digest}"
    waiting = f"Another process exports {run}; waiting for it."
    with locked(kept.with_name(f".{kept.name}.lock"), waiting):
        identity = _identity(run, segmentation)
        stamp = kept / "identity.txt"
        page = find_page(kept)
        if page and stamp.is_file() and stamp.read_text(encoding="utf-8") == identity:
            return page, True
        findings = findings_of([run])
        try:
            page = export_web([run], kept, segmentation, findings, onnxruntime)
        except ImplausibleMasksError:
            if segmentation != PACKAGED or needed:
                raise
            page = export_web([run], kept, None, findings, onnxruntime)
        write_text(stamp, identity)
        return page, False


def _identity(run: Path, segmentation: Path | None) -> str:
    """Returns a digest of what decides a run's page."""
    names = ("model.keras", "decision_rule.npz", "metrics.json", "config.yaml", RESULT)
    files = [*(run / name for name in names), *page_files()]
    digests = [file_digest(path) if path.exists() else "" for path in files]
    known = [__version__, lungs_digest(segmentation), *digests]
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()
