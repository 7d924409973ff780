"""Write one page, and tables, on finished runs."""

import logging
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser

from kerascxr.cli.options import new_parser, read_options

logger = logging.getLogger(__name__)


def parser(prog: str) -> ArgumentParser:
    """Returns the command's parser."""
    made = new_parser(prog, __doc__)
    made.add_argument("runs", type=Path, nargs="+", help="Run folders, or folders of them.")
    made.add_argument("--to", type=Path, default=Path("report"), help="Folder of the report.")
    return made


def run(argv: Sequence[str], prog: str) -> None:
    """Runs the command."""
    values = read_options(parser(prog), argv)
    from kerascxr.report.page import write_report
    from kerascxr.runs.reading import find_runs

    logger.info(f"Written: {write_report(find_runs(values.runs), values.to)}")
