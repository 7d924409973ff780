"""Train a classifier for each backbone and depth, and a U-Net; then report on all of them."""

from collections.abc import Sequence

from jsonargparse import ArgumentParser

from kerascxr.cli.options import read_config
from kerascxr.cli.start import start_tensorflow
from kerascxr.cluster.ray_cluster import require_ray
from kerascxr.config import StudyConfig
from kerascxr.data.sources.open import check_source
from kerascxr.models.backbones import BACKBONES
from kerascxr.names import look_up
from kerascxr.parsing import build_parser

GROUPS = {
    "Your images": ("data.source", "unet.data.source", "classifier.roi"),
    "What to train": ("backbones", "depths", "weights", "segmentation"),
    "How long": ("classifier.epochs", "unet.epochs"),
    "Where results go": ("runs", "overwrite"),
    "Settings": ("config",),
}
_SET_BY_THE_STUDY = (
    *("folds", "seeds", "cluster", "workers", "name", "runs", "overwrite"),
    *("split", "runtime", "resources"),
)
_DATA = ("stores", "stores_gb", "features", "features_gb", "cache")
HIDDEN = (
    *(f"{part}.{name}" for part in ("classifier", "unet") for name in _SET_BY_THE_STUDY),
    *(f"classifier.{name}" for name in ("backbone", "depth", "weights", "data")),
    *(f"unet.data.{name}" for name in _DATA),
)


def parser(prog: str) -> ArgumentParser:
    """Returns the command's parser."""
    return build_parser(StudyConfig, prog)


def run(argv: Sequence[str], prog: str) -> int:
    """Runs the command; returns 1 if a run failed."""
    config = read_config(StudyConfig, argv, prog, GROUPS, HIDDEN)
    require_ray(config.cluster)
    for backbone in config.backbones:
        look_up(BACKBONES, backbone, "backbone")
    if not config.runs.exists():  # without new runs, a study needs no images
        for data in (config.data, config.unet.data):
            check_source(data.source)
    start_tensorflow()
    from kerascxr.cli.study_runs import run_study

    return 0 if run_study(config) else 1
