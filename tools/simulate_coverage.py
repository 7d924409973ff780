"""Counts how often each 95 % interval of simulated tests covers the truth, which is known here.

Run by hand, from the project's root::

    python -m tools.simulate_coverage

Each simulated test is a random sample of a population: groups of images, their classes drawn by the
population's mix. An interval is for the value in that population. A simulated classifier adds to
Gaussian scores an advantage of the true class; images of one group share most of their noise. The
truth is the score on a sample of 400,000 images. A simulated mask has a Dice whose logit is
Gaussian, and distances whose logarithm is; the truth is the mean of 400,000.

It prints one Markdown table: a row per interval and test size, a column per population.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple

import numpy as np

from kerascxr.evaluation.calibration import (
    BINS,
    expected_calibration_error,
    reliability_curve,
)
from kerascxr.evaluation.comparison import difference
from kerascxr.evaluation.mean_intervals import mean_interval
from kerascxr.evaluation.operating_points import operating_points, score_operating_points
from kerascxr.evaluation.resampling import RESAMPLES, resample
from kerascxr.evaluation.shares import Interval
from kerascxr.evaluation.uncertainty import (
    Resampled,
    classification_metrics,
    segmentation_metrics,
)
from kerascxr.evaluation.weighted import weighted_scores
from kerascxr.tables import markdown_table

CLASSES = ("a", "b", "c", "d")
ADVANTAGES = {
    "near 0": (-3.5, 0.3, 0.8, 1.5),
    "low": (1.0, 0.3, 0.8, 1.5),
    "middle": (2.3, 1.6, 2.2, 2.8),
    "high": (3.1, 2.8, 3.0, 3.3),
    "near 1": (4.2, 3.9, 4.1, 4.4),
}
"""Of each population's classifier, by class; class "a" is the one of the rows by class."""
MASKS = {
    "near 0": (-3.5, 0.8),
    "low": (0.4, 0.9),
    "middle": (1.8, 0.8),
    "high": (3.2, 0.8),
    "near 1": (4.2, 0.6),
}
"""Mean and standard deviation of the Dice's logit; distances have 4.5 minus it as logarithm."""
COUNTS = {
    "8 per class": (8, 8, 8, 8),
    "20 per class": (20, 20, 20, 20),
    "8, 20, 60, 112": (8, 20, 60, 112),
    "60 per class": (60, 60, 60, 60),
}
IMAGES = (20, 60, 150)
OVERALL = ("accuracy", "precision", "recall", "f1", "auc")
COMPARED = ("accuracy", "f1", "auc")
PER_CLASS = ("precision", "recall", "f1", "auc", "specificity")
COMMON_NOISE = 0.8
"""Part of the noise's variance that the images of a group share."""
PAIRED_NOISE = 0.7
"""Part of the noise's variance that two compared models share."""
_TRUTH = 400_000


class Count(NamedTuple):
    """What became of an interval over all simulated tests.

    Attributes:
        truth: The value in the population.
        covered: Tests whose interval holds it.
        printed: Tests that have an interval.
    """

    truth: float
    covered: int
    printed: int


Measured = Iterator[tuple[str, float, Interval]]
"""Name of a quantity, its true value, and a simulated test's interval."""


def grouping(images: int, grouped: bool) -> np.ndarray:
    """Lays out the groups of a test set, int (images,): every fifth has three images."""
    sizes: list[int] = []
    while sum(sizes) < images:
        size = 3 if grouped and len(sizes) % 5 == 0 else 1
        sizes.append(min(size, images - sum(sizes)))
    return np.repeat(np.arange(len(sizes)), sizes)


def noise(random: np.random.Generator, groups: np.ndarray, columns: int) -> np.ndarray:
    """Draws standard normal noise (images, columns), most of it common to a group."""
    common = random.normal(size=(groups.max() + 1, columns))[groups]
    own = random.normal(size=(len(groups), columns))
    return COMMON_NOISE**0.5 * common + (1 - COMMON_NOISE) ** 0.5 * own


def classify(noisy: np.ndarray, labels: np.ndarray, advantages: tuple) -> np.ndarray:
    """Turns noise into probabilities (images, classes)."""
    scores = noisy.copy()
    scores[np.arange(len(labels)), labels] += np.array(advantages)[labels]
    odds = np.exp(2 * (scores - scores.max(axis=1, keepdims=True)))
    return odds / odds.sum(axis=1, keepdims=True)


