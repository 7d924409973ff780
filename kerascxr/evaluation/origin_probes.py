"""How much an image's origin says of its class, by linear probes of features.

A probe is a logistic regression on standardised features, trained on training images and scored on
test images. An origin is measured where it has enough images of a class on both sides.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from kerascxr.evaluation.classification import evaluate
from kerascxr.evaluation.comparison import difference
from kerascxr.evaluation.uncertainty import (
    classification_intervals,
    classification_metrics,
)

ENOUGH_TO_TRAIN = 20
ENOUGH_TO_TEST = 5
REGULARISATION = 0.01
"""scikit-learn's C: strong, because features are many and an origin's images may be few."""
_ITERATIONS = 2000


@dataclass(frozen=True)
class Sourced:
    """Images as features, with what is known of them.

    Attributes:
        features: float (n, channels).
        labels: Class indices, int (n,).
        origins: Names, str (n,); "" where unknown.
        groups: The images' groups, str (n,).
    """

    features: np.ndarray
    labels: np.ndarray
    origins: np.ndarray
    groups: np.ndarray

    def of(self, chosen: np.ndarray) -> "Sourced":
        """Returns some of the images, by bool (n,)."""
        return Sourced(
            self.features[chosen], self.labels[chosen], self.origins[chosen], self.groups[chosen]
        )


def why_not(train_origins: np.ndarray, test_origins: np.ndarray) -> str:
    """Says in a sentence why origins cannot be measured; "" if they can."""
    known = sorted(set(train_origins.tolist()) - {""})
    if not known or not (test_origins != "").any():
        return (
            "Origins were not checked: the source does not say where its images come from (in a "
            "CSV list, the column origin does; in the radiography database, the files "
            "CLASS.metadata.xlsx)."
        )
    if len(known) == 1:
        return f"Origins were not checked: all images of a known one come from {known[0]}."
    return ""


def measure_sources(train: Sourced, test: Sourced, classes: Sequence[str]) -> dict[str, Any]:
    """Measures what origins say of classes, features of origins, and features within one origin.

    Args:
        train: What probes learn from.
        test: What they are scored on.
        classes: The k class names.

    Returns:
        Ready for JSON: ``skipped``, a sentence, and nothing else where there is nothing to measure.
        Otherwise ``classes``; ``images`` ("train" and "test" -> origin -> class -> count, "" being
        the unknown); ``class_from_origin`` and ``class_from_features`` (the same images, those of
        known origin); ``origin_from_features`` (scores, or None) and
        ``origin_within_class`` (a list); ``class_within_origin`` (a list, a dict a pair of classes
        and origin); ``left_out`` (a list, a dict a class and origin left out of its training).

    Source:
        Zech et al., PLOS Medicine 2018, and DeGrave, Janizek and Lee, Nature Machine Intelligence
        2021, on classifiers that recognise hospitals and data sets instead of diseases.
    """
    reason = why_not(train.origins, test.origins)
    if reason:
        return {"skipped": reason}
    return {
        "classes": list(classes),
        "images": {"train": _counts(train, classes), "test": _counts(test, classes)},
        **_class_scores(train.of(train.origins != ""), test.of(test.origins != ""), classes),
        "origin_from_features": probe_origin(train, test),
        "origin_within_class": [
            {"class": name} | told
            for index, name in enumerate(classes)
            if (
                told := probe_origin(train.of(train.labels == index), test.of(test.labels == index))
            )
        ],
        "class_within_origin": _within(train, test, classes),
        "left_out": _left_out(train, test, classes),
    }


def _counts(images: Sourced, classes: Sequence[str]) -> dict[str, dict[str, int]]:
    pairs = Counter(zip(images.origins.tolist(), images.labels.tolist(), strict=True))
    return {
        origin: {name: pairs[origin, index] for index, name in enumerate(classes)}
        for origin in sorted(set(images.origins.tolist()))
    }


def _measured(train: Sourced, test: Sourced) -> list[str]:
    """Returns the origins that have enough of these images on both sides."""
    learned, asked = Counter(train.origins.tolist()), Counter(test.origins.tolist())
    return [
        origin
        for origin in sorted(learned)
        if origin and learned[origin] >= ENOUGH_TO_TRAIN and asked[origin] >= ENOUGH_TO_TEST
    ]


def _fit(features: np.ndarray, targets: np.ndarray, balanced: bool = False) -> Pipeline:
    """Trains a probe; balanced: each class counts the same, however few images it has."""
    regression = LogisticRegression(
        C=REGULARISATION, max_iter=_ITERATIONS, class_weight="balanced" if balanced else None
    )
    return make_pipeline(StandardScaler(), regression).fit(features.astype(np.float64), targets)


def _probabilities(probe: Pipeline, features: np.ndarray, k: int) -> np.ndarray:
    """Returns float64 (n, k); 0 for classes that the probe never saw."""
    probabilities = np.zeros((len(features), k))
    probabilities[:, probe.classes_] = probe.predict_proba(features.astype(np.float64))
    return probabilities


def _scores(
    truth: np.ndarray, probabilities: np.ndarray, names: Sequence[str], groups: np.ndarray
) -> dict[str, Any]:
    scores = evaluate(truth, probabilities, names)
    intervals = classification_intervals(truth, probabilities, names, groups.tolist())
    return {
        "n": len(truth),
        **{measure: scores[measure] for measure in ("accuracy", "auc")},
        "intervals": {measure: intervals[measure] for measure in ("accuracy", "auc")},
    }


def _class_scores(train: Sourced, test: Sourced, classes: Sequence[str]) -> dict[str, Any]:
    """Scores the class by the origin alone, and by the features."""
    k = len(classes)
    overall = np.bincount(train.labels, minlength=k)
    best = {
        origin: int(np.bincount(train.labels[train.origins == origin], minlength=k).argmax())
        for origin in set(train.origins.tolist())
    }
    guesses = [best.get(origin, int(overall.argmax())) for origin in test.origins.tolist()]
    by_origin = _scores(test.labels, np.eye(k)[guesses], classes, test.groups)
    # A guess is no ranking. And resampled within classes, as tests are, whole classes are right or
    # wrong at once: the interval would be far too narrow.
    by_origin |= {"auc": None, "intervals": {"accuracy": None, "auc": None}}
    probe = _fit(train.features, train.labels)
    by_features = _scores(
        test.labels, _probabilities(probe, test.features, k), classes, test.groups
    )
    chance = float((test.labels == overall.argmax()).mean())
    return {
        "class_from_origin": by_origin | {"chance": chance},
        "class_from_features": by_features | {"chance": chance},
    }


def probe_origin(train: Sourced, test: Sourced) -> dict[str, Any] | None:
    """Scores the origin by the features, among those with enough images."""
    origins = _measured(train, test)
    if len(origins) < 2:
        return None
    train, test = (images.of(np.isin(images.origins, origins)) for images in (train, test))
    learned, truth = (np.searchsorted(origins, images.origins) for images in (train, test))
    probe = _fit(train.features, learned)
    probabilities = _probabilities(probe, test.features, len(origins))
    chance = float((truth == np.bincount(learned).argmax()).mean())
    scores = _scores(truth, probabilities, origins, test.groups)
    return scores | {"chance": chance, "origins": origins}


def _within(train: Sourced, test: Sourced, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Scores each pair of classes within each origin that has enough of both."""
    found = []
    for pair in combinations(range(len(classes)), 2):
        sides = [
            _measured(train.of(train.labels == label), test.of(test.labels == label))
            for label in pair
        ]
        shared = [origin for origin in sides[0] if origin in sides[1]]
        if not shared:
            continue
        names = [classes[label] for label in pair]
        learned, asked = (images.of(np.isin(images.labels, pair)) for images in (train, test))
        everywhere = _fit(learned.features, learned.labels == pair[1])
        whole = _auc(everywhere, asked, pair[1], names)
        for origin in shared:
            own, tested = (images.of(images.origins == origin) for images in (learned, asked))
            within = _fit(own.features, own.labels == pair[1])
            found.append(
                {
                    "origin": origin,
                    "classes": names,
                    "train": len(own.labels),
                    "within": _auc(within, tested, pair[1], names),
                    "all_on_within": _auc(everywhere, tested, pair[1], names),
                    "all": whole,
                }
            )
    return found


