"""Options of the commands: parsing them, and configs found by name."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from jsonargparse import ArgumentParser, Namespace

from kerascxr.cli.config_files import with_config_paths
from kerascxr.cli.help import answer_help, asks_for_help
from kerascxr.evaluation.ensembles import read_members
from kerascxr.parsing import build_parser, parse_config, parse_with
from kerascxr.runs.reading import read_run

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


def check_ensemble_folder(runs: Sequence[Path], to: Path | None) -> None:
    """Checks the runs of a test, and that several of them, which are one model, have a folder.

    Args:
        runs: What was given as runs.
        to: What was given as the folder of the test.

    Raises:
        ValueError: If a run is not finished, they do not fit together, or a folder is missing, is
            that of a run, or was given for one run, whose test is in its own.
    """
    if len(runs) > 1:
        read_members(runs)
        if to is None:
            raise ValueError("--to must name a folder for several runs. Got none.")
        place = to.resolve()
        if any((folder / "DONE").exists() for folder in (place, *place.parents)):
            raise ValueError(
                f"--to must not be a run's folder or in one, whose own tests are there. Got {to}."
            )
        return
    read_run(runs[0])
    if to is not None:
        raise ValueError(f"--to must be left out for one run. Got {to}.")


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
