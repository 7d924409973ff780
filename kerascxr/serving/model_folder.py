"""What a model's folder is: a finished run, or an export."""

import json
import logging
from pathlib import Path

from kerascxr.config import PACKAGED
from kerascxr.runs.inflated_scores import warn_of_inflated_scores
from kerascxr.runs.reading import read_run

logger = logging.getLogger(__name__)

LEAST_DICE = 0.9
"""A U-Net of a lower test Dice is called poor: a choice, no finding."""


def find_model(path: Path) -> tuple[str, Path]:
    """Finds a model by its folder: a finished run, an export, or one version of an export.

    Returns:
        Its task, "classification" or "segmentation", and the folder of the run or the version.

    Raises:
        ValueError: If it is none of these.
    """
    if (path / "DONE").exists():
        return read_run(path).task, path
    versions = sorted(
        (item for item in path.glob("*") if item.name.isdigit()), key=lambda item: int(item.name)
    )
    place = versions[-1] if versions else path
    described, task = place / "metadata.json", None
    if (place / "saved_model.pb").exists() and described.exists():
        task = json.loads(described.read_text(encoding="utf-8")).get("task")
    if task is None:
        raise ValueError(
            f"the model must be a finished run's folder or an export. Got {path}, which is neither."
        )
    return task, place


def warn_of_run(path: Path) -> None:
    """Logs a line if a model's folder is a run whose scores say too much, or a poor U-Net's."""
    if not (path / "DONE").exists():
        return
    run = read_run(path)
    warn_of_inflated_scores(run)
    dice = run.metrics["test"].get("dice", 1.0)
    if not dice >= LEAST_DICE:  # also NaN
        logger.warning(
            f"The U-Net of {path} is poor: its test Dice is {dice:.3f}. Below {LEAST_DICE}, masks "
            "miss much of the lungs or have much beside them; train it longer, or leave --lungs "
            "and --segmentation out for the lung model that comes with kerascxr."
        )


def check_lungs(path: Path | None) -> None:
    """Checks, without TensorFlow, what an option for lung masks names.

    Args:
        path: A finished segmentation run, or ``PACKAGED``; None for no choice.

    Raises:
        ValueError: If it is neither.
    """
    if path == PACKAGED:
        check_packaged()
    elif path is not None:
        read_run(path, "segmentation")


def check_packaged() -> None:
    """Checks that ``PACKAGED`` means the package's lung model alone.

    Raises:
        ValueError: If there is a model's folder of that name here, which may have been meant.
    """
    try:
        find_model(PACKAGED)
    except ValueError:
        return
    raise ValueError(
        f"{str(PACKAGED)!r} must not be both the lung model that comes with kerascxr and a model's "
        f"folder here. Give the folder as {PACKAGED.absolute()}; for the other, work elsewhere or "
        "rename the folder."
    )
