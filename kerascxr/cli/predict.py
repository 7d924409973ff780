"""Predict image files: a classifier's table, or a U-Net's lung masks."""

import logging
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from kerascxr.cli.cluster_options import add_cluster
from kerascxr.cli.lungs import add_shard, chosen_unet, predict_chosen, read_shard
from kerascxr.cli.options import new_parser, read_options
from kerascxr.cluster.ray_cluster import require_ray
from kerascxr.runs.reading import read_run
from kerascxr.serving.chosen_model import ChosenClassifier, ChosenUNet
from kerascxr.serving.files import find_files
from kerascxr.serving.model_folder import check_lungs, find_model, warn_of_run
from kerascxr.serving.predicted_rows import check_table
from kerascxr.serving.rejected import report_unreadable

logger = logging.getLogger(__name__)


def parser(prog: str) -> ArgumentParser:
    """Returns the command's parser."""
    made = new_parser(prog, __doc__)
    made.add_argument("model", type=Path, help="A finished run's folder, or an export.")
    made.add_argument(
        "paths",
        nargs="+",
        help="Image files, folders, globs or URLs; DICOM too. Finished runs' folders before them "
        "make an ensemble with MODEL: classifiers whose mean probabilities are the answer.",
    )
    made.add_argument(
        "--to",
        type=Path,
        required=True,
        help="Of a classifier the table, .csv or .parquet; of a U-Net a folder for masks, overlays "
        "and the table.",
    )
    made.add_argument(
        "--segmentation",
        type=Path | None,
        help="For a classifier: a finished segmentation run; adds lung_fraction.",
    )
    made.add_argument(
        "--overlays",
        type=bool | Path | None,
        help="A folder for pictures: of a classifier each image with its Grad-CAM; of a U-Net with "
        "its mask, by default in --to, false for none.",
    )
    add_shard(made)
    add_cluster(made, "Predicts in several processes")
    return made


def run(argv: Sequence[str], prog: str) -> int:
    """Runs the command; returns 1 if a file could not be read."""
    values = read_options(parser(prog), argv)
    require_ray(values.cluster)
    values.runs, paths = _members(values.model, values.paths)
    if values.runs:
        from kerascxr.evaluation.ensembles import check_members  # slow: not before --help

        check_members([read_run(path) for path in values.runs])
    task, _ = find_model(values.model)
    warn_of_run(values.model)
    files = find_files(paths)
    shard = read_shard(values.shard)
    check_lungs(values.segmentation)
    if values.segmentation:
        warn_of_run(values.segmentation)
    chosen = _unet(values) if task == "segmentation" else _classifier(values)
    unreadable = predict_chosen(chosen, values, files, shard)
    report_unreadable(unreadable, values.to, shard)
    logger.info(f"Written: {values.to if task == 'segmentation' else shard.named(values.to)}")
    return 1 if unreadable else 0


def _members(model: Path, paths: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Divides what was given into an ensemble's runs, none for one model, and the images."""
    count = 0
    while count < len(paths) and (Path(paths[count]) / "DONE").exists():
        count += 1
    runs = [model, *map(Path, paths[:count])] if count else []
    if count == len(paths):
        raise ValueError(f"images must be named after the runs. Got runs alone: {len(runs)}.")
    return runs, list(paths[count:])


def _classifier(values: Namespace) -> ChosenClassifier:
    check_table(values.to)
    if values.overlays is True:
        raise ValueError("--overlays must be a folder for a classifier. Got true.")
    paths = tuple(values.runs) or (values.model,)
    return ChosenClassifier(paths, values.segmentation, values.overlays or None)


def _unet(values: Namespace) -> ChosenUNet:
    if values.segmentation:
        raise ValueError(
            f"--segmentation must be left out for a U-Net. Got {str(values.segmentation)!r}."
        )
    return chosen_unet(values, values.model)
