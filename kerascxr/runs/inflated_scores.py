"""Runs whose test scores are too good by their options, for a measurement: leaky and marked ones.

Nothing is published from such a run. Looking into it is what it was trained for, so it is read with
a warning. See docs/design/exported-model.md.
"""

import logging
from collections.abc import Mapping
from typing import Any

from kerascxr.runs.reading import Run

logger = logging.getLogger(__name__)


def ignores_groups(run: Run) -> bool:
    """Returns whether a run's split ignored groups, so that its test images leak."""
    return _ignores_groups(run.config)


def why_inflated(run: Run) -> str | None:
    """Returns why a run's test scores say too much, the rest of a sentence; None if they do not."""
    return why_inflated_by(run.config)


def why_inflated_by(config: Mapping[str, Any]) -> str | None:
    """Returns what ``why_inflated`` does, by what the run's config.yaml holds."""
    if _ignores_groups(config):
        return (
            "ignored groups in its split, to measure what that is worth: its test images leak into "
            "its training images. Train one that keeps them (split.groups kept)."
        )
    marker = config.get("control_marker")
    if marker is not None:
        return (
            f"was trained on images with a planted marker that reveals the class "
            f"(control_marker={marker!r}). Train one without (control_marker null)."
        )
    return None


def _ignores_groups(config: Mapping[str, Any]) -> bool:
    return bool((config.get("split") or {}).get("groups", "kept") != "kept")


def require_fair_scores(run: Run) -> None:
    """Checks that a run may be exported, or be a member of an ensemble.

    Raises:
        ValueError: If its test scores say too much.
    """
    why = why_inflated(run)
    if why:
        raise ValueError(
            "exports and members of ensembles must be of runs whose test scores are fair. "
            f"Got {run.path}, which {why}"
        )


def warn_of_inflated_scores(run: Run) -> None:
    """Logs one line if a run's test scores say too much."""
    why = why_inflated(run)
    if why:
        logger.warning(f"The test scores of {run.path} say too much: it {why}")
