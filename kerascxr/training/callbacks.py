"""What happens around epochs: validation, the metric table, checkpoints, stopping."""

import json
import logging
import math
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kerascxr.progress import ProgressBar
from kerascxr.runs.atomic import replacing, write_json, write_text
from kerascxr.tables import csv_text, markdown_table

logger = logging.getLogger(__name__)

Row = dict[str, float]

_LATEST = "latest.npz"


def has_checkpoint(folder: Path) -> bool:
    """Returns whether a folder holds a checkpoint of ``Progress``."""
    return (folder / _LATEST).exists()


class ChangedIdentityError(ValueError):
    """An unfinished run cannot resume: something that decides its numbers has changed."""


def _check_identity(known: Mapping[str, str], now: Mapping[str, str]) -> None:
    changed = [
        f"{name} ({known.get(name, '')[:24] or 'none'} -> {now.get(name, '')[:24] or 'none'})"
        for name in {**known, **now}
        if known.get(name) != now.get(name)
    ]
    if changed:
        raise ChangedIdentityError(
            "an unfinished run must resume with what it began with. These have changed: "
            f"{', '.join(changed)}; bring them back, or start again with --overwrite true or "
            "another --name."
        )


class NonFiniteLossError(ArithmeticError):
    """The loss became NaN or infinite."""


class StopOnNonFinite(keras.callbacks.Callback):
    """Raises ``NonFiniteLossError`` at the first step whose loss is NaN or infinite."""

    def __init__(self):
        super().__init__()
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Remembers the epoch, for the message."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Looks at the loss."""
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):
            raise NonFiniteLossError(
                f"the loss must stay finite. Got loss={loss} at epoch {self._epoch + 1}, "
                f"step {batch + 1}; try a lower --optimizer.learning_rate or "
                "--runtime.precision float32."
            )


class AveragedWeights(keras.callbacks.SwapEMAWeights):
    """Gives the model its averaged weights between epochs, for validation and checkpoints.

    Args:
        in_model: Whether the model has them already, as after a checkpoint was restored.
    """

    def __init__(self, in_model: bool):
        super().__init__(swap_on_epoch=True)
        self._ema_weights_in_model = in_model


class EpochBar(keras.callbacks.Callback):
    """Shows the steps of an epoch, and removes its bar before the epoch's line is printed.

    From the second epoch on the bar's title has the time left to the last epoch, at the mean pace
    of those before. A training that stops early ends before.

    Args:
        steps: Steps an epoch.
        epochs: Epochs planned.
    """

    def __init__(self, steps: int, epochs: int):
        super().__init__()
        self._steps = steps
        self._epochs = epochs
        self._bar: ProgressBar | None = None
        self._began: tuple[int, float] | None = None  # the first epoch here, and when

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Starts the bar."""
        title = f"Epoch {epoch + 1}/{self._epochs}"
        now = time.monotonic()
        if self._began is None:
            self._began = epoch, now
        else:
            first, began = self._began
            left = (now - began) / (epoch - first) * (self._epochs - epoch)
            title += f", {ProgressBar.format_interval(left)} left"
        self._bar = ProgressBar(total=self._steps, desc=title, unit="step", leave=False)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Moves the bar."""
        assert self._bar is not None
        self._bar.set_postfix(logs or {}, refresh=False)
        self._bar.update()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Removes the bar."""
        assert self._bar is not None
        self._bar.close()


class Validate(keras.callbacks.Callback):
    """Adds validation figures to an epoch's logs, for the callbacks behind it.

    Args:
        evaluate: Returns {"loss": ..., "f1": ...} of the model as it is; each is logged as
            ``val_...``.
    """

    def __init__(self, evaluate: Callable[[], dict[str, float]]):
        super().__init__()
        self._evaluate = evaluate

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Evaluates."""
        assert logs is not None
        logs.update({f"val_{name}": value for name, value in self._evaluate().items()})


