"""The command that gives this process's commands, for lines that name one."""

import shlex
import shutil
import sys
from pathlib import Path

import kerascxr

_PACKAGE = Path(kerascxr.__file__).parent
_named: list[str] = []  # the user's script that takes the commands, if one does


def note_script() -> None:
    """Remembers that the script that was started takes the commands, if it is a user's.

    Such a script adds entries first, as docs/extending.md has it. Without it, a run of its entries
    could not be read.
    """
    started = sys.modules["__main__"]
    file = getattr(started, "__file__", None)
    if file is None or getattr(started, "__spec__", None) is not None:  # python -c, python -m
        return
    if Path(file).suffix == ".py" and not Path(file).resolve().is_relative_to(_PACKAGE):
        _named[:] = [sys.argv[0]]


def program() -> str:
    """Returns what to write before a command such as "report"."""
    if _named:
        return f"python {shlex.quote(_named[0])}"
    return "kerascxr" if shutil.which("kerascxr") else "python -m kerascxr"
