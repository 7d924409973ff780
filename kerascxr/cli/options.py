"""Options of the commands: parsing them, and configs found by name."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from jsonargparse import ArgumentParser, Namespace

from kerascxr.cli.config_files import with_config_paths
from kerascxr.cli.help import answer_help, asks_for_help
from kerascxr.parsing import build_parser, parse_config, parse_with

Config = TypeVar("Config")

Groups = Mapping[str, Sequence[str]]


def new_parser(prog: str, description: str | None) -> ArgumentParser:
    """Returns a command's empty parser.

    Args:
        prog: The command's name.
        description: What it does; the docstring of the command's module.
    """
    return ArgumentParser(
        prog=prog, description=description, exit_on_error=False, allow_abbrev=False
    )


def read_options(
    parser: ArgumentParser, argv: Sequence[str], groups: Groups | None = None
) -> Namespace:
    """Parses a command's arguments; answers ``--help`` and ``--help all``.

    Args:
        parser: The command's parser.
        argv: Arguments.
        groups: What the short help shows: title -> options. None shows all.

    Raises:
        SystemExit: With code 0 after the help, with code 2 and one line if something is wrong.
    """
    answer_help(parser, argv, groups)
    return parse_with(parser, argv)


def read_config(
    config_class: type[Config],
    argv: Sequence[str],
    prog: str,
    groups: Groups,
    hidden: Sequence[str] = (),
) -> Config:
    """Parses a config's arguments; answers ``--help`` and ``--help all``.

    Args:
        config_class: The config.
        argv: Arguments.
        prog: The command's name.
        groups: What the short help shows: title -> options.
        hidden: Options that the command refuses; no help shows them.

    Raises:
        SystemExit: As ``read_options``.
    """
    if asks_for_help(argv):
        answer_help(build_parser(config_class, prog), argv, groups, hidden)
    return parse_config(config_class, with_config_paths(argv), prog)
