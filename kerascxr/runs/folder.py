"""The run folder: what a run was asked to do, what it did, and whether it finished."""

import contextlib
import itertools
import json
import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import yaml

from kerascxr.parsing import identity, to_dict, to_yaml
from kerascxr.runs.atomic import MARKER, is_ours, mark, replacing, write_json, write_text

logger = logging.getLogger(__name__)

_KIND = "run"
_AT_START = {"config.yaml", "environment.json", "log.txt", MARKER}


class RunFolder:
    """``runs/<task>/<name>/``; every file in it is written whole or not at all.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path):
        self.path = path
        self._is_new = False

    @classmethod
    def start(cls, config: Any, task: str, name: str) -> "RunFolder":
        """Makes a run's folder, or takes up one that the same command began.

        Args:
            config: The run's config.
            task: "classification" or "segmentation".
            name: The folder's name where the config gives none.

        Returns:
            The folder, with its config.yaml written. A default name that a run with other settings
            has gets a number.

        Raises:
            ValueError: If the config's own name is that of a run with other settings and
                ``overwrite`` is off.
        """
        parent = Path(config.runs) / task
        if config.name or config.overwrite:
            return cls.start_at(config, parent / (config.name or name))
        path = cls.free_path(config, parent / name)
        if path.name != name:
            logger.info(f"{parent / name} holds a run with other settings; this one is {path}.")
        return cls.start_at(config, path)

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
        if config.overwrite and path.exists() and any(path.iterdir()):
            folder._move_aside()
        cls.check(config, path)
        folder._is_new = not (path / "config.yaml").exists()
        mark(path, _KIND)
        write_text(path / "config.yaml", to_yaml(config))
        for half_written in folder.path.rglob(".partial-*"):  # a killed process left them
            half_written.unlink()
        return folder

    @staticmethod
    def check(config: Any, path: Path) -> None:
        """Checks that a folder is free for a run, or holds the same one.

        Args:
            config: The run's config.
            path: The folder.

        Raises:
            ValueError: If the folder holds a run with other settings, or other things.
        """
        stored = path / "config.yaml"
        if stored.exists():
            old = _flat_identity(yaml.safe_load(stored.read_text(encoding="utf-8")), type(config))
            new = identity(config)
            differing = [key for key in new if old.get(key) != new[key]]
            if differing:
                changes = ", ".join(f"{key}: {old.get(key)} -> {new[key]}" for key in differing[:4])
                raise ValueError(
                    f"{path} holds a run with other settings ({changes}). "
                    "Give this one another --name, or replace it with --overwrite true."
                )
        elif path.exists() and any(path.iterdir()):
            raise ValueError(
                f"{path} must be a run folder or not there. It has files but no "
                "config.yaml; give the run another --name or move them."
            )

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
        shutil.rmtree(self._replaced, ignore_errors=True)
        self.path.rename(self._replaced)

    def abandon(self) -> bool:
        """Removes the folder of a run that could not start, and brings back what it replaced.

        Returns:
            Whether it was removed: a folder with results, or one of an earlier call, is kept.
        """
        if not self._is_new or not {item.name for item in self.path.iterdir()} <= _AT_START:
            return False
        shutil.rmtree(self.path, ignore_errors=True)
        if self._replaced.exists():
            self._replaced.rename(self.path)
        return True

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
        handler = logging.FileHandler(self.path / "log.txt", encoding="utf-8")
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
        shutil.rmtree(self.checkpoint, ignore_errors=True)
        shutil.rmtree(self._replaced, ignore_errors=True)


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
