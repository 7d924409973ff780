"""What a worker of the cluster does around a part or an item: folder, user's script, log."""

import functools
import logging
import os
import pickle
import platform
import runpy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kerascxr

Lines = list[tuple[int, str]]
"""What the package logged, with its levels; INFO and above."""

_loading_script = False


@dataclass(frozen=True)
class Place:
    """Where a command runs.

    Attributes:
        folder: Its working folder, to which relative paths refer.
        script: The user's script that takes the commands, if one does; it may add entries to
            registries, see docs/extending.md.
        version: The version of kerascxr.
        shared: Files from ``passing_file`` in the folders that all machines must share.
    """

    folder: str
    script: str | None
    version: str
    shared: tuple[str, ...] = ()


class _Collected(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: Lines = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((record.levelno, record.getMessage()))


def run_in_worker(
    place: Place, function: Callable[..., None], arguments: tuple[Any, ...]
) -> tuple[Exception | None, Lines]:
    """Calls a function as the command itself would.

    Args:
        place: Where the command runs.
        function: What to call.
        arguments: Its arguments.

    Returns:
        The error that ended it, or None; and what was logged.
    """
    _, error, lines = _call(place, function, arguments)
    return error, lines


class Worker:
    """A process that loads something once, and then computes items with it.

    Args:
        place: Where the command runs.
    """

    def __init__(self, place: Place):
        self._place = place
        self._compute: Callable[[Any], Any] | None = None

    def load(self, load: "Load", arguments: tuple[Any, ...]) -> tuple[Any, Exception | None, Lines]:
        """Loads; returns what ``load`` says of it, or the error that ended it, and the log."""
        loaded, error, lines = _call(self._place, load, arguments)
        about = None
        if error is None:
            about, self._compute = loaded
        return about, error, lines

    def compute(self, item: Any) -> tuple[Any, Exception | None, Lines]:
        """Computes an item; returns the result, or the error that ended it, and the log."""
        assert self._compute is not None
        return _call(self._place, self._compute, (item,))


Load = Callable[..., tuple[Any, Callable[[Any], Any]]]
"""Returns what can be sent and is equal in all workers, and what computes an item."""


def _call(
    place: Place, function: Callable[..., Any], arguments: tuple[Any, ...]
) -> tuple[Any, Exception | None, Lines]:
    """Calls a function as the command itself would; returns its result, its error and its log."""
    package, collected = logging.getLogger("kerascxr"), _Collected()
    package.setLevel(logging.DEBUG)
    package.propagate = False
    package.addHandler(collected)
    try:
        _enter(place)
        return function(*arguments), None, collected.lines
    except Exception as error:  # whatever it is, the worker can take the next part
        return None, _sendable(error), collected.lines
    finally:
        package.removeHandler(collected)


def is_loading_script() -> bool:
    """Returns whether the user's script runs for its entries alone: then no command does."""
    return _loading_script


def _enter(place: Place) -> None:
    if place.version != kerascxr.__version__:
        raise ValueError(
            "kerascxr must be the same version on all machines of the cluster. Got "
            f"{kerascxr.__version__} on {platform.node()}, and {place.version} in the command."
        )
    try:
        os.chdir(place.folder)
    except OSError as error:
        raise ValueError(
            "the machines of the cluster must share the command's folders. Got "
            f"{platform.node()} without {place.folder}."
        ) from error
    for file in map(Path, place.shared):
        if not file.exists():
            raise ValueError(
                "the machines of the cluster must share the folders that are written to. Got "
                f"{platform.node()}, where {file.parent} is missing or another folder."
            )
    if place.script:
        load_script(place.script)


@functools.cache
def load_script(path: str) -> None:
    """Runs the user's script for its entries alone, once."""
    global _loading_script
    _loading_script = True
    try:
        runpy.run_path(path, run_name="__mp_main__")
    except SystemExit:  # such scripts end with sys.exit(main(...))
        pass
    finally:
        _loading_script = False


def _sendable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(str(error))
    return error
