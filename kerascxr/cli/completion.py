"""Print a script that completes commands and options in bash or zsh."""

import argparse
from collections.abc import Sequence

import shtab
from jsonargparse import ArgumentParser

from kerascxr.cli.help import is_path, shown_options, values_of
from kerascxr.cli.options import new_parser, read_options


def parser(prog: str) -> ArgumentParser:
    """Returns the command's parser."""
    made = new_parser(prog, __doc__)
    made.add_argument("shell", choices=("bash", "zsh"), help="The shell.")
    return made


def run(argv: Sequence[str], prog: str) -> None:
    """Runs the command."""
    values = read_options(parser(prog), argv)
    print(shtab.complete(_all_commands(), values.shell))


def _all_commands() -> argparse.ArgumentParser:
    """Returns a plain parser with every command as a subcommand; it is never used to parse."""
    from kerascxr.cli.main import COMMANDS, PROG, command_module

    whole = argparse.ArgumentParser(PROG)
    whole.add_argument("--version", action="store_true", help="Print the version.")
    commands = whole.add_subparsers()
    for name in (item for names in COMMANDS.values() for item in names):
        module = command_module(name)
        about = (module.__doc__ or "").partition("\n")[0].replace('"', "")
        part = commands.add_parser(name, help=about, description=about)
        for action in shown_options(module.parser(name), getattr(module, "HIDDEN", ())):
            _add(part, action)
        for flag in ("--quiet", "--verbose"):
            part.add_argument(flag, action="store_true")
    return whole


def _add(part: argparse.ArgumentParser, action: argparse.Action) -> None:
    hint = getattr(action, "_typehint", None) or action.type
    choices = [str(item) for item in action.choices or ()] or values_of(hint) or None
    names = [name for name in action.option_strings if name[-1] != "+"] or [action.dest]
    added = part.add_argument(*names, choices=choices, nargs=None if action.option_strings else "*")
    takes_files = is_path(hint) or action.dest.rpartition(".")[2] in ("config", "source", "paths")
    if takes_files:
        added.complete = shtab.FILE  # type: ignore[attr-defined]
