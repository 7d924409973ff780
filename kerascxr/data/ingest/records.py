"""What a set of images is: its groups, its conflicts, and a fingerprint with its table."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from kerascxr.evaluation.leaks import EXACT, search_text
from kerascxr.names import listed
from kerascxr.tables import text_table


@dataclass(frozen=True)
class ImageRecord:
    """What ingest learns of one image.

    Attributes:
        id: The image's id.
        label: Its class, "" where the source has none.
        group: The group that the source gives, or "".
        origin: Where the source says that it comes from, or "".
        split: The split that the source fixes, or "".
        path: File, for messages.
        size: Height and width in pixels.
        digest: SHA-256 of the 8-bit grey pixels and their size.
        mean: Mean grey value, 0..255.
        deviation: Standard deviation of the grey values.
        mask_state: "none", "ok", "empty", "full" (all ones) or "aspect" (another shape).
        mask_digest: SHA-256 of the mask, or "".
        mask_fraction: Share of the image inside the mask; NaN without one.
        spacing: Distance of the rows and of the columns in mm; None where it is not known.
    """

    id: str
    label: str
    group: str
    origin: str
    split: str
    path: str
    size: tuple[int, int]
    digest: str
    mean: float
    deviation: float
    mask_state: str
    mask_digest: str
    mask_fraction: float
    spacing: tuple[float, float] | None = None


def digest(pixels: np.ndarray) -> str:
    """Returns the SHA-256 of an image's size and pixels (uint8, (height, width))."""
    return hashlib.sha256(str(pixels.shape).encode() + pixels.tobytes()).hexdigest()


def mask_state(mask: np.ndarray | None, image_size: tuple[int, int]) -> str:
    """Says whether a mask fits its image.

    Args:
        mask: uint8 (height, width), 0 or 255, or None.
        image_size: The image's height and width.

    Returns:
        "none", "ok", "empty", "full", or "aspect" if the ratio of the sides differs by over 2 %.
    """
    if mask is None:
        return "none"
    ratio = (mask.shape[0] / mask.shape[1]) / (image_size[0] / image_size[1])
    if not 1 / 1.02 <= ratio <= 1.02:
        return "aspect"
    if not mask.any():
        return "empty"
    return "full" if mask.all() else "ok"


def joint_groups(checked: Sequence[ImageRecord], alike: np.ndarray) -> list[str]:
    """Joins copies and the source's own groups into one grouping.

    Args:
        checked: The images.
        alike: Numbers that copies of each other share, from ``duplicates.duplicate_clusters``.

    Returns:
        For each image the smallest id of its group, in the order given.
    """
    n = len(checked)
    edges: list[tuple[int, int]] = []
    for keys in (alike.tolist(), [item.group or None for item in checked]):
        first: dict[Any, int] = {}
        for index, key in enumerate(keys):
            if key is not None:
                edges.append((first.setdefault(key, index), index))
    i, j = np.array(edges).T
    joined = connected_components(coo_matrix((np.ones(len(i)), (i, j)), (n, n)), directed=False)[1]
    names: dict[int, str] = {}
    for item, number in zip(checked, joined.tolist(), strict=True):
        names[number] = min(names.get(number, item.id), item.id)
    return [names[number] for number in joined.tolist()]


def conflicting(checked: Sequence[ImageRecord]) -> dict[str, str]:
    """Finds images that two classes hold pixel for pixel: their class cannot be known.

    Args:
        checked: The images.

    Returns:
        {id: reason} for every copy in every class.
    """
    by_digest: dict[str, list[ImageRecord]] = defaultdict(list)
    for item in checked:
        by_digest[item.digest].append(item)
    reasons = {}
    for items in by_digest.values():
        classes = sorted({item.label for item in items})
        if len(classes) > 1:
            others = ", ".join(item.id for item in items[:5])
            for item in items:
                reasons[item.id] = f"the same image is in {listed(classes)} ({others})"
    return reasons


