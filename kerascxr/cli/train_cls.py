"""Fine-tune a pretrained backbone to classify chest X-rays."""

from collections.abc import Sequence

from jsonargparse import ArgumentParser

from kerascxr.cli.options import read_config
from kerascxr.cli.training import train_in_folder
from kerascxr.config import ClassificationConfig
from kerascxr.models.backbones import BACKBONES
from kerascxr.names import look_up
from kerascxr.parsing import build_parser

GROUPS = {
    "Your images": ("data.source", "roi", "lungs"),
    "What to train": ("backbone", "depth", "weights", "image_size"),
    "How long": ("epochs", "batch_size", "folds", "seeds"),
    "Where results go": ("name", "overwrite"),
    "Settings": ("config",),
}


def parser(prog: str) -> ArgumentParser:
    """Returns the command's parser."""
    return build_parser(ClassificationConfig, prog)


def run(argv: Sequence[str], prog: str) -> int:
    """Runs the command; returns its exit code."""
    config = read_config(ClassificationConfig, argv, prog, GROUPS)
    look_up(BACKBONES, config.backbone, "backbone")
    name = f"{config.backbone}-depth{config.depth}"
    if config.roi != "none":
        name += f"-{config.roi}"
    if config.control_marker:
        name += f"-{config.control_marker}"

    def load():
        from kerascxr.training.classification import train

        return train

    return train_in_folder(config, "classification", name, load)
