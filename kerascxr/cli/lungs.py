"""Find the lungs in image files: masks, overlays, DICOM SEG and a table of areas."""

import logging
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from kerascxr.cli.cluster_options import add_cluster
from kerascxr.cli.options import new_parser, read_options
from kerascxr.cli.start import set_tensorflow_variables, start_tensorflow
from kerascxr.cluster.ray_cluster import require_ray
from kerascxr.config import PACKAGED
from kerascxr.serving.chosen_model import Chosen, ChosenUNet
from kerascxr.serving.files import find_files
from kerascxr.serving.model_folder import check_packaged, find_model, warn_of_run
from kerascxr.serving.predict_on_cluster import predict_on_cluster
from kerascxr.serving.predicted_rows import LUNG_TABLE, OVERLAYS, check_folder, write_rows
from kerascxr.serving.rejected import report_unreadable
from kerascxr.serving.shards import WHOLE, Shard

logger = logging.getLogger(__name__)


def parser(prog: str) -> ArgumentParser:
    """Returns the command's parser."""
    made = new_parser(prog, __doc__)
    made.add_argument("paths", nargs="+", help="Image files, folders, globs or URLs; DICOM too.")
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
    add_cluster(made, "Finds the lungs in several processes")
    return made


def run(argv: Sequence[str], prog: str) -> int:
    """Runs the command; returns 1 if a file could not be read."""
    values = read_options(parser(prog), argv)
    require_ray(values.cluster)
    files = find_files(values.paths)
    shard = read_shard(values.shard)
    if values.lungs == PACKAGED:
        check_packaged()
    elif values.lungs is not None:
        task, _ = find_model(values.lungs)
        if task != "segmentation":
            raise ValueError(f"--lungs must be a U-Net's. Got {values.lungs}, a {task} model.")
        warn_of_run(values.lungs)
    unreadable = predict_chosen(chosen_unet(values, values.lungs), values, files, shard)
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


def chosen_unet(values: Namespace, model: Path | None) -> ChosenUNet:
    """Returns a U-Net with the folders of its masks and overlays.

    Args:
        values: ``to`` and ``overlays``.
        model: See ``ChosenUNet``.

    Raises:
        ValueError: If ``to`` cannot be a folder.
    """
    check_folder(values.to)
    beside = values.to / OVERLAYS
    overlays = beside if values.overlays in (None, True) else values.overlays or None
    return ChosenUNet(model, values.to, overlays)


def predict_chosen(
    chosen: Chosen, values: Namespace, files: list[Path], shard: Shard
) -> list[tuple[str, str]]:
    """Predicts files, in this process or on a cluster.

    Args:
        chosen: The model.
        values: ``to``, ``cluster`` and ``resources``.
        files: The images.
        shard: Which of them to predict.

    Returns:
        The files that could not be read: path and reason.
    """
    table = values.to / LUNG_TABLE if isinstance(chosen, ChosenUNet) else values.to
    if values.cluster is None:
        start_tensorflow()
        made = chosen.load()
        kind, unreadable = made.kind, write_rows(made.kind, made.compute, files, table, shard)
    else:
        set_tensorflow_variables()
        kind, unreadable = predict_on_cluster(
            chosen, files, table, shard, values.cluster, values.resources
        )
    if kind.note:
        logger.info(kind.note)
    return unreadable
