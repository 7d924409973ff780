"""The command that gives this process's commands, for lines that name one."""

import shlex
import shutil
import sys
from pathlib import Path

import kerascxr

_PACKAGE = Path(kerascxr.__file__).parent
_named: list[str] = []  # the user's script that takes the commands, if one does


def note_script(path: str | None = None) -> None:
    """Remembers that the script that was started takes the commands, if it is a user's.

    Such a script adds entries first, as docs/extending.md has it. Without it, a run of its entries
    could not be read.

    Args:
        path: A script that another process was started with.
    """
    if path is not None:
        _named[:] = [path]
        return
    started = sys.modules["__main__"]
    file = getattr(started, "__file__", None)
    if file is None or getattr(started, "__spec__", None) is not None:  # python -c, python -m
        return
    if Path(file).suffix == ".py" and not Path(file).resolve().is_relative_to(_PACKAGE):
        _named[:] = [sys.argv[0]]


def script() -> str | None:
    """Returns the user's script that takes the commands; None if none does."""
    return _named[0] if _named else None


def program() -> str:
    """Returns what to write before a command such as "report"."""
    if _named:
        return f"python {shlex.quote(_named[0])}"
    return "kerascxr" if shutil.which("kerascxr") else "python -m kerascxr"
