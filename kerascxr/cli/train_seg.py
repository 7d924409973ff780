"""Train a U-Net to find the lungs in chest X-rays."""

from collections.abc import Sequence

from jsonargparse import ArgumentParser

from kerascxr.cli.options import read_config
from kerascxr.cli.training import train_in_folder
from kerascxr.config import SegmentationConfig
from kerascxr.parsing import build_parser

GROUPS = {
    "Your images": ("data.source",),
    "What to train": ("base_filters", "image_size", "loss"),
    "How long": ("epochs", "batch_size", "folds", "seeds"),
    "Where results go": ("name", "overwrite", "save_masks"),
    "Settings": ("config",),
}


def parser(prog: str) -> ArgumentParser:
    """Returns the command's parser."""
    return build_parser(SegmentationConfig, prog)


def run(argv: Sequence[str], prog: str) -> int:
    """Runs the command; returns its exit code."""
    config = read_config(SegmentationConfig, argv, prog, GROUPS)
    name = "unet" if config.base_filters is None else f"unet-{config.base_filters}"

    def load():
        from kerascxr.training.segmentation import train

        return train

    return train_in_folder(config, "segmentation", name, load)