class Progress(keras.callbacks.Callback):
    """Remembers each epoch, keeps the best weights, stops early, and survives being killed.

    At the end of an epoch, if the last time is long enough ago, the folder comes to hold all that
    the next epoch needs: variables, optimizer, random states, the rows of the table, the best epoch
    and how long ago it was. Keras' BackupAndRestore forgets the last three.

    Args:
        folder: Where checkpoints go.
        monitor: The log entry that picks the best epoch, e.g. "val_f1".
        mode: "max" or "min".
        patience: Epochs without a better one before training stops.
        identity: What must be the same when the run resumes, by name, e.g. the data's digest.
        save_seconds: Least time between two checkpoints. Short epochs would else write more than
            they compute, and some disks stop taking it. Infinite where another worker writes them.
    """

    def __init__(
        self,
        folder: Path,
        monitor: str,
        mode: str,
        patience: int,
        identity: Mapping[str, str],
        save_seconds: float = 0.0,
    ):
        super().__init__()
        self.rows: list[Row] = []
        self.best_epoch = -1
        self.complete = False
        self._folder = folder
        self._monitor = monitor
        self._sign = 1.0 if mode == "max" else -1.0
        self._patience = patience
        self._identity = dict(identity)
        self._save_seconds = save_seconds
        self._saved_at = time.perf_counter()
        self._best: list[np.ndarray] | None = None
        self._best_saved = -1  # the epoch whose weights are on disk
        self._started = 0.0

    @property
    def next_epoch(self) -> int:
        """The epoch to begin with, from 0."""
        return len(self.rows)

    def restore(self) -> bool:
        """Takes up the last checkpoint; the model must be built and compiled.

        Returns:
            Whether there was one.

        Raises:
            ChangedIdentityError: If the checkpoint was made with other data, weights or packages.
            ValueError: If it was made by another model.
        """
        if not has_checkpoint(self._folder):
            return False
        latest = self._folder / _LATEST
        with np.load(latest) as arrays:
            state = json.loads(str(arrays["state"]))
            _check_identity(state["identity"], self._identity)
            _assign(self.variables(), arrays)
        self.take_over(state)
        self._best_saved = self.best_epoch
        return True

    def state(self) -> dict[str, Any]:
        """Returns what a checkpoint has besides variables, JSON-ready."""
        return {
            "identity": self._identity,
            "rows": [{key: repr(value) for key, value in row.items()} for row in self.rows],
            "best_epoch": self.best_epoch,
            "complete": self.complete,
        }

    def take_over(self, state: Mapping[str, Any]) -> None:
        """Goes on from a ``state``, of a checkpoint or of the chief of several workers."""
        self.rows = [{key: _number(value) for key, value in row.items()} for row in state["rows"]]
        self.best_epoch = state["best_epoch"]
        self.complete = state["complete"]

    def restore_best(self) -> None:
        """Gives the model the weights of its best epoch."""
        if self._best is None:
            with np.load(self._best_path(self.best_epoch)) as arrays:
                _assign(self.model.variables, arrays)
            return
        for variable, value in zip(self.model.variables, self._best, strict=True):
            variable.assign(value)

    def finish(self) -> None:
        """Records that training is over, so that a killed evaluation does not train again."""
        self.complete = True
        self._save()

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Starts the clock."""
        self._started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Records the epoch and, if it is time, saves."""
        values = {key: float(value) for key, value in (logs or {}).items()}
        seconds = time.perf_counter() - self._started
        self.rows.append({"epoch": epoch + 1, **values, "seconds": seconds})
        if self.best_epoch < 0 or self._value(epoch) > self._value(self.best_epoch):
            self.best_epoch = epoch
            self._best = [np.array(variable) for variable in self.model.variables]
        if epoch - self.best_epoch >= self._patience:
            self.model.stop_training = True
        if time.perf_counter() - self._saved_at >= self._save_seconds:
            self._save()

    def _value(self, epoch: int) -> float:
        value = self._sign * self.rows[epoch][self._monitor]
        return value if math.isfinite(value) else -math.inf

    def _save(self) -> None:
        best = self._best_path(self.best_epoch)
        # A file of that name may be of a process that was killed before it wrote ``latest``.
        if self._best is not None and self._best_saved != self.best_epoch:
            _write_arrays(best, self._best)
            self._best_saved = self.best_epoch
        state = np.array(json.dumps(self.state()))
        _write_arrays(self._folder / _LATEST, self.variables(), state=state)
        for old in self._folder.glob("best-*.npz"):
            if old != best:
                old.unlink()
        self._saved_at = time.perf_counter()

    def variables(self) -> list[Any]:
        """Returns what a checkpoint holds: the variables of the model and of its optimizer."""
        return [*self.model.variables, *self.model.optimizer.variables]

    def _best_path(self, epoch: int) -> Path:
        return self._folder / f"best-{epoch:04d}.npz"


def _number(text: str) -> float | int:
    return int(text) if text.lstrip("-").isdigit() else float(text)


def _write_arrays(path: Path, variables: list[Any], **more: Any) -> None:
    arrays: dict[str, Any] = {
        f"v{index}": np.asarray(variable) for index, variable in enumerate(variables)
    }
    with replacing(path) as partial, partial.open("wb") as file:
        np.savez(file, **arrays, **more)


def _assign(variables: list[Any], arrays: Any) -> None:
    saved = [name for name in arrays if re.fullmatch(r"v\d+", name)]
    shapes = [tuple(variable.shape) for variable in variables]
    if len(saved) != len(shapes) or any(
        arrays[f"v{index}"].shape != shape for index, shape in enumerate(shapes)
    ):
        raise ValueError(
            "a checkpoint must have the variables of the model. It was written by another model; "
            "start again with --overwrite true or another --name."
        )
    for index, variable in enumerate(variables):
        variable.assign(arrays[f"v{index}"])


class MetricTable(keras.callbacks.Callback):
    """Writes history.csv, history.json and history.md after each epoch, and prints the epoch.

    Args:
        folder: The run folder.
        progress: Holds the rows.
        epochs: How many epochs are planned.
        shown: The entries to print.
        stage: Goes before the files' names and the printed lines, if it is not "".
    """

    def __init__(
        self,
        folder: Path,
        progress: Progress,
        epochs: int,
        shown: tuple[str, ...],
        stage: str = "",
    ):
        super().__init__()
        self._folder = folder
        self._progress = progress
        self._epochs = epochs
        self._shown = shown
        self._stage = stage

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Writes and prints."""
        rows = self._progress.rows
        self.write()
        row = rows[-1]
        figures = "  ".join(f"{name} {row[name]:.4f}" for name in self._shown if name in row)
        best = "  best" if self._progress.best_epoch == epoch else ""
        stage = f"{self._stage} " if self._stage else ""
        logger.info(
            f"{stage}epoch {epoch + 1}/{self._epochs}  {figures}  {row['seconds']:.1f} s{best}"
        )

    def write(self) -> None:
        """Writes the three files from the rows."""
        rows = self._progress.rows
        name = f"{self._stage}_history" if self._stage else "history"
        write_text(self._folder / f"{name}.csv", csv_text(rows))
        header = list(rows[0]) if rows else []
        table = markdown_table(header, [[row.get(key) for key in header] for row in rows])
        write_text(self._folder / f"{name}.md", table + "\n")
        finite = [
            {key: value if math.isfinite(value) else None for key, value in row.items()}
            for row in rows
        ]
        write_json(self._folder / f"{name}.json", finite)
