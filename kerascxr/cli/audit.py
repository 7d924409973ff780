"""Search for shortcuts that a classifier could take, by input ablations."""

import logging
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser

from kerascxr.cli.cluster_options import add_cluster
from kerascxr.cli.options import new_parser, read_options
from kerascxr.cli.start import start_tensorflow
from kerascxr.cluster.ray_cluster import require_ray
from kerascxr.config import Depth
from kerascxr.runs.folder import RunFolder
from kerascxr.runs.reading import read_run
from kerascxr.serving.model_folder import check_lungs

logger = logging.getLogger(__name__)


def parser(prog: str) -> ArgumentParser:
    """Returns the command's parser."""
    made = new_parser(prog, __doc__)
    made.add_argument("run", type=Path, help="The folder of a finished classification run.")
    made.add_argument(
        "--lungs",
        type=Path | None,
        help="A finished segmentation run that finds the lungs. Without it, that of the run's "
        "training, or the data set's own masks, or the package's lung model.",
    )
    made.add_argument(
        "--depth",
        type=Depth | None,
        help="What is trainable in the ablations' models. Without it, the run's depth, at most 1.",
    )
    made.add_argument("--epochs", type=int, default=10, help="Epochs of each ablation.")
    add_cluster(made, "Trains several models at once")
    return made


def run(argv: Sequence[str], prog: str) -> None:
    """Runs the command."""
    values = read_options(parser(prog), argv)
    read_run(values.run)
    check_lungs(values.lungs)
    require_ray(values.cluster)
    start_tensorflow()
    from kerascxr.audits.input_ablations import audit_run
    from kerascxr.report.input_ablations import audit_markdown, audit_text

    result = audit_run(
        values.run, values.lungs, values.depth, values.epochs, values.cluster, values.resources
    )
    RunFolder(values.run).write_text("audit/audit.md", audit_markdown(result))
    logger.info(f"\n{audit_text(result)}\n\nWritten to {values.run / 'audit'}")
