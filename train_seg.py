"""Trains a U-Net that finds lungs in chest X-rays: python train_seg.py."""

import sys
from collections.abc import Sequence

from kerascxr.cli import train_seg
from kerascxr.cli.start import run_command


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    return run_command(train_seg.run, argv, "train_seg.py")


if __name__ == "__main__":
    sys.exit(main())
