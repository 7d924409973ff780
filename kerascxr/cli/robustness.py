"""Test a finished run on corrupted copies of its test images."""

import logging
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser

from kerascxr.cli.options import new_parser, read_options
from kerascxr.cli.start import start_tensorflow
from kerascxr.report.robustness import robustness_markdown, robustness_text
from kerascxr.runs.folder import RunFolder
from kerascxr.runs.reading import read_run

logger = logging.getLogger(__name__)


def parser(prog: str) -> ArgumentParser:
    """Returns the command's parser."""
    made = new_parser(prog, __doc__)
    made.add_argument("run", type=Path, help="The folder of a finished run.")
    return made


def run(argv: Sequence[str], prog: str) -> None:
    """Runs the command."""
    values = read_options(parser(prog), argv)
    read_run(values.run)
    start_tensorflow()
    from kerascxr.audits.robustness import measure_robustness

    result = measure_robustness(values.run)
    folder = RunFolder(values.run)
    folder.write_text("robustness/robustness.md", robustness_markdown(result))
    logger.info(f"\n{result['title']}\n\n{robustness_text(result)}\n")
    logger.info(f"Written to {values.run / 'robustness'}")
