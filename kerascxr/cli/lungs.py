"""Find the lungs in image files: masks, overlays, DICOM SEG and a table of areas."""

import logging
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from kerascxr.cli.options import new_parser, read_options
from kerascxr.cli.start import start_tensorflow
from kerascxr.config import PACKAGED
from kerascxr.serving.files import find_files
from kerascxr.serving.model_folder import check_packaged, find_model, warn_of_run
from kerascxr.serving.rejected import report_unreadable
from kerascxr.serving.shards import WHOLE, Shard

logger = logging.getLogger(__name__)


def parser(prog: str) -> ArgumentParser:
    """Returns the command's parser."""
    made = new_parser(prog, __doc__)
    made.add_argument("paths", nargs="+", help="Image files, folders or globs; DICOM too.")
    made.add_argument(
        "--to", type=Path, required=True, help="A folder for masks, overlays and the table."
    )
    made.add_argument(
        "--lungs",
        type=Path | None,
        help="A finished segmentation run, or an export of one. Without it, the lung model that "
        "comes with kerascxr.",
    )
    made.add_argument(
        "--overlays",
        type=bool | Path | None,
        help="A folder for pictures of each image with its mask, by default in --to; false for "
        "none.",
    )
    add_shard(made)
    return made


def run(argv: Sequence[str], prog: str) -> int:
    """Runs the command; returns 1 if a file could not be read."""
    values = read_options(parser(prog), argv)
    files = find_files(values.paths)
    shard = read_shard(values.shard)
    if values.lungs == PACKAGED:
        check_packaged()
    elif values.lungs is not None:
        task, _ = find_model(values.lungs)
        if task != "segmentation":
            raise ValueError(f"--lungs must be a U-Net's. Got {values.lungs}, a {task} model.")
        warn_of_run(values.lungs)
    start_tensorflow()
    from kerascxr.training.lungs import choose_lungs

    unreadable = write_masks(values, choose_lungs(values.lungs), files, shard)
    report_unreadable(unreadable, values.to, shard)
    logger.info(f"Written: {values.to}")
    return 1 if unreadable else 0


def add_shard(parser: ArgumentParser) -> None:
    """Adds the option of a job that predicts some of the files."""
    parser.add_argument(
        "--shard",
        type=str | None,
        help="Which part of the files to predict, as 2/10, where several jobs share them. The "
        "table gets the part in its name, as table-00002-of-00010.csv.",
    )


def read_shard(given: str | None) -> Shard:
    """Reads that option; without it, all files are meant."""
    return Shard.parse(given) if given is not None else WHOLE


def write_masks(
    values: Namespace, model: Path, files: list[Path], shard: Shard
) -> list[tuple[str, str]]:
    """Writes masks, overlays and the table.

    Args:
        values: ``to`` and ``overlays``.
        model: What ``load_mask_predictor`` takes.
        files: The images.
        shard: Which of them to predict.

    Returns:
        The files that could not be read: path and reason.
    """
    from kerascxr.serving.mask_predictors import load_mask_predictor
    from kerascxr.serving.predict_masks import OVERLAYS, predict_masks

    beside = values.to / OVERLAYS
    overlays = beside if values.overlays in (None, True) else values.overlays or None
    return predict_masks(load_mask_predictor(model), files, values.to, overlays, shard)
