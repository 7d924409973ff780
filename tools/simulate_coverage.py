"""Counts how often the 95 % intervals of simulated tests hold the truth, which is known here.

Run by hand, from the project's root::

    python -m tools.simulate_coverage

A simulated classifier gives its true class a head start in Gaussian scores; images of one group
share most of their noise. The truth is the score of 600,000 such images. Lungs have a Dice whose
logit is Gaussian; its truth is the mean of 2,000,000. Each repetition draws a test set, and takes
its intervals as a run does, and, beside them, the bootstrap's percentiles. Also counted: how often
the paired interval of the difference of two equally good classifiers holds 0.
"""

import argparse

import numpy as np

from kerascxr.evaluation.comparison import difference
from kerascxr.evaluation.uncertainty import (
    Resampled,
    classification_metrics,
    interval,
    segmentation_metrics,
)
from kerascxr.evaluation.weighted import weighted_scores
from kerascxr.tables import markdown_table

SHARES = (0.295, 0.082, 0.426, 0.197)  # of the classes, as in the README's subset
HEAD_STARTS = ((3.1, 2.8, 3.0, 3.3), (2.3, 1.6, 2.2, 2.8))  # of a good classifier, and a middling
MEASURES = ("accuracy", "f1", "auc")
COMMON_NOISE = 0.8  # a group's part of the noise's variance


def layout(images: int, grouped: bool) -> tuple[np.ndarray, np.ndarray]:
    """Lays out a test set: groups and classes, int (images,); every fifth group has three."""
    sizes: list[int] = []
    labels: list[int] = []
    for label, share in enumerate(SHARES):
        left = round(share * images)
        while left:
            sizes.append(min(left, 3 if grouped and len(sizes) % 5 == 0 else 1))
            labels.append(label)
            left -= sizes[-1]
    groups = np.repeat(np.arange(len(sizes)), sizes)
    return groups, np.array(labels)[groups]


def noise(random: np.random.Generator, groups: np.ndarray, columns: int) -> np.ndarray:
    """Draws standard normal noise (images, columns), most of it common to a group."""
    common = random.normal(size=(groups.max() + 1, columns))[groups]
    own = random.normal(size=(len(groups), columns))
    return COMMON_NOISE**0.5 * common + (1 - COMMON_NOISE) ** 0.5 * own


def classify(noisy: np.ndarray, labels: np.ndarray, head_starts: tuple) -> np.ndarray:
    """Turns noise into probabilities (images, classes)."""
    scores = noisy.copy()
    scores[np.arange(len(labels)), labels] += np.array(head_starts)[labels]
    odds = np.exp(2 * (scores - scores.max(axis=1, keepdims=True)))
    return odds / odds.sum(axis=1, keepdims=True)


def dice_of(noisy: np.ndarray) -> np.ndarray:
    """Turns noise (images,) into Dice values of 0.95 or so, with a tail to the left."""
    return 1 / (1 + np.exp(-(3.2 + 0.8 * noisy)))


def holds(metric: Resampled, truth: float) -> np.ndarray:
    """Says whether ours, and the percentile interval, hold the truth, bool (2,)."""
    ours = interval(metric) or (np.nan, np.nan)
    both = np.array([ours, np.nanquantile(metric.resamples, [0.025, 0.975])])
    return (both[:, 0] <= truth + 1e-9) & (truth - 1e-9 <= both[:, 1])


def main() -> None:
    """Simulates and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repetitions", type=int, default=500)
    parser.add_argument("--images", type=int, nargs="+", default=[150, 458])
    parser.add_argument("--resamples", type=int, default=2000)
    arguments = parser.parse_args()
    random = np.random.default_rng(0)
    dice_truth = float(dice_of(random.normal(size=2_000_000)).mean())
    rows = []
    for images in arguments.images:
        for grouped in (False, True):
            groups, labels = layout(images, grouped)
            names = [str(group) for group in groups]
            many = np.tile(labels, 600_000 // images)
            for head_starts in HEAD_STARTS:
                large = classify(random.normal(size=(len(many), 4)), many, head_starts)
                truth = weighted_scores(many, large)(np.ones((len(many), 1))).overall
                held = {name: np.zeros(2) for name in (*MEASURES, "dice")}
                even = dict.fromkeys(MEASURES, 0)
                for repetition in range(arguments.repetitions):
                    shared = noise(random, groups, 4)
                    two = [
                        classification_metrics(
                            labels,
                            classify(
                                0.7**0.5 * shared + 0.3**0.5 * noise(random, groups, 4),
                                labels,
                                head_starts,
                            ),
                            names,
                            arguments.resamples,
                            repetition,
                        )[0]
                        for _ in range(2)
                    ]
                    for name in MEASURES:
                        held[name] += holds(two[0][name], truth[name][0])
                        change = difference(two[0][name], two[1][name], paired=True)
                        even[name] += change is not None and change.low <= 0 <= change.high
                    lungs = [
                        dict.fromkeys(("iou", "hd95", "assd"), 0.5)
                        | dict.fromkeys(("truth_pixels", "predicted_pixels", "overlap_pixels"), 1)
                        | {"group": group, "dice": value}
                        for group, value in zip(
                            names, dice_of(noise(random, groups, 1)[:, 0]), strict=True
                        )
                    ]
                    scored = segmentation_metrics(lungs, arguments.resamples, repetition)
                    held["dice"] += holds(scored["dice"], dice_truth)
                n = arguments.repetitions
                truths = " / ".join(f"{truth[name][0]:.3f}" for name in MEASURES)
                cells = [images, "yes" if grouped else "no", truths]
                cells += [" / ".join(f"{part / n:.1%}" for part in of) for of in held.values()]
                cells.append(" / ".join(f"{even[name] / n:.1%}" for name in MEASURES))
                rows.append(cells)
                print(*cells, sep=" | ", flush=True)
    header = ["images", "groups", "true accuracy / F1 / AUC", "accuracy", "macro F1", "macro AUC"]
    header += ["mean Dice", "difference of accuracy / F1 / AUC"]
    print(f"\nTrue mean Dice: {dice_truth:.4f}. Ours / percentiles:\n")
    print(markdown_table(header, rows))


if __name__ == "__main__":
    main()
