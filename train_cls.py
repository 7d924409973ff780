"""Fine-tunes a classifier: python train_cls.py --backbone efficientnetb0 --depth 1."""

import sys
from collections.abc import Sequence

from kerascxr.cli import train_cls
from kerascxr.cli.start import run_command


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    return run_command(train_cls.run, argv, "train_cls.py")


if __name__ == "__main__":
    sys.exit(main())
