"""What ``train-cls`` and ``train-seg`` share: from a config to a finished run folder."""

import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from kerascxr.cli.next_steps import next_steps
from kerascxr.cli.several_workers import ChiefsWord, LoadTrainer, follow, place_of, start_here
from kerascxr.cli.start import start_tensorflow
from kerascxr.cluster.ray_cluster import require_ray
from kerascxr.cluster.several_workers import LostWorkerError, WorkerPlace
from kerascxr.config.checks import check
from kerascxr.data.sources.open import check_source
from kerascxr.runs.changed_models import changed_models
from kerascxr.runs.folder import RunFolder
from kerascxr.serving.model_folder import check_lungs

logger = logging.getLogger(__name__)


def train_in_folder(
    config: Any, task: str, name: str, trainer: Callable[[], Callable[[Any, RunFolder], Any]]
) -> int:
    """Trains a config's run, or its repeats, in its run folder; alone or with other workers.

    Args:
        config: What to do.
        task: "classification" or "segmentation".
        name: The run's name where the config gives none.
        trainer: Imports and returns the train function; not called for a run that is finished.

    Returns:
        0 after a finished run, 130 after Ctrl-C.

    Raises:
        ValueError: If the config asks for what the data or this machine does not have.
        ArithmeticError: If training broke down.
        LostWorkerError: If another worker was lost.
    """

    def load() -> Callable[[Any, RunFolder], Any]:
        start_tensorflow()
        return trainer()

    cluster = getattr(config, "cluster", None)
    check(
        cluster is None or config.folds > 1 or config.seeds > 1,
        "cluster must be left out for a single run: it is for folds or seeds",
        cluster=cluster,
    )
    require_ray(cluster)
    place = place_of(config, task)
    try:
        return _train_in_folder(config, task, name, load, place)
    except LostWorkerError as error:
        to_all = ", given to all workers," if place is not None else ""
        raise LostWorkerError(
            f"{error} {_again(config)}{to_all} resumes from the last checkpoint."
        ) from error


def _train_in_folder(
    config: Any, task: str, name: str, load: LoadTrainer, place: WorkerPlace | None
) -> int:
    word = None
    if place is not None:
        config = replace(config, workers=place.count)
        if not place.is_chief:
            follow(config, place, load)
            return 0
        load()
        word = ChiefsWord(place)
    else:
        code = start_here(config, task, name)
        if code is not None:
            return code
    folder = None
    try:
        if config.overwrite or not RunFolder.place(config, task, name).exists():
            if hasattr(config, "data"):
                check_source(config.data.source)
            check_lungs(getattr(config, "lungs", None))
        folder = RunFolder.start(config, task, name)
        if config.folds > 1 or config.seeds > 1:
            from kerascxr.training.repeats import run_repeats

            summary = run_repeats(config, folder, load)
            _warn_of_changed_files(config, summary["data"])
            _warn_of_changed_models(config, folder.path / summary["runs"][0]["run"])
            _log_next_steps(folder, task)
            return 0
        if folder.finished:
            from kerascxr.evaluation.metric_tables import metrics_text  # slow: not before --help

            when = (folder.path / "DONE").read_text(encoding="utf-8").strip()
            metrics = folder.read_json("metrics.json")
            results = metrics["validation" if task == "pretraining" else "test"]
            if word is not None:
                word.give()
            logger.info(
                f"{folder.path} holds this run, finished {when}. Its results:\n\n"
                f"{metrics_text(results)}\n\n"
                "To train again, give --overwrite true or another --name."
            )
            if task != "pretraining":
                _warn_of_changed_files(config, metrics["data"])
                _warn_of_changed_models(config, folder.path)
            _log_next_steps(folder, task)
            return 0
        if word is not None:
            word.give(folder.settings(config))
        with folder.log_file():
            load()(config, folder)
        _log_next_steps(folder, task)
        if word is not None:
            word.wait_for_all()
    except KeyboardInterrupt:
        if folder is None or folder.abandon():
            print("Stopped before the first checkpoint: nothing was kept.", file=sys.stderr)
        else:
            print(f"Stopped. {_again(config)} resumes from what was kept.", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        if folder is not None:
            folder.abandon()
        if word is not None:
            word.give(error=str(error))
        raise
    finally:
        if folder is not None:
            folder.close()
    return 0


def _again(config: Any) -> str:
    """Returns what resumes an unfinished run: with --overwrite, the same command begins anew."""
    return "The same command" + (" without --overwrite" if config.overwrite else "")


def _warn_of_changed_files(config: Any, about: Mapping[str, Any]) -> None:
    from kerascxr.data.ingest.changes import files_changed  # slow: not before --help

    if files_changed(config.data, about):
        logger.warning(
            "The source's files have changed since: the results above may be of other images. To "
            "train on those of now, give --overwrite true or another --name."
        )


def _warn_of_changed_models(config: Any, run: Path) -> None:
    for file in changed_models(config, run):
        logger.warning(
            f"{file} holds another model than when {run} was trained with it: the results above "
            "are of that one. To train with the one of now, give --overwrite true or another "
            "--name."
        )


def _log_next_steps(folder: RunFolder, task: str) -> None:
    lines = next_steps(folder.path, task)
    if lines:
        logger.info(lines)
