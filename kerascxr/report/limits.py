"""The paragraph on the limits of the report's figures."""

import math
from collections.abc import Sequence

from kerascxr.names import listed
from kerascxr.report import reference
from kerascxr.report.external import external_name, read_external
from kerascxr.runs.reading import Run

_DATABASE = (
    "In the radiography database the class nearly equals the origin (Lung_Opacity is all RSNA, "
    "Viral Pneumonia all paediatric), so a high score does not show that a model detects disease."
)
_OTHER = (
    "Where the images of a class come from a hospital, a device or an age group of their own, a "
    "model can recognise those, and a high score does not show that it detects disease."
)
_DRAWN = "Drawn X-rays show no patient, and no score on them says anything about disease."
_LUNGS = (
    "A high Dice on images like those of the training does not show that lungs are found on images "
    "of another hospital, another age group or another disease."
)


def limits(runs: Sequence[Run]) -> str:
    """Returns the paragraph: what these runs' images allow, and the scores' uncertainty."""
    return " ".join(limit_sentences(runs))


def limit_sentences(runs: Sequence[Run]) -> list[str]:
    """Returns the sentences of ``limits``, the one on research first."""
    classifiers = [run for run in runs if run.task == "classification"]
    parts = ["For research, not for diagnosis.", *dict.fromkeys(_limit(run) for run in runs)]
    if classifiers:
        widths = [_half_width(run) for run in classifiers]
        counts = [run.metrics["test"]["n"] for run in classifiers]
        parts.append(
            f"With {_between(min(counts), max(counts), ',')} test images, an accuracy is uncertain "
            f"by about {_between(100 * min(widths), 100 * max(widths), '.1f')} percentage points "
            "in either direction (95%); another seed or split adds to that."
        )
    return parts


def _limit(run: Run) -> str:
    """Returns the sentence on what the scores of a run's images cannot show."""
    if run.drawn:
        return _DRAWN
    if run.task == "segmentation":
        return _LUNGS
    classes = set(run.environment["data_fingerprint"]["classes"])
    return _DATABASE if classes == set(reference.CLASSES) else _OTHER


def drawn_notice(runs: Sequence[Run]) -> str:
    """Returns a sentence for the page's top where scores are of drawn images; else nothing."""
    drawn = [run.name for run in runs if run.drawn]
    tests = [
        (run, external_name(name), of["data"].get("layout") == "phantom")
        for run in runs
        for name, of in read_external(run.path).items()
    ]
    external = [f"{run.name} on {name}" for run, name, is_drawn in tests if is_drawn]
    if not drawn and not external:
        return ""
    if len(drawn) == len(runs) and len(external) == len(tests):
        whose = "All scores on this page"
    else:
        parts = [f"Scores of {'; '.join(drawn)}"] if drawn else []
        parts += [f"external tests of {'; '.join(external)}"] if external else []
        whose = listed(parts)
        whose = whose[0].upper() + whose[1:]
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
