"""The leakage audit as a page, with its pairs side by side."""

import csv
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from kerascxr.audits.leakage import Audit, read_pixels
from kerascxr.evaluation.leaks import search_text
from kerascxr.names import counted
from kerascxr.report.blocks import Block, Figure, Section, Tabulated
from kerascxr.report.html import html_page
from kerascxr.report.pictures import packed
from kerascxr.runs.atomic import replace_folder, write_json
from kerascxr.tables import Table

KIND = "data audit"
_THUMBNAIL = 160
_MOST_PAIRS = 60
_MOST_ORIGINS = 15
_GAP = 6
_COLUMNS = (
    *("kind", "similarity", "across_classes", "across_split"),
    *("first", "first_class", "first_fold", "first_split"),
    *("second", "second_class", "second_fold", "second_split"),
)


def write_audit(audit: Audit, to: Path) -> Path:
    """Writes index.html, audit.json and pairs.csv.

    Args:
        audit: What was found.
        to: The folder to write; an audit that is there is replaced.

    Returns:
        The page, which needs no other file.

    Raises:
        ValueError: If ``to`` holds something else.
    """

    def fill(folder: Path) -> None:
        with tempfile.TemporaryDirectory() as drawn:
            pictures = _pictures(audit, Path(drawn))
            parts = packed(audit_sections(audit.summary, audit.pairs, pictures), Path(drawn))
            title = f"Leakage audit: {audit.summary['source']}"
            page = html_page(parts, title, "from the images")
        (folder / "index.html").write_text(page, encoding="utf-8")
        write_json(folder / "audit.json", audit.summary)
        with (folder / "pairs.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, _COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(audit.pairs)

    replace_folder(to, fill, KIND)
    return to / "index.html"


def audit_sections(
    summary: dict[str, Any], pairs: Sequence[dict[str, Any]], pictures: list[Figure]
) -> list[Section]:
    """Lays out the page.

    Args:
        summary: The findings.
        pairs: All pairs.
        pictures: Some of them, drawn.

    Returns:
        The sections, in order.
    """
    found: list[Block] = [*headlines(summary)]
    parts = [Section("In short", found), _duplicates(summary)]
    if pictures:
        shown = f"{len(pictures)} of {len(pairs)} pairs" if len(pictures) < len(pairs) else "All"
        note = (
            f"{shown}: first those across classes, then those across the split, then the least "
            "similar, which are the doubtful ones. pairs.csv lists all."
        )
        parts.append(Section("Pairs", [note, *pictures]))
    parts += [_properties(summary), _shortcuts(summary), _origins(summary)]
    return [part for part in parts if part.blocks]


def headlines(summary: dict[str, Any]) -> list[str]:
    """Summarises the findings in a few sentences."""
    counts, leaks = summary["pairs"], summary["splits"]
    both = {key: sum(counts[kind][key] for kind in counts) for key in counts["near"]}
    exact, near = (counted(counts[kind]["pairs"], "pair") for kind in ("exact", "near"))
    lines = [
        f"{summary['images']:,} images: {exact} of identical pixels, {near} of near-duplicates; of "
        f"all of them, {both['across_classes']:,} across two classes.",
        f"In {leaks['own']}, {leaks['leaked_test_images']:,} of {leaks['test_images']:,} test "
        f"images have a near-duplicate in training. In a random split that ignores groups: "
        f"{_random(leaks, 'leaked')}.",
    ]
    if _has_groups(leaks):
        lines.append(
            f"In {leaks['own']}, {leaks['grouped_test_images']:,} of {leaks['test_images']:,} test "
            "images share a group (a patient's images, or near-duplicates) with a training image. "
            f"In a random split that ignores groups: {_random(leaks, 'grouped')}."
        )
    if summary["class_from"]:
        whole = summary["class_from"][-1]
        best = max(summary["class_from"][:-1], key=lambda row: row["accuracy"])
        lines.append(
            f"Class from {best['from']} alone: accuracy {best['accuracy']:.2f}; from sizes, grey "
            f"levels, frames and markers together {whole['accuracy']:.2f} (chance "
            f"{whole['chance_accuracy']:.2f}). Compare a model's accuracy with these."
        )
    for label, origin in summary["origins"]["own"].items():
        lines.append(
            f"All images of {label} come from {origin}, and no other class has any from there: "
            f"a model that recognises the origin predicts {label}."
        )
    return lines


def _duplicates(summary: dict[str, Any]) -> Section:
    header = ["pairs", "number", "images in them", "across classes", "across the split"]
    rows = [[kind, *counts.values()] for kind, counts in summary["pairs"].items()]
    note = (
        "Near: after registration (shift and stretch), the fine structure of the two images "
        f"correlates above {summary['same_above']}. Mirrored or rotated copies are not found; two "
        "similar films of one patient may be. Where two classes hold an identical image, ingest "
        "rejects it, and it has no fold."
    )
    if summary["near_duplicate_search"] is not None:
        note += f" They were found {search_text(summary['near_duplicate_search'])}."
    leaks = summary["splits"]
    kinds = {"leaked": "near-duplicate in training"}
    if _has_groups(leaks):
        kinds["grouped"] = "same group in training"
    split_rows = [
        [
            leaks["own"],
            leaks["test_images"],
            *(str(leaks[f"{kind}_test_images"]) for kind in kinds),
        ],
        ["random, groups ignored", leaks["test_images"], *(_random(leaks, kind) for kind in kinds)],
    ]
    split_note = (
        f"Random: mean ± deviation over {leaks['random_splits']} stratified splits of that size."
    )
    split_header = ["split", "test images", *kinds.values()]
    blocks: list[Block] = [
        Tabulated(Table("Duplicates", header, rows), "duplicates", note),
        Tabulated(Table("Leaks through the split", split_header, split_rows), "leaks", split_note),
    ]
    return Section("Duplicates", blocks)


def _random(leaks: dict[str, Any], kind: str) -> str:
    mean, deviation = (leaks[f"random_{kind}_test_images{end}"] for end in ("", "_std"))
    return f"{mean:.1f} ± {deviation:.1f}"


def _has_groups(leaks: dict[str, Any]) -> bool:
    """Returns whether groups hold more than near-duplicates."""
    return leaks["random_grouped_test_images"] > leaks["random_leaked_test_images"]


def _properties(summary: dict[str, Any]) -> Section:
    header = ["class", "images", "most frequent size", "median kB", "grey", "black", "white"]
    header += ["black frame", "white frame", "corner marker"]
    rows = [
        [
            name,
            item["images"],
            f"{'×'.join(map(str, item['commonest_size']))} ({item['commonest_size_share']:.0%})",
            f"{item['median_bytes'] / 1000:.1f}",
            f"{item['mean_grey']:.0f} ± {item['deviation_grey']:.0f}",
            *(f"{item[f'share_{tone}']:.1%}" for tone in ("black", "white")),
            *(
                f"{item[f'{tone}_frame']['images']:.0%} ({item[f'{tone}_frame']['mean_width']:.1%})"
                for tone in ("black", "white")
            ),
            f"{item['corner_marker']:.0%}",
        ]
        for name, item in summary["properties"].items()
    ]
    note = (
        "Black: grey up to 10; white: from 245. Frames: share of images with one of at least 1% "
        "of the side on some side (mean width of the widest, all images); a line belongs to it "
        "if 95% of it is black, or white. Corner marker: share of images with a bright, "
        "letter-sized patch of thin strokes in a corner; faint letters are missed, clips and wires "
        "can count."
    )
    table = Table("Properties by class", header, rows)
    return Section("Properties by class", [Tabulated(table, "properties", note)])


def _shortcuts(summary: dict[str, Any]) -> Section:
    header = ["class from", "accuracy", "chance", "balanced accuracy", "chance", "AUC", "chance"]
    rows = [[*row.values(), 0.5] for row in summary["class_from"]]
    note = (
        "A decision tree of four levels, cross-validated in five parts with groups kept whole. "
        "All of these properties can be computed without looking at the lungs."
    )
    table = Table("How well simple properties predict the class", header, rows)
    return Section(
        "Class from properties alone", [Tabulated(table, "shortcuts", note)] if rows else []
    )


def _origins(summary: dict[str, Any]) -> Section:
    counts = summary["origins"]["counts"]
    if set(counts) == {""}:
        return Section("Origins", ["The source does not name the origins of its images."])
    names = summary["classes"]
    rows = [
        [origin or "unknown", *(counts[origin].get(name, 0) for name in names)]
        for origin in list(counts)[:_MOST_ORIGINS]
    ]
    rest = list(counts)[_MOST_ORIGINS:]
    if rest:
        sums = [sum(counts[origin].get(name, 0) for origin in rest) for name in names]
        rows.append([f"{len(rest):,} others", *sums])
    table = Table("Images by origin and class", ["origin", *names], rows)
    return Section("Origins", [Tabulated(table, "origins")])


def _pictures(audit: Audit, folder: Path) -> list[Figure]:
    figures = []
    for number, row in enumerate(audit.pairs[:_MOST_PAIRS], 1):
        path = folder / f"{number}.png"
        shown = [_small(read_pixels(audit.examples[row[end]])) for end in ("first", "second")]
        gap = np.full((_THUMBNAIL, _GAP), 255, np.uint8)
        Image.fromarray(np.concatenate([shown[0], gap, shown[1]], axis=1)).save(path)
        ends = [
            f"{row[end]} ({row[f'{end}_class']}, {_place(row, end)})" for end in ("first", "second")
        ]
        kind = "Same pixels" if row["kind"] == "exact" else f"Similarity {row['similarity']:.3f}"
        across = [
            words
            for key, words in (
                ("across_classes", "two classes"),
                ("across_split", "across the split"),
            )
            if row[key]
        ]
        caption = f"{', '.join([kind, *across])}: {' | '.join(ends)}."
        figures.append(Figure(path, f"pair-{number}", caption, caption, small=True, xray=True))
    return figures


def _place(row: dict[str, Any], end: str) -> str:
    fold = row[f"{end}_fold"]
    return "rejected" if fold == "" else f"fold {fold}, {row[f'{end}_split']}"


def _small(pixels: np.ndarray) -> np.ndarray:
    """Fits an image into a black square of 160x160 pixels."""
    image = Image.fromarray(pixels)
    scale = _THUMBNAIL / max(image.size)
    size = [max(1, round(side * scale)) for side in image.size]
    square = Image.new("L", (_THUMBNAIL, _THUMBNAIL))
    place = [(_THUMBNAIL - side) // 2 for side in size]
    square.paste(image.resize((size[0], size[1]), Image.Resampling.BOX), (place[0], place[1]))
    return np.asarray(square)
