"""The study: a classifier for each backbone and depth, a U-Net, and the report on all of them."""

import dataclasses
import json
import logging
import time
from pathlib import Path
from typing import Any

from kerascxr.config import ClassificationConfig, SegmentationConfig, StudyConfig, TrainingConfig
from kerascxr.data.ingest.changes import files_changed
from kerascxr.report.page import write_report
from kerascxr.runs.folder import RunFolder
from kerascxr.runs.locks import locked
from kerascxr.tables import text_table
from kerascxr.training import classification, segmentation
from kerascxr.training.inputs import open_data
from kerascxr.training.sharing import sharing

logger = logging.getLogger(__name__)

_HEADER = ("run", "state", "accuracy", "F1", "AUC", "Dice", "minutes")
_MEASURES = ("accuracy", "f1", "auc", "dice")


@dataclasses.dataclass
class Part:
    """One run of a study.

    Attributes:
        task: "classification" or "segmentation".
        config: What to do.
        state: "waiting", "done", "done before", "left out: ..." or "failed: ...".
    """

    task: str
    config: TrainingConfig
    state: str = "waiting"

    @property
    def name(self) -> str:
        """The run's name."""
        return self.config.name or ""

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.config.runs / self.task / self.name


def run_study(config: StudyConfig) -> bool:
    """Trains what is not finished yet, one run after another, and writes ``runs/report``.

    A run that fails is reported and the others go on; the same command takes up what was cut off.
    A second process waits: two at once would each fail on the runs that the other one trains.

    Args:
        config: The study.

    Returns:
        Whether all runs are there.

    Raises:
        ValueError: If the source cannot be used, the folder holds a run of the study with other
            settings, or no run was finished.
    """
    lock = config.runs.with_name(f".{config.runs.name}.study.lock")
    with locked(lock, f"Another process trains a study in {config.runs}; waiting for it."):
        return _run_study(config)


def _run_study(config: StudyConfig) -> bool:
    parts = _parts(config)
    _check_settings(parts)
    with sharing():
        for number, part in enumerate(parts, 1):
            if part.state != "waiting":
                continue
            if not (part.folder / "DONE").exists() or part.config.overwrite:
                logger.info(f"\n=== {number} of {len(parts)}: {part.name} ===")
            part.state = _run(part)
            last = all(other.state != "waiting" for other in parts)
            if last or part.state != "done before":
                logger.info(f"\n{_progress(parts)}")
    finished = [part.folder for part in parts if (part.folder / "DONE").exists()]
    if not finished:
        raise ValueError(f"at least one run must finish for a report. Got {parts[0].state}.")
    page = write_report(finished, config.runs / "report")
    logger.info(f"\nThe report: {page}")
    return not any(part.state.startswith("failed") for part in parts)


def _check_settings(parts: list[Part]) -> None:
    """Refuses a study that would put runs with its settings beside finished ones with others."""
    hint = "Give the study another --runs, or replace such runs with --overwrite true"
    for part in parts:
        if part.state == "waiting" and not part.config.overwrite:
            RunFolder.check(part.config, part.folder, hint)
            if _of_other_images(part):
                raise ValueError(
                    f"{part.folder} holds a run on other images than the source holds now. {hint}."
                )


def _of_other_images(part: Part) -> bool:
    if not (part.folder / "DONE").exists():  # a checkpoint has the images' digest
        return False
    about = _read(part.folder / "metrics.json")["data"]
    if not files_changed(part.config.data, about):
        return False
    digest: str = open_data(part.config.data).fingerprint["digest"]
    return digest != about["fingerprint"]


def _parts(config: StudyConfig) -> list[Part]:
    shared: dict[str, Any] = {
        "data": config.data,
        "split": config.split,
        "runtime": config.runtime,
        "runs": config.runs,
        "overwrite": False,
    }
    parts = []
    for backbone in config.backbones:
        for depth in config.depths:
            run: TrainingConfig = dataclasses.replace(
                config.classifier,
                backbone=backbone,
                depth=depth,
                weights=config.weights.get(backbone, "auto"),
                name=f"{backbone}-depth{depth}",
                **shared,
            )
            parts.append(Part("classification", run))
    if config.segmentation:
        own = config.unet.data
        data = dataclasses.replace(config.data, phantom_images=own.phantom_images)
        if own.source != "auto":
            data = dataclasses.replace(data, source=own.source, phantom_seed=own.phantom_seed)
        unet = dataclasses.replace(config.unet, name="unet", **shared | {"data": data})
        part = Part("segmentation", unet)
        if not (part.folder / "DONE").exists() and not _has_masks(unet):
            part.state = "left out: no lung masks (--unet.data.source names images with masks)"
            logger.info(f"The U-Net is {part.state}.")
        parts.append(part)
    if config.overwrite:
        parts = [dataclasses.replace(part, config=_overwriting(part)) for part in parts]
    return parts


def _overwriting(part: Part) -> TrainingConfig:
    """Lets a run replace what is in its folder, unless that is the same run."""
    try:
        RunFolder.check(part.config, part.folder)
    except ValueError:
        return dataclasses.replace(part.config, overwrite=True)
    return dataclasses.replace(part.config, overwrite=_of_other_images(part))


def _has_masks(config: SegmentationConfig) -> bool:
    store = open_data(config.data)
    return any(row["mask_state"] == "ok" for row in store.rows)


def _run(part: Part) -> str:
    try:
        with RunFolder.start(part.config, part.task, part.name) as folder:
            if folder.finished:
                return "done before"
            with folder.log_file():
                if isinstance(part.config, ClassificationConfig):
                    classification.train(part.config, folder)
                else:
                    segmentation.train(part.config, folder)
    except Exception as error:  # whatever it is, the other runs can go on
        reason = " ".join(str(error).split())
        logger.info(f"{part.name} failed: {reason}")
        return f"failed: {reason}"
    return "done"


def _progress(parts: list[Part]) -> str:
    rows = []
    for part in parts:
        test, minutes = {}, None
        if (part.folder / "DONE").exists():
            test = _read(part.folder / "metrics.json")["test"]
            minutes = round(_read(part.folder / "timing.json")["seconds"] / 60, 1)
        state = part.state if len(part.state) <= 60 else f"{part.state[:57]}..."
        figures = [test.get(measure) for measure in _MEASURES]
        rows.append([part.name, state, *figures, minutes and f"{minutes:.1f}"])
    return f"{time.strftime('%H:%M')}\n{text_table(_HEADER, rows)}"


def _read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))
