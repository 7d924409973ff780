"""Test a finished run on corrupted copies of its test images."""

from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser

from kerascxr.cli.options import new_parser, read_options
from kerascxr.cli.start import start_tensorflow


def parser(prog: str) -> ArgumentParser:
    """Returns the command's parser."""
    made = new_parser(prog, __doc__)
    made.add_argument("run", type=Path, help="The folder of a finished run.")
    return made


def run(argv: Sequence[str], prog: str) -> None:
    """Runs the command."""
    values = read_options(parser(prog), argv)
    start_tensorflow()
    from kerascxr.audits.robustness import measure_robustness

    measure_robustness(values.run)
