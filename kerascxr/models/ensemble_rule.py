"""The rule by which an ensemble decides between an answer and "not decided".

The decision is the class with the largest mean probability, if it alone is likely enough and no
input check warns.

- Where all members held out the same validation images, likely enough is a threshold of the mean
  probability on these, as for one run (``evaluation.conformal``): a guarantee of 95 %. An image is
  unlike the training images if the mean of the members' out-of-distribution scores, each less its
  limit, is over a limit of its own, fitted to the same images.
- Elsewhere the members vote, each with its own thresholds: a class is likely enough if it alone is
  for more than half of them. A wrong decision then needs more than half of the members to be wrong,
  so at 5 % each it has a probability of at most 10 % (Markov's inequality).

Any other input check warns if it does for more than half of the members that have it.

Source:
    Cherubin, Machine Learning 108, 2019, on majority votes of conformal predictors.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from kerascxr.evaluation.abstention import NOT_DECIDED, SEPARATOR, SEVERAL
from kerascxr.evaluation.conformal import class_thresholds, common_threshold
from kerascxr.models.decision_rule import DecisionRule, near_thresholds
from kerascxr.models.input_checks import FAR, joined_names
from kerascxr.models.ood_detector import limit_for


@dataclass(frozen=True)
class EnsembleRule:
    """What an ensemble's decisions depend on, beside its members' answers.

    Attributes:
        members: The m members' own rules.
        thresholds: float32 (k,): the mean probability from which on each class is in a prediction
            set; None for a vote.
        least: The mean probability from which on a class is likely enough; not used in a vote.
        ood_limit: The largest mean of the out-of-distribution scores, each less its limit, without
            a warning; not used in a vote.
    """

    members: tuple[DecisionRule, ...]
    thresholds: np.ndarray | None = None
    least: float = 0.0
    ood_limit: float = 0.0

    @classmethod
    def fit(
        cls,
        members: Sequence[DecisionRule],
        truth: np.ndarray,
        mean: np.ndarray,
        ood_scores: np.ndarray,
    ) -> "EnsembleRule":
        """Fits what it needs to n validation images that all members held out.

        Args:
            members: The m members' rules.
            truth: True class indices, int (n,).
            mean: float (n, k), the mean of the members' calibrated probabilities.
            ood_scores: float (m, n), each member's.
        """
        voting = cls(tuple(members))
        over = voting._over(tf.constant(ood_scores, tf.float32))
        return cls(
            voting.members,
            class_thresholds(truth, mean).astype(np.float32),
            float(np.float32(common_threshold(truth, mean))),
            limit_for(tf.reduce_mean(over, axis=0).numpy()),
        )

    @property
    def votes(self) -> bool:
        """Whether the members vote."""
        return self.thresholds is None

    @property
    def check_kinds(self) -> tuple[str, ...]:
        """The warnings of the members' input checks."""
        return tuple(dict.fromkeys(kind for rule in self.members for kind in rule.checks.kinds))

    @property
    def kinds(self) -> tuple[str, ...]:
        """All reasons for not deciding."""
        return (SEVERAL, *self.check_kinds)

    @property
    def in_every_set(self) -> tuple[int, ...]:
        """The classes that every prediction set has: too few validation images to exclude them."""
        if self.thresholds is not None:
            return tuple(np.flatnonzero(self.thresholds <= 0).tolist())
        counts = Counter(place for rule in self.members for place in rule.in_every_set)
        return tuple(sorted(p for p, count in counts.items() if 2 * count > len(self.members)))

    def apply(
        self,
        probabilities: tf.Tensor,
        warnings: tf.Tensor,
        ood_scores: tf.Tensor,
        classes: Sequence[str],
    ) -> dict[str, tf.Tensor]:
        """Decides.

        Args:
            probabilities: float32 (m, batch, k), each member's, calibrated.
            warnings: string (m, batch), each member's.
            ood_scores: float32 (m, batch), each member's.
            classes: The k class names.

        Returns:
            What ``DecisionRule.apply`` returns. ``ood_score`` is a score less its limit, above 0
            just where the image is unlike the training images: the mean of the members', or in a
            vote the one that more than half of them reach.
        """
        warned = tf.stack([_has(warnings, kind) for kind in self.check_kinds], axis=2)
        inside, reasons, scores = self.found(probabilities, warned, ood_scores)
        best = tf.argmax(tf.reduce_mean(probabilities, axis=0), axis=1)
        decided = tf.gather(tf.constant(list(classes)), best)
        return {
            "decision": tf.where(tf.reduce_any(reasons, axis=1), NOT_DECIDED, decided),
            "prediction_set": joined_names(classes, inside),
            "ood_score": scores,
            "warnings": joined_names(self.kinds, reasons),
        }

    def found(
        self, probabilities: tf.Tensor, warned: tf.Tensor, ood_scores: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns what ``apply`` decides by.

        Args:
            probabilities: See ``apply``, as for ``ood_scores``.
            warned: bool (m, batch, check_kinds), each member's warnings.
            ood_scores: The same.

        Returns:
            What ``DecisionRule.found`` returns.
        """
        inside, several = self._likely(probabilities)
        over = self._over(ood_scores)
        if self.votes:
            score = tf.sort(over, axis=0, direction="DESCENDING")[len(self.members) // 2]
        else:
            score = tf.reduce_mean(over, axis=0) - self.ood_limit
        columns = [several]
        for place, kind in enumerate(self.check_kinds):
            having = sum(kind in rule.checks.kinds for rule in self.members)
            by_votes = self.votes or kind != FAR
            columns.append(
                _most(warned[:, :, place], having) if by_votes else ~(score <= 0)
            )  # NaN is far
        return inside, tf.stack(columns, axis=1), score

    def _over(self, ood_scores: tf.Tensor) -> tf.Tensor:
        """Returns each member's scores, float32 (m, batch), less its limit."""
        limits = np.array([rule.checks.ood_detector.limit for rule in self.members], np.float32)
        return ood_scores - limits[:, None]

    def borderline(
        self, probabilities: np.ndarray, scores: np.ndarray, tolerance: float, of_scores: float
    ) -> np.ndarray:
        """Returns where a small difference can change the decision or the prediction set.

        Args:
            probabilities: float (m, n, k), each member's, calibrated.
            scores: float (n,), the ensemble's out-of-distribution scores.
            tolerance: See ``DecisionRule.borderline``.
            of_scores: The same.

        Returns:
            bool (n,).
        """
        mean = probabilities.mean(axis=0)
        near = np.abs(scores) <= of_scores  # the limit is 0
        if self.thresholds is not None:
            return near | near_thresholds(mean, self.thresholds, self.least, tolerance)
        second, first = np.sort(mean, axis=1)[:, -2:].T
        near |= first - second <= 2 * tolerance
        for rule, own in zip(self.members, probabilities, strict=True):
            near |= near_thresholds(own, rule.thresholds, rule.least, tolerance)
        return near

    def prediction_sets(self, probabilities: np.ndarray) -> np.ndarray:
        """Returns the classes in each image's prediction set.

        Args:
            probabilities: float (m, n, k), each member's, calibrated.

        Returns:
            bool (n, k).
        """
        inside: np.ndarray = self._likely(tf.constant(probabilities, tf.float32))[0].numpy()
        return inside

    def _likely(self, probabilities: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns which classes are possible, and where not one alone is likely enough."""
        mean = tf.reduce_mean(probabilities, axis=0)
        best = tf.argmax(mean, axis=1)
        if self.thresholds is None:
            inside, several = self._vote(probabilities, best)
        else:
            inside = mean >= self.thresholds
            likely = tf.reduce_sum(tf.cast(mean >= self.least, tf.int32), axis=1)
            several = likely != 1
        most = tf.one_hot(best, probabilities.shape[-1], True, False, dtype=tf.bool)
        return inside | most, several

    def _vote(self, probabilities: tf.Tensor, best: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns which classes are in most sets, and where ``best`` is not most members' class."""
        thresholds = np.stack([rule.thresholds for rule in self.members])
        least = np.array([rule.least for rule in self.members], np.float32)
        # Not tf.one_hot, whose conversion to ONNX takes one axis alone.
        classes = tf.range(probabilities.shape[-1], dtype=tf.int64)
        own_best = tf.argmax(probabilities, axis=2)[..., None] == classes
        inside = (probabilities >= thresholds[:, None]) | own_best
        likely = probabilities >= least[:, None, None]
        alone = tf.reduce_sum(tf.cast(likely, tf.int32), axis=2, keepdims=True) == 1
        of_best = best[:, None] == classes
        members = len(self.members)
        most_alone = _most(likely & alone, members)
        return _most(inside, members), ~tf.reduce_any(most_alone & of_best, axis=1)


def _most(votes: tf.Tensor, voters: int) -> tf.Tensor:
    """Returns where more than half of the voters, along the first axis, say so."""
    return 2 * tf.reduce_sum(tf.cast(votes, tf.int32), axis=0) > voters


def _has(warnings: tf.Tensor, kind: str) -> tf.Tensor:
    """Returns which of texts that ``joined`` made hold a warning."""
    return tf.strings.regex_full_match(
        warnings, f"(.*{SEPARATOR})?{re.escape(kind)}({SEPARATOR}.*)?"
    )
