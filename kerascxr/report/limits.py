"""The paragraph on the limits of the report's figures."""

import math
from collections.abc import Sequence

from kerascxr.runs.reading import Run

_LIMITS = (
    "For research, not for diagnosis. In the radiography database the class nearly equals the "
    "origin (Lung_Opacity is all RSNA, Viral Pneumonia all paediatric), so a high score does not "
    "show that a model recognises disease."
)


def limits(runs: Sequence[Run]) -> str:
    """Returns the paragraph; the uncertainty is that of these runs' test accuracies."""
    widths = [_half_width(run) for run in runs if run.task == "classification"]
    if not widths:
        return _LIMITS
    counts = [run.metrics["test"]["n"] for run in runs if run.task == "classification"]
    return (
        f"{_LIMITS} With {_between(min(counts), max(counts), ',')} test images, an accuracy is "
        f"uncertain by about {_between(100 * min(widths), 100 * max(widths), '.1f')} percentage "
        "points in either direction (95%); another seed or split adds to that."
    )


def drawn_notice(runs: Sequence[Run]) -> str:
    """Returns a sentence for the page's top where runs are of drawn images; else nothing."""
    drawn = [run.name for run in runs if run.drawn]
    if not drawn:
        return ""
    whose = (
        "All scores on this page" if len(drawn) == len(runs) else f"Scores of {'; '.join(drawn)}"
    )
    return (
        f"{whose} are of drawn X-rays (phantom), not of patients. They show that the software "
        "runs and mean nothing for patients."
    )


def _half_width(run: Run) -> float:
    """Returns half the accuracy's interval; for a run without one, by the normal approximation."""
    test = run.metrics["test"]
    ends = test.get("intervals", {}).get("accuracy")
    if ends:
        return (ends[1] - ends[0]) / 2
    accuracy = test["accuracy"]
    return 1.96 * math.sqrt(accuracy * (1 - accuracy) / test["n"])


def _between(low: float, high: float, spec: str) -> str:
    ends = dict.fromkeys((f"{low:{spec}}", f"{high:{spec}}"))
    return " to ".join(ends)
