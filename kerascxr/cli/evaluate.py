"""Test a finished run, or several as one model, on another data set."""

from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser

from kerascxr.cli.options import check_ensemble_folder, new_parser, read_options
from kerascxr.cli.start import start_tensorflow
from kerascxr.config import DataConfig
from kerascxr.data.sources.open import check_source
from kerascxr.runs.inflated_scores import warn_of_inflated_scores
from kerascxr.runs.reading import read_run
from kerascxr.serving.model_folder import check_lungs

GROUPS = {"What to test": ("runs", "to", "data.source", "lungs")}


def parser(prog: str) -> ArgumentParser:
    """Returns the command's parser."""
    made = new_parser(prog, __doc__)
    made.add_argument(
        "runs",
        type=Path,
        nargs="+",
        help="The folder of a finished run. Several classification runs are tested as one model, "
        "whose probabilities are the mean of theirs.",
    )
    made.add_argument(
        "--to",
        type=Path | None,
        help="For several runs: the folder of the test. One run's test is in its own folder.",
    )
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
    check_ensemble_folder(values.runs, values.to)
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
