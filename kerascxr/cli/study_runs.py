"""The study: a classifier for each backbone and depth, a U-Net, and the report on all of them."""

import dataclasses
import functools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kerascxr.cluster.parts import Part, run_parts
from kerascxr.config import ClassificationConfig, SegmentationConfig, StudyConfig, TrainingConfig
from kerascxr.data.ingest.changes import files_changed
from kerascxr.report.page import write_report
from kerascxr.runs.changed_models import changed_models
from kerascxr.runs.folder import RunFolder
from kerascxr.runs.locks import locked
from kerascxr.runs.states import RunState, states_table
from kerascxr.training import classification, segmentation
from kerascxr.training.inputs import open_data
from kerascxr.training.sharing import share_always, sharing

logger = logging.getLogger(__name__)


@dataclasses.dataclass
class StudyRun:
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
    """Trains what is not finished yet, and writes ``runs/report``.

    One run is trained after another; with ``cluster``, several at once.

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
    if config.cluster is not None:
        _run_on_cluster(parts, config)
    with sharing():
        for number, part in enumerate(parts, 1):
            if part.state != "waiting":
                continue
            if not (part.folder / "DONE").exists() or part.config.overwrite:
                logger.info(f"\n=== {number} of {len(parts)}: {part.name} ===")
            part.state = _run(part)
            last = all(other.state != "waiting" for other in parts)
            if last or part.state != "done before":
                logger.info(f"\n{_table(parts)}")
    finished = [part.folder for part in parts if (part.folder / "DONE").exists()]
    if not finished:
        raise ValueError(f"at least one run must finish for a report. Got {parts[0].state}.")
    page = write_report(finished, config.runs / "report")
    logger.info(f"\nThe report: {page}")
    return not any(part.state.startswith("failed") for part in parts)


def _check_settings(parts: list[StudyRun]) -> None:
    """Refuses a study that would put runs with its settings beside finished ones with others."""
    hint = "Give the study another --runs, or replace such runs with --overwrite true"
    for part in parts:
        if part.state == "waiting" and not part.config.overwrite:
            RunFolder.check(part.config, part.folder, hint)
            if _of_other_images(part):
                raise ValueError(
                    f"{part.folder} holds a run on other images than the source holds now. {hint}."
                )
            for file in _with_other_models(part):
                raise ValueError(
                    f"{part.folder} holds a run with another model than {file} holds now. {hint}."
                )


def _of_other_images(part: StudyRun) -> bool:
    if not (part.folder / "DONE").exists():  # a checkpoint has the images' digest
        return False
    about = RunFolder(part.folder).read_json("metrics.json")["data"]
    if not files_changed(part.config.data, about):
        return False
    digest: str = open_data(part.config.data).fingerprint["digest"]
    return digest != about["fingerprint"]


def _with_other_models(part: StudyRun) -> list[Path]:
    finished = (part.folder / "DONE").exists()  # a checkpoint has the models' digests
    return changed_models(part.config, part.folder) if finished else []


def _parts(config: StudyConfig) -> list[StudyRun]:
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
            parts.append(StudyRun("classification", run))
    if config.segmentation:
        own = config.unet.data
        data = dataclasses.replace(config.data, phantom_images=own.phantom_images)
        if own.source != "auto":
            data = dataclasses.replace(data, source=own.source, phantom_seed=own.phantom_seed)
        unet = dataclasses.replace(config.unet, name="unet", **shared | {"data": data})
        part = StudyRun("segmentation", unet)
        if not (part.folder / "DONE").exists() and not _has_masks(unet):
            part.state = "left out: no lung masks (--unet.data.source names images with masks)"
            logger.info(f"The U-Net is {part.state}.")
        parts.append(part)
    if config.overwrite:
        parts = [dataclasses.replace(part, config=_overwriting(part)) for part in parts]
    return parts


def _overwriting(part: StudyRun) -> TrainingConfig:
    """Lets a run replace what is in its folder, unless that is the same run."""
    try:
        RunFolder.check(part.config, part.folder)
    except ValueError:
        return dataclasses.replace(part.config, overwrite=True)
    outdated = _of_other_images(part) or bool(_with_other_models(part))
    return dataclasses.replace(part.config, overwrite=outdated)


def _has_masks(config: SegmentationConfig) -> bool:
    store = open_data(config.data)
    return any(row["mask_state"] == "ok" for row in store.rows)


def _run_on_cluster(parts: list[StudyRun], config: StudyConfig) -> None:
    """Trains what is not finished yet, several runs at once, and sets the states of all."""
    for part in parts:
        finished = (part.folder / "DONE").exists() and not part.config.overwrite
        if part.state == "waiting" and finished:
            part.state = "done before"
    waiting = {part.name: part for part in parts if part.state == "waiting"}
    for data in {part.config.data for part in waiting.values()}:
        open_data(data)  # here, once
    runs = [RunState(part.name, part.folder, part.state) for part in parts]
    assert config.cluster is not None
    tasks = [
        Part(name, part.folder, functools.partial(_call, part)) for name, part in waiting.items()
    ]
    errors = run_parts(tasks, runs, config.cluster, config.resources)
    for name, part in waiting.items():
        part.state = _failed(errors[name]) if name in errors else "done"
    if not waiting:
        logger.info(f"\n{_table(parts)}")


def _call(part: StudyRun) -> tuple[Callable[..., None], tuple[StudyRun]]:
    return train_in_worker, (part,)


def train_in_worker(part: StudyRun) -> None:
    """Trains a run of the study in a worker of the cluster."""
    share_always()
    _train(part)


def _train(part: StudyRun) -> bool:
    """Trains a run; returns whether it had to be."""
    with RunFolder.start(part.config, part.task, part.name) as folder:
        if folder.finished:
            return False
        with folder.log_file():
            if isinstance(part.config, ClassificationConfig):
                classification.train(part.config, folder)
            else:
                segmentation.train(part.config, folder)
    return True


def _run(part: StudyRun) -> str:
    try:
        return "done" if _train(part) else "done before"
    except Exception as error:  # whatever it is, the other runs can go on
        state = _failed(error)
        logger.info(f"{part.name} {state}")
        return state


def _failed(error: Exception) -> str:
    return f"failed: {' '.join(str(error).split())}"


def _table(parts: list[StudyRun]) -> str:
    return states_table([RunState(part.name, part.folder, part.state) for part in parts])
