"""Several workers that train one model: starting them here, and what each does in its process."""

import logging
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from kerascxr.cli.logs import level_flags
from kerascxr.cli.program import script
from kerascxr.cluster.local_workers import run_local_workers
from kerascxr.cluster.several_workers import LostWorkerError, WorkerPlace, this_worker
from kerascxr.config.checks import check
from kerascxr.data.sources.open import check_source
from kerascxr.parsing import load_config, to_yaml, with_own_places
from kerascxr.runs.folder import RunFolder

logger = logging.getLogger(__name__)

_COMMANDS = {"classification": "train-cls", "segmentation": "train-seg"}

LoadTrainer = Callable[[], Callable[[Any, RunFolder], Any]]


def place_of(config: Any, task: str) -> WorkerPlace | None:
    """Returns which of several workers this process is; None where it is none.

    Args:
        config: Of a training.
        task: What it trains; a "pretraining" has one worker.

    Raises:
        ValueError: If ``TF_CONFIG`` is malformed, or the config asks for another number of workers.
    """
    place = this_worker() if task in _COMMANDS else None
    if place is not None:
        check(
            config.workers in (1, place.count),
            "workers must be left out, or the number of workers in TF_CONFIG",
            workers=config.workers,
            in_TF_CONFIG=place.count,
        )
    return place


def start_here(config: Any, task: str, name: str) -> int | None:
    """Trains a run by several workers on this machine.

    Args:
        config: What to do, with ``workers``.
        task: "classification" or "segmentation".
        name: The run's name where the config gives none.

    Returns:
        The exit code; None if there is nothing to train: one worker, or a finished run.

    Raises:
        LostWorkerError: If a worker was killed, or failed alone.
        ValueError: If the run cannot start; each worker would say so.
    """
    if config.workers == 1:
        return None
    path = RunFolder.place(config, task, name)
    if not config.overwrite:
        RunFolder.check(config, path)
        if (path / "DONE").exists():
            return None
    check_source(config.data.source)
    logger.info(f"Starting {config.workers} workers on this machine.")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.yaml"
        file.write_text(to_yaml(config), encoding="utf-8")
        process = [sys.executable, "-m", "kerascxr.cli.worker_process", script() or ""]
        command = [_COMMANDS[task], "--config", str(file), *level_flags()]
        return run_local_workers([*process, *command], config.workers)


class ChiefsWord:
    """What the chief lets the other workers know before they train: its config, or why it ends.

    Args:
        place: Which worker this process is.
    """

    def __init__(self, place: WorkerPlace):
        from kerascxr.training.workers import connect

        self._workers = connect(place)
        self._given = False

    def give(self, config: Any = None, error: str = "") -> None:
        """Lets the others know, once.

        Args:
            config: What they train; None if there is nothing to train.
            error: Why the chief cannot start.
        """
        if not self._given:
            self._given = True
            text = None if config is None else to_yaml(config)
            self._workers.of_chief({"config": text, "error": error})

    def take(self, config: Any) -> Any:
        """Returns the config that the chief trains, with this process's own places.

        Args:
            config: That of this worker's command.

        Returns:
            The config; None if there is nothing to train.

        Raises:
            ValueError: If the chief could not start.
        """
        word = self._workers.of_chief(None)
        if word["error"]:
            raise ValueError(word["error"])
        if word["config"] is None:
            return None
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "config.yaml"
            file.write_text(word["config"], encoding="utf-8")
            return with_own_places(config, load_config(type(config), file))

    def wait_for_all(self) -> None:
        """Waits for the other workers after the training; the chief comes when it has finished.

        So none ends before it: if it is killed while it tests the model, all have to begin again,
        and none of them is missing then.

        Raises:
            LostWorkerError: On another worker than the chief, if a worker is lost.
        """
        try:
            self._workers.of_chief(None)
        except LostWorkerError:
            if not self._workers.is_chief:  # whose run is finished
                raise


def follow(config: Any, place: WorkerPlace, load: LoadTrainer) -> None:
    """Trains as a worker that is not the chief: in a temporary folder, of which nothing is kept.

    Args:
        config: What its command says.
        place: Which worker it is.
        load: Imports TensorFlow and returns the train function.

    Raises:
        LostWorkerError: If another worker is lost.
        ValueError: If the chief could not start, or this worker has not what it needs.
    """
    train = load()
    word = ChiefsWord(place)
    config = word.take(config)
    if config is None:
        logger.info("The chief has nothing to train: the run is finished.")
        return
    with tempfile.TemporaryDirectory() as folder:
        own = replace(config, overwrite=False)
        with RunFolder.start_at(own, Path(folder) / "run") as run:
            train(own, run)
    logger.info("Trained. The chief tests the model and writes the run folder.")
    word.wait_for_all()
