"""Fine-tunes a classifier: python train_cls.py --backbone efficientnetb0 --depth 1."""

import sys
from collections.abc import Sequence

from kerascxr.cli.start import run_trainer
from kerascxr.config import ClassificationConfig


def _trainer():
    from kerascxr.training.classification import train

    return train


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    return run_trainer(
        "classification",
        ClassificationConfig,
        argv,
        "train_cls.py",
        lambda config: (
            f"{config.backbone}-depth{config.depth}"
            + ("" if config.roi == "none" else f"-{config.roi}")
        ),
        _trainer,
    )


if __name__ == "__main__":
    sys.exit(main())
