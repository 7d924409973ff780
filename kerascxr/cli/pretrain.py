"""Pretrain a backbone on drawn X-rays, for --weights of a classifier."""

from collections.abc import Sequence

from jsonargparse import ArgumentParser

from kerascxr.cli.options import read_config
from kerascxr.cli.training import train_in_folder
from kerascxr.config import PretrainingConfig
from kerascxr.parsing import build_parser

GROUPS = {
    "What to train": ("backbone", "image_size", "crop_size"),
    "How long": ("crop_epochs", "epochs", "drawings", "batch_size"),
    "Where results go": ("name", "overwrite"),
    "Settings": ("config",),
}


def parser(prog: str) -> ArgumentParser:
    """Returns the command's parser."""
    return build_parser(PretrainingConfig, prog)


def run(argv: Sequence[str], prog: str) -> int:
    """Runs the command; returns its exit code."""
    config = read_config(PretrainingConfig, argv, prog, GROUPS)

    def load():
        from kerascxr.training.pretraining import pretrain

        return pretrain

    return train_in_folder(config, "pretraining", config.backbone, load)
