"""The images of the runs: counts by class, and how they are split."""

import json
from collections.abc import Sequence
from typing import Any

from kerascxr.evaluation.leaks import search_text
from kerascxr.names import counted
from kerascxr.report import reference
from kerascxr.report.blocks import Block, Figure, Section, Tabulated
from kerascxr.runs.inflated_scores import ignores_groups
from kerascxr.runs.reading import Run
from kerascxr.tables import Table


def describe_data(run: Run) -> str:
    """Says in a few words what a run's images are, and whether they are the study's."""
    if ignores_groups(run):
        return f"{_images_of(run)}, groups ignored: test images leak into training"
    return _images_of(run)


def _images_of(run: Run) -> str:
    fingerprint = run.environment["data_fingerprint"]
    n = fingerprint["images"]
    if run.drawn:
        return f"{n:,} drawn images"
    if set(fingerprint["classes"]) == set(reference.CLASSES):
        whole = n == reference.N_IMAGES
        return f"{n:,} images" if whole else f"subset: {n:,} of {reference.N_IMAGES:,} images"
    return f"other data: {n:,} images"


def data_sections(runs: Sequence[Run]) -> list[Section]:
    """Returns a section for each set of images, with one row or sentence for each of its splits.

    Args:
        runs: Finished runs.
    """
    sets: dict[str, list[Run]] = {}
    for run in runs:
        sets.setdefault(run.environment["data_fingerprint"]["digest"], []).append(run)
    return [_section(of, number) for number, of in enumerate(sets.values(), 1)]


def _section(runs: Sequence[Run], number: int) -> Section:
    fingerprint = runs[0].environment["data_fingerprint"]
    rows = [
        [
            name,
            item["images"],
            item["groups"],
            "×".join(str(item[side][1]) for side in ("height", "width")),
            f"{item['mean_grey']:.0f} ± {item['deviation_grey']:.0f}",
            item["exact_duplicates"],
            item["near_duplicates"],
            sum(count for state, count in item["masks"].items() if state != "none"),
        ]
        for name, item in fingerprint["classes"].items()
    ]
    header = ["class", "images", "groups", "median size", "grey"]
    header += ["exact duplicates", "near-duplicates", "masks"]
    splits: dict[str, list[Run]] = {}
    for run in runs:
        key = [run.metrics["data"]["images"], run.config.get("split")]
        splits.setdefault(json.dumps(key, default=str), []).append(run)
    distinct = [*splits.values()]
    note = (
        f"Rejected: {counted(fingerprint['rejected'], 'file')}. "
        f"Fingerprint {fingerprint['digest'][:12]}."
    )
    search = fingerprint.get("near_duplicate_search")
    if search is not None:
        note = f"Near-duplicates were found {search_text(search)}. {note}"
    if len(distinct) == 1:
        counts = runs[0].metrics["data"]["images"].items()
        split = ", ".join(f"{count:,} {name}" for name, count in counts)
        note = f"Split: {split}; {_groups(runs[0])}. {note}"
    blocks: list[Block] = [
        Tabulated(Table("Images by class", header, rows), f"data-{number}", note)
    ]
    if len(distinct) > 1:
        treatments = {_groups_in_short(of[0]): _groups(of[0]) for of in distinct}
        note = " ".join(f"Groups {short}: {text}." for short, text in treatments.items())
        blocks.append(Tabulated(_split_table(distinct), f"data-{number}-splits", note))
    samples = runs[0].figure("data_samples")
    if samples:
        names = ", ".join(fingerprint["classes"])
        blocks.append(
            Figure(
                samples,
                f"data-{number}-samples",
                f"Sample training images, a row for each class: {names}.",
                "Training images as the model gets them, before augmentation.",
                wide=True,
                xray=True,
            )
        )
    return Section(f"Data: {runs[0].source}", blocks)


def _split_table(splits: Sequence[Sequence[Run]]) -> Table:
    names = list(dict.fromkeys(name for of in splits for name in of[0].metrics["data"]["images"]))
    rows: list[list[Any]] = [
        [
            f"split {number}",
            *(of[0].metrics["data"]["images"].get(name) for name in names),
            _groups_in_short(of[0]),
            "; ".join(run.name for run in of),
        ]
        for number, of in enumerate(splits, 1)
    ]
    return Table("Splits", ["split", *names, "groups", "runs"], rows)


def _groups_in_short(run: Run) -> str:
    """Returns the value of a table's cell that ``_groups`` explains."""
    if ignores_groups(run):
        return "ignored"
    cut = run.environment["data_fingerprint"].get("groups_cut_by_split", 0)
    return f"divided: {cut:,}" if cut else "together"


def _groups(run: Run) -> str:
    """Returns how the split treats groups: near-duplicates, or one patient's images."""
    if ignores_groups(run):
        return "groups are ignored, so test images leak into training"
    cut = run.environment["data_fingerprint"].get("groups_cut_by_split", 0)
    if cut:
        return (
            f"the source's own split, which divides {counted(cut, 'group')} (near-duplicates, or "
            "one patient's images), so test images may leak into training"
        )
    return (
        "images of one group (near-duplicates, or one patient where the source says so) are on "
        "one side"
    )