def groups_cut_by_split(groups: Sequence[str], splits: Sequence[str]) -> list[str]:
    """Returns the groups that have images in more than one of the source's own splits.

    Args:
        groups: Each image's group.
        splits: Each image's split, "" where the source fixes none.

    Returns:
        The groups' names, sorted.
    """
    splits_of: dict[str, set[str]] = defaultdict(set)
    for group, split in zip(groups, splits, strict=True):
        splits_of[group].add(split)
    return sorted(group for group, its_splits in splits_of.items() if len(its_splits) > 1)


def fingerprint(
    checked: Sequence[ImageRecord],
    groups: Sequence[str],
    folds: Sequence[int] | np.ndarray,
    alike: np.ndarray,
    rejected: int,
    search: Mapping[str, Any],
) -> dict[str, Any]:
    """Summarises a set.

    Args:
        checked: The images kept.
        groups: Their joint groups.
        folds: Their folds, 0..19.
        alike: Numbers that copies of each other share.
        rejected: How many files were rejected.
        search: How near-duplicates were found, from ``candidates.search_of``.

    Returns:
        JSON-ready counts, sizes, intensities and duplicates in all and by class;
        ``groups_cut_by_split``, see there; ``near_duplicate_search``; and ``digest``: a SHA-256
        over ids, labels, pixels, masks, groups, fixed splits, folds and spacings. It does not
        depend on where the set is stored.
    """
    whole = hashlib.sha256()
    everything = zip(checked, groups, folds, strict=True)
    for item, group, fold in sorted(everything, key=lambda row: row[0].id):
        known = [item.id, item.label, item.digest, item.mask_digest, group, item.split, int(fold)]
        known += [] if item.spacing is None else [*item.spacing]
        whole.update((json.dumps(known) + "\n").encode())
    copies = Counter(item.digest for item in checked)
    near = Counter(alike.tolist())
    by_class = {}
    for name in dict.fromkeys(item.label for item in checked):
        members = [index for index, item in enumerate(checked) if item.label == name]
        of_class = [checked[index] for index in members]
        heights, widths = np.array([item.size for item in of_class]).T
        by_class[name] = {
            "images": len(members),
            "groups": len({groups[index] for index in members}),
            "height": [int(heights.min()), int(np.median(heights)), int(heights.max())],
            "width": [int(widths.min()), int(np.median(widths)), int(widths.max())],
            "mean_grey": float(np.mean([item.mean for item in of_class])),
            "deviation_grey": float(np.mean([item.deviation for item in of_class])),
            "exact_duplicates": sum(copies[item.digest] > 1 for item in of_class),
            "near_duplicates": sum(near[alike[index]] > 1 for index in members),
            "masks": dict(Counter(item.mask_state for item in of_class)),
            "origins": len({item.origin for item in of_class if item.origin}),
        }
    return {
        "digest": whole.hexdigest(),
        "images": len(checked),
        "rejected": rejected,
        "groups_cut_by_split": len(groups_cut_by_split(groups, [item.split for item in checked])),
        "near_duplicate_search": dict(search),
        "classes": by_class,
    }


def format_fingerprint(summary: dict[str, Any]) -> str:
    """Returns a fingerprint as a short plain-text table, one row for each class."""
    header = ["class", "images", "groups", "median size", "grey"]
    header += ["exact dup.", "near dup.", "masks"]
    rows = []
    for name, item in summary["classes"].items():
        with_mask = sum(count for state, count in item["masks"].items() if state != "none")
        unusable = with_mask - item["masks"].get("ok", 0)
        rows.append(
            [
                name,
                item["images"],
                item["groups"],
                f"{item['height'][1]}x{item['width'][1]}",
                f"{item['mean_grey']:.0f} ± {item['deviation_grey']:.0f}",
                item["exact_duplicates"],
                item["near_duplicates"],
                f"{with_mask:,}" + (f" ({unusable} unusable)" if unusable else ""),
            ]
        )
    last = f"{summary['images']:,} images, fingerprint {summary['digest'][:12]}"
    search = summary.get("near_duplicate_search")  # unknown of older stores
    if search is not None and search["search"] != EXACT:
        last += f", near-duplicates found {search_text(search)}"
    return f"{text_table(header, rows)}\n{last}"
