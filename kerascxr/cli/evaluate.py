"""Test a finished run, or several as one model, on another data set."""

from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser

from kerascxr.cli.options import new_parser, read_options
from kerascxr.cli.start import start_tensorflow
from kerascxr.cli.tested_runs import add_tested_runs, check_tested_runs
from kerascxr.config import DataConfig
from kerascxr.data.sources.open import check_source
from kerascxr.runs.inflated_scores import warn_of_inflated_scores
from kerascxr.runs.reading import read_run
from kerascxr.serving.model_folder import check_lungs

GROUPS = {"What to test": ("runs", "to", "data.source", "lungs")}


def parser(prog: str) -> ArgumentParser:
    """Returns the command's parser."""
    made = new_parser(prog, __doc__)
    add_tested_runs(made)
    made.add_argument(
        "--lungs",
        type=Path | None,
        help="A finished segmentation run that finds the lungs, for a run with a roi.",
    )
    made.add_class_arguments(DataConfig, "data")
    return made


def run(argv: Sequence[str], prog: str) -> None:
    """Runs the command."""
    values = read_options(parser(prog), argv, GROUPS)
    check_tested_runs(values.runs, values.to)
    check_lungs(values.lungs)
    check_source(values.data.source)
    start_tensorflow()
    from kerascxr.audits.external import evaluate_run
    from kerascxr.audits.external_ensemble import evaluate_ensemble

    if values.to:
        evaluate_ensemble(values.runs, values.data, values.to, values.lungs)
    else:
        warn_of_inflated_scores(read_run(values.runs[0]))
        evaluate_run(values.runs[0], values.data, values.lungs)
