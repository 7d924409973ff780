"""The shortcut battery's tables, and what they say in words."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from kerascxr.report.blocks import Block, Figure, Tabulated
from kerascxr.report.origins import source_blocks, source_text
from kerascxr.runs.reading import Run
from kerascxr.tables import Table, markdown_table, text_table, with_interval

RESULT = "audit/audit.json"
FULL = "none"
HISTOGRAM = "histogram"
ATTENTION = "attention"
SOURCES = "sources"

# Of what the full image's AUC has over chance.
MUCH, SOME = 0.5, 0.15


class Part(NamedTuple):
    """What of an image the battery shows.

    Attributes:
        title: Its name for people.
        has_lungs: Whether the lungs' texture is in it. If not, it should tell (nearly) nothing.
        without: What a model that scores on it does without.
    """

    title: str
    has_lungs: bool
    without: str = ""


# The keys are those of ``data.roi.ROIS``, but for the histogram.
INPUT_ABLATIONS = {
    FULL: Part("full image", True),
    "lungs_only": Part("lungs only", True),
    "without_corners": Part("corners removed", True),
    "without_lungs": Part("lungs hidden", False, "seeing the lungs"),
    "border_only": Part("border only", False, "seeing the lungs"),
    "thumbnail": Part("8x8 thumbnail", False, "seeing any detail"),
    HISTOGRAM: Part("grey histogram only", False, "seeing where anything is"),
    "lung_outline": Part("lung outline only", False, "seeing what is in the lungs"),
}


def read_shortcuts(run: Path) -> dict[str, Any] | None:
    """Returns a run's audit.json; None where it has none."""
    path = run / RESULT
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def parts_table(result: Mapping[str, Any]) -> Table:
    """Lays out what each part scores, with intervals and the difference to the full image."""
    rows: list[list[Any]] = []
    for name, scores in result["parts"].items():
        cells = [
            with_interval(scores[measure]["value"], scores[measure]["interval"])
            for measure in ("accuracy", "auc")
        ]
        gap = scores["auc"]["difference"]
        change = "" if name == FULL or gap is None else f"{gap:+.3f}"
        ends = scores["auc"]["difference_interval"]
        if change and ends:
            change += f" [{ends[0]:+.3f}, {ends[1]:+.3f}]"
        rows.append([INPUT_ABLATIONS[name].title, *cells, change, meaning(result, name)])
    header = ["seen", "accuracy", "macro AUC", "AUC, difference", "what it means"]
    return Table("Shortcut battery", header, rows)


def meaning(result: Mapping[str, Any], name: str) -> str:
    """Says in a sentence what a part's score means."""
    part, auc = INPUT_ABLATIONS[name], result["parts"][name]["auc"]
    full = result["parts"][FULL]["auc"]["value"]
    if name == FULL:
        return "what the parts are measured against"
    if not part.has_lungs:
        low = auc["interval"][0] if auc["interval"] else auc["value"]
        share = (auc["value"] - 0.5) / max(full - 0.5, 1e-9)
        if low <= 0.5 or share < SOME:
            return "tells nothing, or next to it: no shortcut here"
        amount = "much" if share >= MUCH else "some"
        return f"{amount} of the score ({share:.0%} of it over chance) without {part.without}"
    ends = auc["difference_interval"]
    if ends is None or ends[0] <= 0 <= ends[1]:
        kept = "the lungs alone" if name == "lungs_only" else "what is left"
        return f"no difference shown: {kept} will do"
    verb = "lost without" if auc["difference"] < 0 else "gained without"
    lost = "what is not lung" if name == "lungs_only" else "the corners"
    return f"{abs(auc['difference']):.3f} of AUC {verb} {lost}"


def verdict(result: Mapping[str, Any]) -> str:
    """Says in a sentence whether the data let a model score without the disease."""
    caught = [name for name in result["parts"] if meaning(result, name).startswith("much")]
    if not caught:
        return (
            "No part without the lungs tells much of the class: no large shortcut was found. "
            "What was not looked for may still be there."
        )
    names = ", ".join(INPUT_ABLATIONS[name].title for name in caught)
    return (
        f"Much of the score can be had from: {names}. These images tell their class without the "
        "disease, so a high score on them does not show that a model sees it. Test on another "
        "hospital's images (evaluate) before believing it."
    )