def mask_rows(noisy: np.ndarray, groups: np.ndarray, population: str) -> list[dict]:
    """Turns noise (images, 2) into rows as of ``segmentation.score_image``."""
    mean, deviation = MASKS[population]
    odds = mean + deviation * noisy[:, 0]
    dice = 1 / (1 + np.exp(-odds))
    area = 1000 * np.exp(0.3 * noisy[:, 1])
    distance = np.exp((4.5 - odds) / 2)
    return [
        {
            "group": str(group),
            "dice": overlap,
            "iou": overlap / (2 - overlap),
            "hd95": far,
            "assd": far / 4,
            "truth_pixels": pixels,
            "predicted_pixels": pixels,
            "overlap_pixels": overlap * pixels,
        }
        for group, overlap, far, pixels in zip(groups, dice, distance, area, strict=True)
    ]


class Classifiers:
    """Simulated tests of two classifiers: scores, thresholds, calibration, differences."""

    def __init__(self, mix: tuple[int, ...], population: str, grouped: bool, resamples: int):
        self.mix = np.array(mix) / sum(mix)
        self.groups = grouping(sum(mix), grouped)
        self.names = [str(group) for group in self.groups]
        self.resamples = resamples
        self.random = np.random.default_rng(0)
        names = list(ADVANTAGES)
        # The second model is as good as the first in every other population, else a level worse.
        second = names[names.index(population) - names.index(population) % 2]
        self.advantages = ADVANTAGES[population], ADVANTAGES[second]
        self.thresholds, self.truth = _truth(tuple(self.mix), population)
        self.other = _truth(tuple(self.mix), second)[1]
        self.before: dict[str, Resampled] = {}

    def test(self, seed: int) -> Measured:
        """Simulates a test."""
        k = len(self.mix)
        labels = self.random.choice(k, self.groups.max() + 1, p=self.mix)[self.groups]
        common = PAIRED_NOISE**0.5 * noise(self.random, self.groups, k)
        predicted, scored = [], []
        for advantages in self.advantages:
            own = (1 - PAIRED_NOISE) ** 0.5 * noise(self.random, self.groups, k)
            predicted.append(classify(common + own, labels, advantages))
            scored.append(
                classification_metrics(labels, predicted[-1], self.names, self.resamples, seed)
            )
        overall, per_class = scored[0]
        for name in OVERALL:
            yield _title(name), self.truth[name], overall[name].interval
        for name in PER_CLASS:
            title = f"{_label(name)} of class a"
            yield title, self.truth[title], per_class[name][0].interval
        found = score_operating_points(self.thresholds, labels, predicted[0], self.names)["a"]
        for name in ("sensitivity", "specificity"):
            title = f"{name} at a threshold"
            yield title, self.truth[title], found[f"{name}_interval"]
        for name in COMPARED:
            change = self.other[name] - self.truth[name]
            gap = difference(overall[name], scored[1][0][name], paired=True)
            yield f"paired difference, {_title(name)}", change, gap and (gap.low, gap.high)
            if self.before:
                gap = difference(self.before[name], overall[name], paired=False)
                yield f"unpaired difference, {_title(name)}", 0.0, gap and (gap.low, gap.high)
        self.before = overall
        yield from self._calibration(labels, predicted[0], seed)

    def _calibration(self, labels: np.ndarray, predicted: np.ndarray, seed: int) -> Measured:
        """Gives the intervals that calibration measures would have; none is printed."""
        groups = self.groups
        strata = np.zeros(groups.max() + 1, np.int64)
        weights = np.concatenate([*resample(groups, strata, self.resamples, seed)], axis=1)
        counts = weights[np.unique(groups, return_index=True)[1]]
        for name, values in _losses(labels, predicted).items():
            parts, wholes = np.bincount(groups, values), np.bincount(groups).astype(float)
            limits = mean_interval(parts, wholes, counts, distance=True)
            yield f"{name} (not printed)", self.truth[name], limits
        confidence = predicted.max(axis=1)
        excess = (predicted.argmax(axis=1) == labels) - confidence
        bins = np.eye(BINS)[np.minimum((confidence * BINS).astype(int), BINS - 1)]
        errors = np.abs((bins * excess[:, None]).T @ weights).sum(axis=0) / weights.sum(axis=0)
        low, high = np.quantile(errors, [0.025, 0.975])
        yield "ECE, percentiles (not printed)", self.truth["ECE"], (low, high)


@cache
def _truth(mix: tuple[float, ...], population: str) -> tuple[dict, dict[str, float]]:
    """Returns thresholds, chosen on other images and then fixed, and the values to be covered."""
    random = np.random.default_rng(1)
    labels = random.choice(len(mix), _TRUTH, p=mix)
    predicted = classify(random.normal(size=(_TRUTH, len(mix))), labels, ADVANTAGES[population])
    thresholds = operating_points(labels[:400], predicted[:400], CLASSES)
    scores = weighted_scores(labels, predicted)(np.ones((_TRUTH, 1)))
    truth = {name: float(scores.overall[name][0]) for name in OVERALL}
    for name in PER_CLASS:
        truth[f"{_label(name)} of class a"] = float(scores.per_class[name][0, 0])
    found, of_class = predicted[:, 0] >= thresholds["a"], labels == 0
    truth["sensitivity at a threshold"] = float(found[of_class].mean())
    truth["specificity at a threshold"] = float(1 - found[~of_class].mean())
    truth |= {name: float(of.mean()) for name, of in _losses(labels, predicted).items()}
    truth["ECE"] = expected_calibration_error(reliability_curve(labels, predicted))
    return thresholds, truth


