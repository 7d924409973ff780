"""List the packaged configs, which ``--config NAME`` takes."""

from collections.abc import Sequence

from jsonargparse import ArgumentParser

from kerascxr.cli.config_files import config_files, summary
from kerascxr.cli.options import new_parser, read_options


def parser(prog: str) -> ArgumentParser:
    """Returns the command's parser."""
    return new_parser(prog, __doc__)


def run(argv: Sequence[str], prog: str) -> None:
    """Runs the command."""
    read_options(parser(prog), argv)
    files = config_files()
    width = max(map(len, files), default=0) + 2
    for name, path in files.items():
        print(f"{name:<{width}}{summary(path)}")
