"""What a worker of the cluster does around a part: its folder, the user's script, the log."""

import functools
import logging
import os
import pickle
import platform
import runpy
from collections.abc import Callable
from dataclasses import dataclass
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
    """

    folder: str
    script: str | None
    version: str


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
    package, collected = logging.getLogger("kerascxr"), _Collected()
    package.setLevel(logging.DEBUG)
    package.propagate = False
    package.addHandler(collected)
    try:
        _enter(place)
        function(*arguments)
    except Exception as error:  # whatever it is, the worker can take the next part
        return _sendable(error), collected.lines
    finally:
        package.removeHandler(collected)
    return None, collected.lines


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
    if place.script:
        _load_script(place.script)


@functools.cache
def _load_script(path: str) -> None:
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
