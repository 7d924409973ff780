"""The rule that decides between an answer and "not decided", as functions of TensorFlow.

A predicted class is the decision if it alone is likely enough and no input check warns, the
out-of-distribution score's included. Likely enough is a probability that the true classes of 95 %
of the validation images reach: see ``evaluation.conformal``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from kerascxr.evaluation.abstention import NOT_DECIDED, SEVERAL
from kerascxr.models.input_checks import InputChecks, OrientationClassifier, joined_names
from kerascxr.models.ood_detector import OODDetector

FILE = "decision_rule.npz"
"""The rule's file in a run's folder."""


@dataclass(frozen=True)
class DecisionRule:
    """What a model's decisions depend on, beside its probabilities.

    Attributes:
        checks: The input checks.
        thresholds: float32 (k,): the calibrated probability from which on each class is in a
            prediction set.
        least: The calibrated probability from which on a class is likely enough.
    """

    checks: InputChecks
    thresholds: np.ndarray
    least: float

    @property
    def kinds(self) -> tuple[str, ...]:
        """All reasons for not deciding, in the order in which they are given."""
        return (SEVERAL, *self.checks.kinds)

    def found(
        self,
        images: tf.Tensor,
        statistics: tf.Tensor,
        probabilities: tf.Tensor,
        own_sizes: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns what ``apply`` decides by.

        Args:
            images: See ``apply``, as for the other arguments.
            statistics: The same.
            probabilities: The same.
            own_sizes: The same.

        Returns:
            bool (batch, k), the prediction sets; bool (batch, kinds), which of ``kinds`` hold; and
            float32 (batch,), the out-of-distribution scores.
        """
        best = tf.argmax(probabilities, axis=1)
        inside = probabilities >= self.thresholds
        inside |= tf.one_hot(best, len(self.thresholds), True, False, dtype=tf.bool)
        likely = tf.reduce_sum(tf.cast(probabilities >= self.least, tf.int32), axis=1)
        scores = self.checks.ood_detector.score(statistics)
        checked = self.checks.found(images, statistics, scores, own_sizes)
        return inside, tf.concat([(likely != 1)[:, None], checked], axis=1), scores

    def apply(
        self,
        images: tf.Tensor,
        statistics: tf.Tensor,
        probabilities: tf.Tensor,
        classes: Sequence[str],
        own_sizes: tf.Tensor | None = None,
    ) -> dict[str, tf.Tensor]:
        """Decides.

        Args:
            images: float32 (batch, height, width, 1 or 2), 0..255.
            statistics: float32 (batch, n), their layer statistics.
            probabilities: float32 (batch, k), calibrated.
            classes: The k class names.
            own_sizes: int32 (batch, 2), the (height, width) of the files, if known.

        Returns:
            ``decision`` string (batch,), a class or "not decided"; ``prediction_set`` string
            (batch,), the classes that are possible, joined by "; "; ``ood_score`` float32 (batch,);
            ``warnings`` string (batch,), the reasons for not deciding, joined by "; ", or "".
        """
        names = tf.constant(list(classes))
        inside, reasons, scores = self.found(images, statistics, probabilities, own_sizes)
        best = tf.gather(names, tf.argmax(probabilities, axis=1))
        return {
            "decision": tf.where(tf.reduce_any(reasons, axis=1), NOT_DECIDED, best),
            "prediction_set": joined_names(classes, inside),
            "ood_score": scores,
            "warnings": joined_names(self.kinds, reasons),
        }

    @property
    def in_every_set(self) -> tuple[int, ...]:
        """The classes that every prediction set has: too few validation images to exclude them."""
        return tuple(np.flatnonzero(self.thresholds <= 0).tolist())

    def borderline(
        self, probabilities: np.ndarray, scores: np.ndarray, tolerance: float, of_scores: float
    ) -> np.ndarray:
        """Returns where a small difference can change the decision or the prediction set.

        Args:
            probabilities: float (n, k), calibrated.
            scores: float (n,), out-of-distribution scores.
            tolerance: How far a probability may differ.
            of_scores: How far a score may differ.

        Returns:
            bool (n,): where a probability is that near to a threshold, the largest to the second
            largest, or the score to its limit.
        """
        near = np.abs(scores - self.checks.ood_detector.limit) <= of_scores
        return near | near_thresholds(probabilities, self.thresholds, self.least, tolerance)

    def save(self, path: Path) -> None:
        """Writes the rule as an .npz."""
        parts: dict[str, Any] = {"thresholds": self.thresholds, "least": self.least}
        parts |= _arrays("ood", self.checks.ood_detector)
        if self.checks.orientation_classifier is not None:
            parts |= _arrays("orientation", self.checks.orientation_classifier)
        with path.open("wb") as file:
            np.savez_compressed(file, **parts)

    @classmethod
    def load(cls, path: Path) -> "DecisionRule":
        """Reads what ``save`` wrote.

        Raises:
            ValueError: If the file is missing or damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                parts = dict(file)
            checks = InputChecks(
                _made(OODDetector, "ood", parts),
                _made(OrientationClassifier, "orientation", parts)
                if "orientation.limit" in parts
                else None,
            )
            return cls(checks, parts["thresholds"], parts["least"].item())
        except (
            Exception
        ) as error:  # on damaged archives, NumPy and zipfile raise errors of any type
            reason = " ".join(str(error).split())[:150]
            raise ValueError(
                f"{path} must be a decision rule that kerascxr wrote. It cannot be read "
                f"({reason}); train again with --overwrite true."
            ) from error


def near_thresholds(
    probabilities: np.ndarray, thresholds: np.ndarray, least: float, tolerance: float
) -> np.ndarray:
    """Returns where probabilities are near to thresholds, or to each other: see ``borderline``.

    Args:
        probabilities: float (n, k).
        thresholds: float (k,), of the prediction sets.
        least: From which on a class is likely enough.
        tolerance: How near.
    """
    second, first = np.sort(probabilities, axis=1)[:, -2:].T
    near = np.minimum(np.abs(probabilities - thresholds), np.abs(probabilities - least))
    return (near <= tolerance).any(axis=1) | (first - second <= 2 * tolerance)


def _arrays(prefix: str, part: Any) -> dict[str, Any]:
    return {f"{prefix}.{item.name}": getattr(part, item.name) for item in fields(part)}


def _made(kind: type, prefix: str, parts: Mapping[str, np.ndarray]) -> Any:
    """Makes a dataclass of arrays, numbers and names from what ``_arrays`` gave."""
    found = {item.name: parts[f"{prefix}.{item.name}"] for item in fields(kind)}
    return kind(**{name: _value(array) for name, array in found.items()})


def _value(array: np.ndarray) -> Any:
    if array.ndim == 0:
        return array.item()
    return tuple(array.tolist()) if array.dtype.kind == "U" else array
