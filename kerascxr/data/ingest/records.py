"""What a set of images is: its groups, its conflicts, and a fingerprint with its table."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components


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
                reasons[item.id] = f"the same image is in {' and '.join(classes)} ({others})"
    return reasons


def fingerprint(
    checked: Sequence[ImageRecord], groups: Sequence[str], alike: np.ndarray, rejected: int
) -> dict[str, Any]:
    """Summarises a set.

    Args:
        checked: The images kept.
        groups: Their joint groups.
        alike: Numbers that copies of each other share.
        rejected: How many files were rejected.

    Returns:
        JSON-ready counts, sizes, intensities and duplicates in all and by class, and ``digest``: a
        SHA-256 over ids, labels, pixels, masks and groups, on which the folds hang; it is the same
        wherever the set lies.
    """
    whole = hashlib.sha256()
    for item, group in sorted(zip(checked, groups, strict=True), key=lambda pair: pair[0].id):
        known = (item.id, item.label, item.digest, item.mask_digest, group)
        whole.update(("\t".join(known) + "\n").encode())
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
        "classes": by_class,
    }


def format_fingerprint(summary: dict[str, Any]) -> str:
    """Returns a fingerprint as a short plain-text table, a row a class."""
    header = (
        "class",
        "images",
        "groups",
        "median size",
        "grey",
        "exact dup.",
        "near dup.",
        "masks",
    )
    rows = [header]
    for name, item in summary["classes"].items():
        masks = item["masks"]
        with_mask = sum(count for state, count in masks.items() if state != "none")
        odd = with_mask - masks.get("ok", 0)
        rows.append(
            (
                name,
                f"{item['images']:,}",
                f"{item['groups']:,}",
                f"{item['height'][1]}x{item['width'][1]}",
                f"{item['mean_grey']:.0f} ± {item['deviation_grey']:.0f}",
                str(item["exact_duplicates"]),
                str(item["near_duplicates"]),
                str(with_mask) + (f" ({odd} odd)" if odd else ""),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    lines.append(f"{summary['images']:,} images, fingerprint {summary['digest'][:12]}")
    return "\n".join(lines)