def _auc(probe: Pipeline, test: Sourced, positive: int, names: Sequence[str]) -> dict[str, Any]:
    truth = (test.labels == positive).astype(np.int64)
    probabilities = probe.predict_proba(test.features.astype(np.float64))
    scores = _scores(truth, probabilities, names, test.groups)
    return {"n": scores["n"], "auc": scores["auc"], "interval": scores["intervals"]["auc"]}


def _left_out(train: Sourced, test: Sourced, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Scores the recall of a class on an origin that it was, or was not, learned from."""
    found = []
    k = len(classes)
    whole = None
    for label, name in enumerate(classes):
        origins = _measured(train.of(train.labels == label), test.of(test.labels == label))
        for origin in origins if len(origins) > 1 else []:
            if whole is None:
                whole = _fit(train.features, train.labels, balanced=True)
            rest = train.of((train.labels != label) | (train.origins != origin))
            # Balanced, or the class would be guessed less often just for being rarer.
            without = _fit(rest.features, rest.labels, balanced=True)
            asked = test.of((test.labels == label) & (test.origins == origin))
            recalls = [
                classification_metrics(
                    asked.labels, _probabilities(probe, asked.features, k), asked.groups.tolist()
                )[1]["recall"][label]
                for probe in (without, whole)
            ]
            change = difference(recalls[1], recalls[0], paired=True)
            found.append(
                {
                    "class": name,
                    "origin": origin,
                    "train": int((rest.labels == label).sum()),
                    "test": len(asked.labels),
                    "recall_without": recalls[0].value,
                    "interval_without": recalls[0].interval,
                    "recall_with": recalls[1].value,
                    "interval_with": recalls[1].interval,
                    "change": None
                    if change is None or change.low == change.high
                    else [change.value, max(-1.0, change.low), min(1.0, change.high)],
                }
            )
    return found
