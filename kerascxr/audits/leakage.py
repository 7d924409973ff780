"""The leakage audit of a data set: duplicates, leaks through the split, simple shortcuts."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kerascxr.audits.property_baseline import class_from_properties
from kerascxr.config import SplitConfig
from kerascxr.data.files import read_grey
from kerascxr.data.ingest.duplicates import SAME
from kerascxr.data.ingest.folds import split_folds
from kerascxr.data.ingest.properties import KINDS
from kerascxr.data.ingest.reading import UNLABELLED
from kerascxr.data.ingest.store import Store
from kerascxr.data.sources.examples import Example, Source
from kerascxr.evaluation.leaks import leaked_images

_RANDOM_SPLITS = 20
_LEAST_FRAME = 0.01


@dataclass(frozen=True)
class Audit:
    """The findings of the audit.

    Attributes:
        summary: Everything but the pairs, ready for JSON; see ``audit``.
        pairs: One row per pair: those across classes, then those across the split, the most
            similar first; then the others, the least similar first.
        examples: All images that could be read, by id.
    """

    summary: dict[str, Any]
    pairs: list[dict[str, Any]]
    examples: dict[str, Example]


def audit(source: Source, store: Store) -> Audit:
    """Finds duplicates, counts leaks through the split, and measures simple shortcuts.

    Images that ingest rejected because two classes hold them are included.

    Args:
        source: The images.
        store: The same source, ingested.

    Returns:
        The findings. ``summary`` has ``pairs`` (counts), ``splits`` (leaks by split), ``classes``
        (properties by class), ``class_from`` (how well properties alone predict the class) and
        ``origins``.
    """
    examples = [example for example in source.examples if example.id in store.properties]
    measured = [store.properties[example.id] for example in examples]
    place = {example.id: index for index, example in enumerate(examples)}
    stored = {row["id"]: row for row in store.rows}
    labels = [example.label or UNLABELLED for example in examples]
    rows = [stored.get(example.id) for example in examples]
    folds = np.array([int(row["fold"]) if row else -1 for row in rows])
    split_of = {fold: name for name, f in split_folds(SplitConfig()).items() for fold in f}
    splits = [split_of.get(fold, "") for fold in folds.tolist()]
    groups = [row["group"] if row else "" for row in rows]
    pairs = []
    for found in store.duplicates:
        row: dict[str, Any] = {
            "kind": "exact" if found["exact"] == "1" else "near",
            "similarity": float(found["similarity"]),
        }
        ends = [place[found[end]] for end in ("first", "second")]
        for end, index in zip(("first", "second"), ends, strict=True):
            fold = "" if folds[index] < 0 else int(folds[index])
            row |= {end: examples[index].id, f"{end}_class": labels[index]}
            row |= {f"{end}_fold": fold, f"{end}_split": splits[index]}
        row["across_classes"] = labels[ends[0]] != labels[ends[1]]
        row["across_split"] = len({splits[index] for index in ends} - {""}) > 1
        pairs.append(row)
    ends_of = np.array([[place[row[end]] for end in ("first", "second")] for row in pairs], int)
    pairs.sort(key=_worst_first)
    known = np.flatnonzero(folds >= 0)
    summary = {
        "source": source.name,
        "fingerprint": store.fingerprint["digest"],
        "images": len(examples),
        "classes": list(dict.fromkeys(labels)),
        "fixed_split": store.fixed_split,
        "same_above": SAME,
        "near_duplicate_search": store.fingerprint.get("near_duplicate_search"),
        "pairs": _count(pairs),
        "splits": _leaks(
            ends_of.reshape(-1, 2),
            groups,
            labels,
            splits,
            store.fixed_split,
        ),
        "properties": _by_class(measured, labels),
        "class_from": class_from_properties(
            {name: [measured[index][name] for index in known] for name in measured[0]},
            [labels[index] for index in known],
            folds[known],
            [groups[index] for index in known],
        ),
        "origins": origin_table([example.origin for example in examples], labels),
    }
    return Audit(summary, pairs, {example.id: example for example in examples})


def read_pixels(example: Example) -> np.ndarray:
    """Returns an image, read or drawn, as uint8 (height, width).

    Raises:
        ImageFileError: If its file cannot be used.
    """
    if isinstance(example.image, Path):
        return read_grey(example.image)
    return example.image.draw()[0]


def _worst_first(row: dict[str, Any]) -> tuple:
    """Leaks first, the most similar first; then the least similar pairs, the doubtful ones."""
    leaks = row["across_classes"] or row["across_split"]
    alike = -row["similarity"] if leaks else row["similarity"]
    return not row["across_classes"], not row["across_split"], alike, row["first"]


def _count(pairs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    counts: dict[str, Any] = {}
    for kind in ("exact", "near"):
        of_kind = [row for row in pairs if row["kind"] == kind]
        counts[kind] = {
            "pairs": len(of_kind),
            "images": len({row[end] for row in of_kind for end in ("first", "second")}),
            "across_classes": sum(row["across_classes"] for row in of_kind),
            "across_split": sum(row["across_split"] for row in of_kind),
        }
    return counts


def _leaks(
    pairs: np.ndarray,
    groups: Sequence[str],
    labels: Sequence[str],
    splits: Sequence[str],
    fixed: bool,
) -> dict[str, Any]:
    """Counts leaked test images: in the given split, and in random splits that ignore groups.

    They are counted by near-duplicates alone, and by groups, which hold near-duplicates and what
    the source says belongs together: images of one patient.
    """
    known = np.array(splits) != ""
    ends = pairs[known[pairs].all(axis=1)]
    places = np.flatnonzero(known)
    names = np.array(groups)[places]

    def count(split: np.ndarray) -> tuple[int, int]:
        test, train = (names[split[places] == part] for part in ("test", "train"))
        return leaked_test_images(ends, split), int(leaked_images(test, train).sum())

    own, own_grouped = count(np.array(splits))
    generator = np.random.default_rng(0)
    random_leaks = []
    for _ in range(_RANDOM_SPLITS):
        shuffled = np.array(splits)
        for name in sorted(set(labels)):
            members = np.array([label == name for label in labels]) & known
            shuffled[members] = generator.permutation(shuffled[members])
        random_leaks.append(count(shuffled))
    mean, mean_grouped = np.mean(random_leaks, axis=0).tolist()
    deviation, deviation_grouped = np.std(random_leaks, axis=0).tolist()
    return {
        "own": "the source's own split" if fixed else "the default split",
        "test_images": splits.count("test"),
        "leaked_test_images": own,
        "random_leaked_test_images": mean,
        "random_leaked_test_images_std": deviation,
        "grouped_test_images": own_grouped,
        "random_grouped_test_images": mean_grouped,
        "random_grouped_test_images_std": deviation_grouped,
        "random_splits": _RANDOM_SPLITS,
    }


def leaked_test_images(pairs: np.ndarray, splits: np.ndarray) -> int:
    """Counts the test images that form a pair with a training image.

    Args:
        pairs: int64 (m, 2), indices.
        splits: str (n,).
    """
    either_way = np.concatenate([pairs, pairs[:, ::-1]])
    leaking = (splits[either_way[:, 0]] == "test") & (splits[either_way[:, 1]] == "train")
    return len(np.unique(either_way[leaking, 0]))


def _by_class(
    measured: Sequence[dict[str, float]], labels: Sequence[str]
) -> dict[str, dict[str, Any]]:
    summary = {}
    for name in dict.fromkeys(labels):
        rows = [row for row, label in zip(measured, labels, strict=True) if label == name]
        values = {key: np.array([row[key] for row in rows]) for key in rows[0]}
        frames = {
            tone: np.max([values[key] for key in KINDS["frames"] if key.startswith(tone)], axis=0)
            for tone in ("black", "white")
        }
        marked = np.max([values[key] for key in KINDS["corner markers"]], axis=0)
        common = Counter(zip(values["height"], values["width"], strict=True)).most_common(1)[0]
        summary[name] = {
            "images": len(rows),
            "commonest_size": [int(side) for side in common[0]],
            "commonest_size_share": common[1] / len(rows),
            "median_bytes": float(np.median(values["bytes"])),
            "mean_grey": float(values["mean"].mean()),
            "deviation_grey": float(values["deviation"].mean()),
            "share_black": float(values["share_black"].mean()),
            "share_white": float(values["share_white"].mean()),
            **{
                f"{tone}_frame": {
                    "images": float((width >= _LEAST_FRAME).mean()),
                    "mean_width": float(width.mean()),
                }
                for tone, width in frames.items()
            },
            "corner_marker": float(marked.mean()),
        }
    return summary


def origin_table(origins: Sequence[str | None], labels: Sequence[str]) -> dict[str, Any]:
    """Counts the images of each origin by class.

    Args:
        origins: Each image's origin, None if the source does not give it.
        labels: Each image's class.

    Returns:
        ``counts``: {origin: {class: images}}, the largest first, "" for unknown origins;
        ``own``: {class: origin} for classes that have one origin, which no other class has.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    of_class: dict[str, set[str]] = defaultdict(set)
    for origin, label in zip(origins, labels, strict=True):
        counts[origin or ""][label] += 1
        of_class[label].add(origin or "")
    ordered = sorted(counts, key=lambda origin: (-counts[origin].total(), origin))
    own = {}
    for label, its in of_class.items():
        (origin, *others) = its
        if not others and origin and len(counts[origin]) == 1 and len(of_class) > 1:
            own[label] = origin
    return {"counts": {origin: dict(counts[origin]) for origin in ordered}, "own": own}
