"""The ``kerascxr`` command: finds the command that was asked for and runs it."""

import importlib
import sys
from collections.abc import Sequence
from types import ModuleType

from kerascxr import __version__
from kerascxr.cli.program import note_script
from kerascxr.cli.start import print_error, run_command
from kerascxr.cluster.worker import is_loading_script
from kerascxr.names import look_up

PROG = "kerascxr"

# What a user does first comes first. A command's module has its name, with "_" for "-".
COMMANDS = {
    "Train": ("train-cls", "train-seg", "study", "pretrain"),
    "Images": ("lungs", "data"),
    "Test a run": ("audit", "robustness", "evaluate", "compare"),
    "Use a run": ("report", "predict", "export", "app"),
    "Set up": ("configs", "cache", "completion"),
}


def command_module(name: str) -> ModuleType:
    """Returns the module of a command.

    Args:
        name: The command's name, e.g. "train-cls".

    Raises:
        ValueError: If there is no such command.
    """
    known = {item: item.replace("-", "_") for names in COMMANDS.values() for item in names}
    return importlib.import_module(f"kerascxr.cli.{look_up(known, name, 'command')}")


def overview() -> str:
    """Returns the list of commands, one line each."""
    lines = [f"usage: {PROG} COMMAND ...", ""]
    for title, names in COMMANDS.items():
        lines.append(f"{title}:")
        for name in names:
            summary = (command_module(name).__doc__ or "").partition("\n")[0]
            lines.append(f"  {name:<12}{summary}")
        lines.append("")
    lines.append(f"{PROG} COMMAND --help describes a command. {PROG} --version prints the version.")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None, script: str | None = None) -> int:
    """Runs a command; returns the exit code.

    Args:
        argv: The command and its arguments; None for the process's own.
        script: The user's script that takes the commands, where that is not the one started.
    """
    if is_loading_script():
        return 0
    note_script(script)
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(overview())
        return 0
    name, *rest = arguments
    if name == "--version":
        print(f"{PROG} {__version__}")
        return 0
    try:
        module = command_module(name)
    except ValueError as error:
        return print_error(PROG, error, 2)
    return run_command(module.run, rest, f"{PROG} {name}")
