"""Predict image files into a table."""

import logging
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser

from kerascxr.cli.options import new_parser, read_options
from kerascxr.cli.start import start_tensorflow

logger = logging.getLogger(__name__)


def parser(prog: str) -> ArgumentParser:
    """Returns the command's parser."""
    made = new_parser(prog, __doc__)
    made.add_argument("model", type=Path, help="A finished run's folder, or an export.")
    made.add_argument("paths", nargs="+", help="Image files, folders or globs; DICOM too.")
    made.add_argument("--to", type=Path, required=True, help="The table: .csv or .parquet.")
    made.add_argument(
        "--segmentation", type=Path | None, help="A finished segmentation run: adds lung_fraction."
    )
    made.add_argument(
        "--overlays", type=Path | None, help="A folder for each image with its Grad-CAM."
    )
    return made


def run(argv: Sequence[str], prog: str) -> int:
    """Runs the command; returns 1 if a file could not be read."""
    values = read_options(parser(prog), argv)
    start_tensorflow()
    from kerascxr.serving.files import find_files
    from kerascxr.serving.predict import predict_files, report_unreadable
    from kerascxr.serving.predictors import load_lung_finder, load_predictor

    unreadable = predict_files(
        load_predictor(values.model),
        find_files(values.paths),
        values.to,
        lungs=load_lung_finder(values.segmentation) if values.segmentation else None,
        overlays=values.overlays,
    )
    report_unreadable(unreadable)
    logger.info(f"Written: {values.to}")
    return 1 if unreadable else 0
