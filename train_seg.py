"""Trains a U-Net that finds lungs in chest X-rays: python train_seg.py."""

import sys
from collections.abc import Sequence

from kerascxr.cli.start import run_trainer
from kerascxr.config import SegmentationConfig


def _trainer():
    from kerascxr.training.segmentation import train

    return train


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    return run_trainer(
        "segmentation",
        SegmentationConfig,
        argv,
        "train_seg.py",
        lambda config: "unet" if config.base_filters is None else f"unet-{config.base_filters}",
        _trainer,
    )


if __name__ == "__main__":
    sys.exit(main())