def attention_table(result: Mapping[str, Any]) -> Table:
    """Lays out how much of the evidence lies in the lungs, by class."""
    rows = [
        [name, of["images"], f"{of['inside']:.0%}", f"{of['area']:.0%}"]
        for name, of in result[ATTENTION].items()
    ]
    header = ["class", "images", "of the evidence in the lungs", "of the area in the lungs"]
    return Table("Where the evidence lies (Grad-CAM)", header, rows)


def explanation(result: Mapping[str, Any]) -> str:
    """Says how the battery was made."""
    lungs = result["lungs"]
    where = f" Lungs: {lungs}." if lungs else " Without lung masks, so some parts are left out."
    return (
        f"The same model, trained again for {result['epochs']} epochs at depth {result['depth']} "
        "from the same weights on each part of the images, and tested on the same "
        f"{result['images']:,} test images; the histograms by a random forest. Always guessing the "
        f"largest class gives an accuracy of {result['chance']:.3f}; guessing at all an AUC of 0.5."
        f"{where}"
    )


def audit_text(result: Mapping[str, Any]) -> str:
    """Formats the battery for the terminal."""
    parts = [f"{table.title}\n{text_table(table.header, table.rows)}" for table in _tables(result)]
    sources = source_text(result[SOURCES])
    return "\n\n".join([*parts, explanation(result), sources, verdict(result)])


def audit_markdown(result: Mapping[str, Any]) -> str:
    """Formats the battery as a Markdown document."""
    parts = [f"# Shortcut battery: {result['title']}", verdict(result)]
    for table in _tables(result):
        parts += [f"## {table.title}", markdown_table(table.header, table.rows)]
    parts += [explanation(result), "## Sources"]
    for block in source_blocks(result[SOURCES], ""):
        if isinstance(block, Tabulated):
            cells = markdown_table(block.table.header, block.table.rows)
            parts += [f"### {block.table.title}", cells, block.note]
        else:
            parts.append(str(block))
    return "\n\n".join(parts) + "\n"


def _tables(result: Mapping[str, Any]) -> list[Table]:
    return [parts_table(result), *([attention_table(result)] if result[ATTENTION] else [])]


def shortcut_blocks(run: Run, prefix: str) -> list[Block]:
    """Returns the battery as blocks of the report; none where the run has none.

    Args:
        run: The run.
        prefix: What labels and names of figures begin with.
    """
    result = read_shortcuts(run.path)
    if result is None:
        return []
    blocks: list[Block] = [
        verdict(result),
        Tabulated(parts_table(result), f"{prefix}-shortcuts", explanation(result)),
    ]
    if result[ATTENTION]:
        note = (
            "Of the run's own model, for the class that it predicts. Evidence spread over the "
            "image without regard to the lungs would have both shares alike."
        )
        blocks.append(Tabulated(attention_table(result), f"{prefix}-attention", note))
    scores = ", ".join(
        f"{INPUT_ABLATIONS[name].title} {scores['auc']['value']:.3f}"
        for name, scores in result["parts"].items()
    )
    captions = {
        "shortcuts": (
            f"Macro AUC of each part with its 95 % interval: {scores}.",
            "What each part of the images tells of the class. Orange parts hold no disease to "
            "see: they should lie at the dashed line, chance.",
        ),
        "shortcut_parts": (
            "One test image of each class, and each part of it.",
            "What the models of the battery see.",
        ),
    }
    for name, (alt, caption) in captions.items():
        path = run.figure(name)
        if path:
            wide = name == "shortcut_parts"
            blocks.append(Figure(path, f"{prefix}-{name}", f"{run.name}. {alt}", caption, wide))
    return [*blocks, *source_blocks(result[SOURCES], f"{prefix}-sources")]
