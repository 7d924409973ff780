"""The options of commands that test a finished run, or several as one model."""

from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser

from kerascxr.runs.reading import read_run


def add_tested_runs(parser: ArgumentParser) -> None:
    """Adds the runs, and the folder of the test of several."""
    parser.add_argument(
        "runs",
        type=Path,
        nargs="+",
        help="The folder of a finished run. Several classification runs are tested as one model, "
        "whose probabilities are the mean of theirs.",
    )
    parser.add_argument(
        "--to",
        type=Path | None,
        help="For several runs: the folder of the test. One run's test is in its own folder.",
    )


def check_tested_runs(runs: Sequence[Path], to: Path | None) -> None:
    """Checks the runs of a test, and that several of them, which are one model, have a folder.

    Args:
        runs: What was given as runs.
        to: What was given as the folder of the test.

    Raises:
        ValueError: If a run is not finished, they do not fit together, or a folder is missing, is
            that of a run, or was given for one run, whose test is in its own.
    """
    from kerascxr.evaluation.ensembles import read_members  # takes a second: not before --help

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
