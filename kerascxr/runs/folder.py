"""The run folder: what a run was asked to do, what it did, and whether it finished."""

import contextlib
import itertools
import json
import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from kerascxr.parsing import identity, load_config, read_yaml, to_dict, to_yaml, with_own_places
from kerascxr.runs.atomic import MARKER, is_ours, mark, replacing, write_json, write_text
from kerascxr.runs.locks import only_writer
from kerascxr.runs.log_files import LogFile

logger = logging.getLogger(__name__)

_KIND = "run"
_REQUEST = "request.yaml"
_TIMING = "timing.json"
_HINT = "Give this one another --name, or replace it with --overwrite true"
_AT_START = {_REQUEST, "config.yaml", "environment.json", "log.txt", MARKER}

Config = TypeVar("Config")


class RunFolder:
    """``runs/<task>/<name>/``; every file in it is written whole or not at all.

    ``request.yaml`` holds the options as they were given, ``config.yaml`` the same with everything
    that was derived from the machine or from defaults. Either of them means this run.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path):
        self.path = path
        self._is_new = False
        self._held = contextlib.ExitStack()
        self._began = time.perf_counter()
        self._seconds_before = 0.0

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets other processes write the folder again, after ``start`` or ``start_at``."""
        self._held.close()

    @classmethod
    def start(cls, config: Any, task: str, name: str) -> "RunFolder":
        """Makes a run's folder, or takes up one that the same command began.

        Args:
            config: The run's config.
            task: "classification" or "segmentation".
            name: The folder's name where the config gives none.

        Returns:
            The folder, with its request.yaml written; no other process can start it until
            ``close``. A default name that a run with other settings has gets a number.

        Raises:
            ValueError: If another process writes the folder, or the config's own name is that of a
                run with other settings and ``overwrite`` is off.
        """
        path = cls.place(config, task, name)
        if path.name != (config.name or name):
            logger.info(
                f"{path.with_name(name)} holds a run with other settings; this one is {path}."
            )
        return cls.start_at(config, path)

    @classmethod
    def place(cls, config: Any, task: str, name: str) -> Path:
        """Returns the folder that ``start`` makes or takes up; nothing is written."""
        parent = Path(config.runs) / task
        if config.name or config.overwrite:
            return parent / (config.name or name)
        return cls.free_path(config, parent / name)

    @classmethod
    def free_path(cls, config: Any, path: Path) -> Path:
        """Returns a path for a run: as given if it is free or holds the same run, else numbered."""
        for number in itertools.count(1):
            numbered = path if number == 1 else path.with_name(f"{path.name}-{number}")
            try:
                cls.check(config, numbered)
            except ValueError as error:
                logger.debug(str(error))
                continue
            return numbered
        raise AssertionError

    @classmethod
    def start_at(cls, config: Any, path: Path) -> "RunFolder":
        """Does what ``start`` does, at a path that the config does not name.

        Raises:
            ValueError: As ``start``.
        """
        folder = cls(path)
        # The lock is beside the folder, which may be moved aside.
        lock = only_writer(path.with_name(f".{path.name}.lock"), str(path))
        folder._held.enter_context(lock)
        try:
            if config.overwrite and path.exists() and any(path.iterdir()):
                folder._move_aside()
            cls.check(config, path)
            folder._is_new = not (path / _REQUEST).exists()
            mark(path, _KIND)
            if folder._is_new or not _differences(config, path / _REQUEST):
                write_text(path / _REQUEST, to_yaml(config))
            folder._clear()
            folder._seconds_before = folder._recorded_seconds()
        except BaseException:
            folder.close()
            raise
        return folder

    @staticmethod
    def check(config: Any, path: Path, hint: str = _HINT) -> None:
        """Checks that a folder is free for a run, or holds the same one.

        Args:
            config: The run's config.
            path: The folder.
            hint: What to do where it holds a run with other settings.

        Raises:
            ValueError: If the folder holds a run with other settings, or other things.
        """
        request, resolved = path / _REQUEST, path / "config.yaml"
        if request.exists():
            differing = _differences(config, request)
            if not differing or (resolved.exists() and not _differences(config, resolved)):
                return
            raise ValueError(
                f"{path} holds a run with other settings ({', '.join(differing[:4])}). {hint}."
            )
        # A killed start may have left the marker, or less.
        names = {item.name for item in path.iterdir()} if path.exists() else set()
        if any(name != MARKER and not name.startswith(".partial-") for name in names):
            raise ValueError(
                f"{path} must be a run folder or not there. It has files but no "
                f"{_REQUEST}; give the run another --name or move them."
            )

    def write_config(self, config: Any) -> None:
        """Writes config.yaml: a config in which nothing is left to the machine.

        It gets the folder's name, so that ``--config`` finds this run.
        """
        named = replace(config, name=config.name or self.path.name, overwrite=False)
        self.write_text("config.yaml", to_yaml(named))

    def settings(self, config: Config) -> Config:
        """Returns what to train with: the recorded config.yaml if there is a checkpoint of it.

        So a run that is resumed elsewhere keeps its number type, engine, size and weights.

        Args:
            config: What the command asks for; without a checkpoint it is returned as it is.
        """
        if not any(self.checkpoint.rglob("*.npz")):
            return config
        return with_own_places(config, load_config(type(config), self.path / "config.yaml"))

    def start_clock(self) -> None:
        """Lets ``write_timing`` count from now on."""
        self._began = time.perf_counter()

    def write_timing(self) -> None:
        """Writes timing.json: the seconds at work so far, those of killed processes included."""
        seconds = self._seconds_before + time.perf_counter() - self._began
        self.write_json(_TIMING, {"seconds": seconds})

    def _recorded_seconds(self) -> float:
        """Returns what earlier processes recorded; 0 where nothing is left to resume from."""
        if not (self.path / _TIMING).exists() or not any(self.checkpoint.rglob("*.npz")):
            return 0.0
        return float(self.read_json(_TIMING)["seconds"])

    @property
    def _replaced(self) -> Path:
        return self.path.with_name(f".old-{self.path.name}")

    def _move_aside(self) -> None:
        """Keeps the run that is to be replaced until the new one is finished."""
        if not is_ours(self.path, _KIND):
            raise ValueError(
                f"overwrite replaces run folders only. {self.path} is none (it has no {MARKER}); "
                "move it, or give the run another --name."
            )
        if self._replaced.exists() and not self.finished:
            shutil.rmtree(self.path)  # an unfinished replacement of the run kept there
            return
        self.drop_replaced()
        self.path.rename(self._replaced)

    def drop_replaced(self) -> None:
        """Removes the run that this one replaces, if it is still kept."""
        shutil.rmtree(self._replaced, ignore_errors=True)

    def abandon(self) -> bool:
        """Removes the folder of a run that could not start, and brings back what it replaced.

        Returns:
            Whether it was removed: a folder with results, or one of an earlier call, is kept.
        """
        # Locks are of runs inside, which were abandoned too.
        names = {item.name for item in self.path.iterdir() if item.suffix != ".lock"}
        if not self._is_new or not names <= _AT_START:
            return False
        shutil.rmtree(self.path, ignore_errors=True)
        if self._replaced.exists():
            self._replaced.rename(self.path)
        return True

    def _clear(self) -> None:
        """Removes what a killed process left; other commands may be writing a finished run."""
        if self.finished:
            self._drop_what_unfinished_runs_need()
            return
        for half_written in self.path.rglob(".partial-*"):
            if half_written.is_file():
                half_written.unlink()

    @property
    def finished(self) -> bool:
        """Whether the run is complete."""
        return (self.path / "DONE").exists()

    @property
    def checkpoint(self) -> Path:
        """Where an unfinished run keeps what it needs to go on."""
        return self.path / "checkpoint"

    @contextlib.contextmanager
    def log_file(self) -> Iterator[None]:
        """Appends what the package logs to log.txt, and the traceback of an error.

        Inside of another run's ``log_file`` the other one pauses.
        """
        package = logging.getLogger("kerascxr")
        package.setLevel(logging.DEBUG)
        paused = [item for item in package.handlers if isinstance(item, logging.FileHandler)]
        self.path.mkdir(parents=True, exist_ok=True)
        handler = LogFile(self.path / "log.txt", encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%Y-%m-%d %H:%M:%S"))
        for item in paused:
            package.removeHandler(item)
        package.addHandler(handler)
        try:
            yield
        except Exception:
            logger.debug("The run ended with an error.", exc_info=True)
            raise
        finally:
            package.removeHandler(handler)
            handler.close()
            for item in paused:
                package.addHandler(item)

    def write_json(self, name: str, value: Any) -> None:
        """Writes a JSON file into the folder."""
        write_json(self.path / name, value)

    def read_json(self, name: str) -> Any:
        """Reads a JSON file of the folder."""
        return json.loads((self.path / name).read_text(encoding="utf-8"))

    def write_text(self, name: str, text: str) -> None:
        """Writes a text file into the folder."""
        write_text(self.path / name, text)

    def figure(self, name: str) -> AbstractContextManager[Path]:
        """Gives a temporary path that becomes figures/<name>.png when the block ends well."""
        return replacing(self.path / "figures" / f"{name}.png")

    def finish(self) -> None:
        """Marks the run as complete and drops what only an unfinished run needs."""
        self.write_text("DONE", time.strftime("%Y-%m-%d %H:%M:%S\n"))
        self._drop_what_unfinished_runs_need()

    def _drop_what_unfinished_runs_need(self) -> None:
        shutil.rmtree(self.checkpoint, ignore_errors=True)
        self.drop_replaced()


def _differences(config: Any, stored: Path) -> list[str]:
    """Returns what makes a config another run than a stored one, as "epochs: 20 -> 30"."""
    old = _flat_identity(read_yaml(stored), type(config))
    new = identity(config)
    return [f"{key}: {old.get(key)} -> {new[key]}" for key in new if old.get(key) != new[key]]


def _flat_identity(values: dict[str, Any], config_class: type) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, default in to_dict(config_class()).items():
        value = values.get(key, default)
        if isinstance(default, dict):
            given = value if isinstance(value, dict) else {}
            flat |= {f"{key}.{name}": given.get(name, item) for name, item in default.items()}
        else:
            flat[key] = value
    return flat
