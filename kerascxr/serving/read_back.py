"""The check of a written export: what it answers, read back, against what it must answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from kerascxr.serving.graph import DECIDING, Outputs
from kerascxr.serving.rounding import HINT, without_tf32

TOLERANCE = 1e-5
"""Of a probability."""
SCORE_TOLERANCE = 0.01
"""Of an out-of-distribution score, whose unit is its deviation over validation images."""

_SHOWN = 60  # characters of an answer


def allowed_at(temperature: float) -> float:
    """Returns how far probabilities may differ: a temperature below 1 enlarges rounding errors."""
    return TOLERANCE * max(1.0, 1 / temperature)


@dataclass(frozen=True)
class Expected:
    """What an export must answer for n image files.

    Attributes:
        ids: The images' names, for messages.
        files: The files' bytes.
        probabilities: float (n, k).
        answers: The columns ``DECIDING``, n values each.
        borderline: bool (n,): where a rounding error can change the decision or the set; see
            ``DecisionRule.borderline``.
    """

    ids: Sequence[str]
    files: Sequence[bytes]
    probabilities: np.ndarray
    answers: Mapping[str, Sequence[Any]]
    borderline: np.ndarray


def answers_of(outputs: Outputs) -> dict[str, list[Any]]:
    """Returns the columns ``DECIDING`` of what a model computed."""
    return {
        name: [
            value.decode() if isinstance(value, bytes) else float(value)
            for value in outputs[name].numpy().tolist()
        ]
        for name in DECIDING
    }


def compare_reloaded(
    folder: Path, expected: Expected, classes: Sequence[str], temperature: float
) -> float:
    """Compares a written SavedModel, read back, with what it must answer.

    Args:
        folder: The SavedModel.
        expected: What it must answer.
        classes: The k class names.
        temperature: Of the model; the lowest of an ensemble's.

    Returns:
        The largest difference of a probability.

    Raises:
        ValueError: If one is over ``allowed_at``, the classes are others, an out-of-distribution
            score differs by more than ``SCORE_TOLERANCE``, or a decision, a prediction set or the
            warnings differ for an image that is not borderline.
    """
    loaded = tf.saved_model.load(str(folder))
    with without_tf32():
        given = loaded.signatures["serving_default"](images=tf.constant(list(expected.files)))
    difference = float(np.abs(given["probabilities"].numpy() - expected.probabilities).max())
    labels = [label.decode() for label in given["labels"].numpy()[0]]
    allowed = allowed_at(temperature)
    if not difference <= allowed or labels != list(classes):
        raise ValueError(
            f"the export must reproduce the run's probabilities to {allowed:g}. Got a difference "
            f"of {difference:.2g}; {HINT}."
        )
    require_same_answers(answers_of(given), expected)
    return difference


def require_same_answers(given: Mapping[str, Sequence[Any]], expected: Expected) -> None:
    """Checks what a reloaded export decides.

    Args:
        given: What it answers, by the names of ``DECIDING``.
        expected: What the run has.

    Raises:
        ValueError: If an out-of-distribution score differs by more than ``SCORE_TOLERANCE``, or a
            decision, a prediction set or the warnings differ for an image that is not borderline.
    """
    for name in DECIDING:
        for place, (new, old) in enumerate(zip(given[name], expected.answers[name], strict=True)):
            if not _same(new, old, bool(expected.borderline[place])):
                raise ValueError(
                    f"the export must reproduce the run's {name}. Got {_shown(new)} instead of "
                    f"{_shown(old)} for the test image {expected.ids[place]}; {HINT}."
                )


def _same(new: Any, old: Any, borderline: bool) -> bool:
    if isinstance(old, float):  # a score that is NaN must stay so
        return bool(np.isclose(new, old, rtol=0, atol=SCORE_TOLERANCE, equal_nan=True))
    return borderline or new == old


def _shown(answer: Any) -> str:
    return f"{answer:.4g}" if isinstance(answer, float) else repr(answer[:_SHOWN])