def _losses(labels: np.ndarray, predicted: np.ndarray) -> dict[str, np.ndarray]:
    """Returns each image's part of the Brier score and of the negative log likelihood."""
    one_hot = np.eye(predicted.shape[1])[labels]
    return {
        "Brier score": ((predicted - one_hot) ** 2).sum(axis=1),
        "negative log likelihood": -np.log(predicted[np.arange(len(labels)), labels]),
    }


class Masks:
    """Simulated tests of segmentation models."""

    def __init__(self, images: int, population: str, grouped: bool):
        self.population = population
        self.groups = grouping(images, grouped)
        self.random = np.random.default_rng(0)
        large = mask_rows(self.random.normal(size=(_TRUTH, 2)), np.zeros(_TRUTH), population)
        names = ("dice", "iou", "hd95", "assd")
        self.truth = {name: float(np.mean([row[name] for row in large])) for name in names}
        pixels = sum(row["truth_pixels"] for row in large)
        self.truth["pooled_dice"] = sum(row["overlap_pixels"] for row in large) / pixels

    def test(self, seed: int) -> Measured:
        """Simulates a test."""
        common = PAIRED_NOISE**0.5 * noise(self.random, self.groups, 2)

        def scores() -> dict:
            own = (1 - PAIRED_NOISE) ** 0.5 * noise(self.random, self.groups, 2)
            return segmentation_metrics(
                mask_rows(common + own, self.groups, self.population), seed=seed
            )

        first, equal = scores(), scores()
        for name, metric in first.items():
            yield f"mean {_label(name)}", self.truth[name], metric.interval
            gap = difference(metric, equal[name], paired=True)
            yield f"paired difference, {_label(name)}, equal", 0.0, gap and (gap.low, gap.high)


def count(test: Callable[[int], Measured], repetitions: int) -> dict[str, Count]:
    """Runs simulated tests and counts, for each quantity."""
    counts: dict[str, Count] = {}
    for seed in range(repetitions):
        for name, truth, limits in test(seed):
            before = counts.get(name, Count(truth, 0, 0))
            holds = limits is not None and limits[0] - 1e-9 <= truth <= limits[1] + 1e-9
            counts[name] = Count(
                truth, before.covered + holds, before.printed + (limits is not None)
            )
    return counts


def cell(found: Count, repetitions: int) -> str:
    """Formats a count: coverage, the true value, and how many tests have no interval."""
    if found.printed < repetitions / 10:
        return "no interval"
    text = f"{found.covered / found.printed:.1%} ({found.truth:.3g})"
    without = 1 - found.printed / repetitions
    return text if without < 0.005 else f"{text}, {without:.0%} without"


def _label(name: str) -> str:
    labels = {"f1": "F1", "auc": "AUC", "dice": "Dice", "iou": "IoU", "pooled_dice": "pooled Dice"}
    return labels.get(name, name.upper() if name in ("hd95", "assd") else name)


def _title(name: str) -> str:
    return name if name == "accuracy" else f"macro {_label(name)}"


def main() -> None:
    """Simulates and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repetitions", type=int, default=500)
    parser.add_argument("--resamples", type=int, default=RESAMPLES, help="Of classifiers.")
    arguments = parser.parse_args()
    n = arguments.repetitions
    rows: dict[tuple[str, str], list[str]] = {}

    def add(size: str, population: str, test: Callable[[int], Measured]) -> None:
        for name, found in count(test, n).items():
            rows.setdefault((name, size), []).append(cell(found, n))
            print(name, size, population, rows[name, size][-1], sep=" | ", file=sys.stderr)

    for grouped in (False, True):
        for population in ADVANTAGES:
            for size, mix in COUNTS.items():
                tests = Classifiers(mix, population, grouped, arguments.resamples)
                add(size, population, tests.test)
            for images in IMAGES:
                add(str(images), population, Masks(images, population, grouped).test)
    header = ["interval of", "images", *ADVANTAGES, *(f"{name}, groups" for name in ADVANTAGES)]
    ordered = sorted(rows, key=lambda key: [name for name, _ in rows].index(key[0]))
    print(f"\n{n} tests each, {arguments.resamples} resamples. Coverage (true value):\n")
    print(markdown_table(header, [[*key, *rows[key]] for key in ordered]))


if __name__ == "__main__":
    main()
