"""Train a U-Net to find the lungs in chest X-rays."""

from collections.abc import Sequence

from jsonargparse import ArgumentParser

from kerascxr.cli.options import read_config
from kerascxr.cli.training import train_in_folder
from kerascxr.config import SegmentationConfig
from kerascxr.parsing import build_parser

GROUPS = {
    "What to train": ("base_filters", "upsampling", "image_size", "loss"),
    "Your images": ("data.source",),
    "How long": ("epochs", "batch_size", "folds", "seeds", "runtime.seed"),
    "Where results go": ("name", "runs", "overwrite", "save_masks"),
    "Settings": ("config", "print_config"),
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
