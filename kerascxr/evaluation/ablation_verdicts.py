"""Verdicts of input ablations: values computed from AUCs and their intervals.

An ablation without the lungs has one of three verdicts. "shown": it predicts the class, "large" or
"some" by its share of the full image's AUC above chance. "excluded": its interval lies below
``MARGIN`` of that share, so this model cannot use more. "not_decided": the test has too few images
for either, or the positive control was missed: the same model did not learn a marker that was
planted into the same images. A result applies to the tested model only.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

LARGE = 0.5
"""Share of the full image's AUC above chance from which on a shortcut is large."""

MARGIN = 0.15
"""Share of the full image's AUC above chance under which a shortcut counts as excluded."""

EQUIVALENT = 0.02
"""Difference of macro AUC under which an ablation with the lungs counts as equal."""

_CHANCE = 0.5
_MOST_IMAGES = 100_000


def verdict_without_lungs(auc: Mapping[str, Any], full: float, images: int) -> dict[str, Any]:
    """Returns the verdict of an ablation that hides the lungs.

    Args:
        auc: ``value`` and ``interval`` ([low, high] or None) of its macro AUC, 0..1.
        full: Macro AUC of the model of the full image.
        images: Number of test images.

    Returns:
        ``verdict`` ("shown", "excluded" or "not_decided"), ``share`` (of the full image's AUC above
        chance), ``size`` ("large" or "some", if shown) and ``images_needed`` (if not decided: how
        many test images would decide, if the AUC stayed the same; None if there is no such number).
    """
    above = max(full - _CHANCE, 1e-9)
    value, margin = auc["value"], _CHANCE + MARGIN * above
    share = (value - _CHANCE) / above
    if auc["interval"] is None:
        return {"verdict": "not_decided", "share": share, "images_needed": None}
    low, high = auc["interval"]
    if low > _CHANCE and value >= margin:
        size = "large" if share >= LARGE else "some"
        return {"verdict": "shown", "share": share, "size": size}
    if high < margin:
        return {"verdict": "excluded", "share": share}
    if value >= margin:
        needed = _images_for(images, value - low, value - _CHANCE)
    else:
        needed = _images_for(images, high - value, margin - value)
    return {"verdict": "not_decided", "share": share, "images_needed": needed}


def with_control(
    ablation: Mapping[str, Any], control: Mapping[str, Any], full: float, images: int
) -> dict[str, Any]:
    """Corrects an ablation's verdict by its positive control.

    Args:
        ablation: Has ``verdict``, from ``verdict_without_lungs``, "excluded" or "not_decided".
        control: ``auc`` (``value`` and ``interval``) of the same model, trained and tested on
            images with a planted marker, and what describes it.
        full: Macro AUC of the model of the full image.
        images: Number of test images.

    Returns:
        The ablation with ``control``, which has ``found`` in addition: whether the marker is shown
        as a shortcut. If not, ``verdict`` is "not_decided" and ``images_needed`` None.
    """
    found = verdict_without_lungs(control["auc"], full, images)["verdict"] == "shown"
    corrected = {} if found else {"verdict": "not_decided", "images_needed": None}
    return {**ablation, **corrected, "control": {**control, "found": found}}


def verdict_with_lungs(auc: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the verdict of an ablation that keeps the lungs visible.

    Args:
        auc: ``difference`` to the full image's macro AUC and ``difference_interval``, or None.

    Returns:
        ``verdict``: "lower", "higher", "equivalent" (the interval lies within ``EQUIVALENT``) or
        "not_decided".
    """
    ends = auc["difference_interval"]
    if ends is None:
        return {"verdict": "not_decided"}
    low, high = ends
    if low > -EQUIVALENT and high < EQUIVALENT:
        return {"verdict": "equivalent"}
    if low <= 0 <= high:
        return {"verdict": "not_decided"}
    return {"verdict": "lower" if auc["difference"] < 0 else "higher"}


def overall_verdict(ablations: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Sums up the ablations that hide the lungs.

    Args:
        ablations: Name -> ``lungs_visible`` and ``verdict``, see ``verdict_without_lungs`` and
            ``with_control``.

    Returns:
        ``verdict``: "shown" if one is shown, "excluded" if all are excluded, else "not_decided";
        ``large``, ``some``, ``not_decided``: the names with that verdict; ``control_missed``: those
        of the last whose control marker was missed.
    """
    hidden = {name: of for name, of in ablations.items() if not of["lungs_visible"]}

    def names(verdict: str, size: str | None = None) -> list[str]:
        return [
            name
            for name, of in hidden.items()
            if of["verdict"] == verdict and of.get("size") == size
        ]

    large, some = names("shown", "large"), names("shown", "some")
    undecided: Sequence[str] = names("not_decided")
    missed = [name for name in undecided if not hidden[name].get("control", {}).get("found", True)]
    verdict = "shown" if large or some else "not_decided" if undecided else "excluded"
    return {
        "verdict": verdict,
        "large": large,
        "some": some,
        "not_decided": list(undecided),
        "control_missed": missed,
    }


def _images_for(images: int, half_width: float, wanted: float) -> int | None:
    """Returns how many images shrink an interval's half to a width; it falls with their root."""
    if wanted <= 0:
        return None
    needed = math.ceil(images * (half_width / wanted) ** 2) + 1
    return needed if needed <= _MOST_IMAGES else None
