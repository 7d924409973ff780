"""Input ablations in the report: tables, and sentences made from the verdicts in audit.json."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kerascxr.report.blocks import Block, Figure, Section, Tabulated
from kerascxr.report.origins import source_blocks, source_text
from kerascxr.runs.reading import Run
from kerascxr.tables import Table, difference_ends, markdown_table, text_table, with_interval

RESULT = "audit/audit.json"


def read_audit(run: Path) -> dict[str, Any] | None:
    """Returns a run's audit.json; None if it has none."""
    path = run / RESULT
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def ablation_table(result: Mapping[str, Any]) -> Table:
    """Lays out each ablation's measures with intervals, and the difference to the full image."""
    rows: list[list[Any]] = []
    for of in result["ablations"].values():
        cells = [
            with_interval(of[measure]["value"], of[measure]["interval"])
            for measure in ("accuracy", "auc")
        ]
        gap, ends = of["auc"]["difference"], of["auc"]["difference_interval"]
        change = "" if "verdict" not in of or gap is None else f"{gap:+.3f}"
        if change and ends:
            change += f" {difference_ends(ends)}"
        rows.append([of["title"], *cells, change, control_result(of), meaning(of)])
    header = ["input", "accuracy", "macro AUC", "AUC, difference", "control marker", "verdict"]
    if not any("control" in of for of in result["ablations"].values()):
        header, rows = _without(header, 4), [_without(row, 4) for row in rows]
    return Table("Input ablations", header, rows)


def _without(cells: list[Any], place: int) -> list[Any]:
    return cells[:place] + cells[place + 1 :]


def control_result(ablation: Mapping[str, Any]) -> str:
    """Returns whether an ablation's positive control was found; "" where it has none."""
    control = ablation.get("control")
    if control is None:
        return ""
    auc = with_interval(control["auc"]["value"], control["auc"]["interval"])
    return f"{'found' if control['found'] else 'missed'}, AUC {auc}"


def meaning(ablation: Mapping[str, Any]) -> str:
    """Returns the sentence for an ablation's verdict; "reference" for the full image."""
    verdict = ablation.get("verdict")
    if verdict is None:
        return "reference"
    without, gap = ablation["without"], ablation["auc"]["difference"]
    if verdict == "shown":
        return (
            f"{ablation['size']} shortcut: {ablation['share']:.0%} of the AUC above chance without "
            f"{without}"
        )
    if verdict == "excluded":
        return "this model predicts no more than a small part of the AUC from it"
    if verdict == "equivalent":
        return "no relevant difference to the full image"
    if verdict in ("lower", "higher"):
        return f"AUC {verdict} by {abs(gap):.3f} without {without}"
    if not ablation.get("control", {}).get("found", True):
        return "not decided: the control marker was missed"
    needed = ablation.get("images_needed")
    return "not decided" + (f"; about {needed:,} test images would decide" if needed else "")


def verdict(result: Mapping[str, Any]) -> str:
    """Returns the paragraph for the overall verdict."""
    found, ablations = result["verdict"], result["ablations"]

    def titles(names: list[str]) -> str:
        return ", ".join(ablations[name]["title"] for name in names)

    missed = found["control_missed"]
    few = [name for name in found["not_decided"] if name not in missed]
    undecided = f" Not decided, for lack of test images: {titles(few)}." if few else ""
    if missed:
        undecided += (
            f" Not decided, because the control marker was missed: {titles(missed)}. This audit "
            "could not have found such a marker there."
        )
    if found["large"]:
        return (
            f"Large shortcuts are shown: {titles(found['large'])}. These inputs hide the lungs or "
            "their detail and yield at least half of the AUC above chance, so a high score on "
            "these images does not show that a model detects disease. Test on another hospital's "
            f"images (evaluate).{undecided}"
        )
    if found["some"]:
        return (
            f"Shortcuts are shown: {titles(found['some'])}. Part of the score can be reached from "
            f"inputs that hide the lungs or their detail.{undecided}"
        )
    if found["verdict"] == "not_decided":
        return f"No shortcut is shown, and not all are excluded.{undecided}"
    return (
        "For this model and these test images the tested shortcuts are excluded, up to 15% of the "
        "AUC above chance each; the same models find a control marker in these inputs. Other "
        "models may use them, and untested shortcuts remain possible."
    )


def attention_table(result: Mapping[str, Any]) -> Table:
    """Lays out how much of the evidence lies in the lungs, by class."""
    rows = [
        [
            name,
            of["images"],
            of.get("without_evidence"),
            _percent(of["inside"]),
            _percent(of["area"]),
        ]
        for name, of in result["attention"].items()
    ]
    header = ["class", "images", "without evidence", "of the evidence in the lungs"]
    header += ["of the area in the lungs"]
    return Table("Where the evidence lies (Grad-CAM)", header, rows)


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{share:.0%}"


def explanation(result: Mapping[str, Any]) -> str:
    """Returns how the audit was made."""
    check = result["lung_masks"]
    return (
        f"The same model, trained again for {result['epochs']} epochs at depth {result['depth']} "
        "from the same weights on each ablated input, and tested on the same "
        f"{result['images']:,} test images; the histograms by a random forest. The largest class "
        f"alone gives an accuracy of {result['chance']:.3f}; chance gives an AUC of 0.5."
        f" Lungs: {result['lungs']}; {check['implausible']:,} of {check['images']:,} masks are "
        f"implausible as lungs.{_controls(result)}"
    )


def _controls(result: Mapping[str, Any]) -> str:
    """Returns what the positive controls are and how long they took; "" if there are none."""
    controls = [of["control"] for of in result["ablations"].values() if "control" in of]
    if not controls:
        return ""
    markers = dict.fromkeys(control["description"] for control in controls)
    share = result["control_seconds"] / max(result["seconds"], 1e-9)
    return (
        " Positive control, where no shortcut is shown: the same model, trained and tested on the "
        f"same images with a planted marker ({'; '.join(markers)}). The {len(controls)} controls "
        f"took {share:.0%} of the audit's {result['seconds'] / 60:.1f} minutes."
    )


def audit_text(result: Mapping[str, Any]) -> str:
    """Formats an audit for the terminal."""
    parts = [f"{table.title}\n{text_table(table.header, table.rows)}" for table in _tables(result)]
    sources = source_text(result["origins"])
    return "\n\n".join([*parts, explanation(result), sources, verdict(result)])


def audit_markdown(result: Mapping[str, Any]) -> str:
    """Formats an audit as a Markdown document."""
    parts = [f"# Input ablations: {result['title']}", verdict(result)]
    for table in _tables(result):
        parts += [f"## {table.title}", markdown_table(table.header, table.rows)]
    parts += [explanation(result), "## Origins"]
    for block in source_blocks(result["origins"], ""):
        if isinstance(block, Tabulated):
            cells = markdown_table(block.table.header, block.table.rows)
            parts += [f"### {block.table.title}", cells, block.note]
        else:
            parts.append(str(block))
    return "\n\n".join(parts) + "\n"


def _tables(result: Mapping[str, Any]) -> list[Table]:
    return [ablation_table(result), *([attention_table(result)] if result["attention"] else [])]


def ablation_sections(run: Run, prefix: str) -> list[Section]:
    """Returns an audit as a section of the report; none if the run has no audit.

    Args:
        run: The run.
        prefix: What labels and names of figures begin with.
    """
    result = read_audit(run.path)
    if result is None:
        return []
    blocks: list[Block] = [
        Tabulated(ablation_table(result), f"{prefix}-input-ablations", explanation(result)),
    ]
    if result["attention"]:
        note = (
            "Of the run's own model, for the class that it predicts. Evidence spread over the "
            "image without regard to the lungs would have both shares alike. Both are of images on "
            "which Grad-CAM is not 0 everywhere; on the others it shows no evidence."
        )
        blocks.append(Tabulated(attention_table(result), f"{prefix}-attention", note))
    scores = ", ".join(
        f"{of['title']} {of['auc']['value']:.3f}" for of in result["ablations"].values()
    )
    captions = {
        "input_ablations": (
            f"Macro AUC of each input ablation with its 95% interval: {scores}.",
            "Macro AUC of each input ablation with its 95% interval. Orange diamonds: inputs "
            "that hide the lungs or their detail. The dashed line is chance.",
        ),
        "input_ablation_samples": (
            "One test image of each class under each input ablation.",
            "Inputs of the ablations' models.",
        ),
    }
    for name, (alt, caption) in captions.items():
        path = run.figure(name)
        if path:
            xray = name == "input_ablation_samples"
            blocks.append(
                Figure(
                    *(path, f"{prefix}-{name}", f"{run.name}. {alt}", caption),
                    wide=xray,
                    xray=xray,
                    beside=True,
                )
            )
    blocks += source_blocks(result["origins"], f"{prefix}-sources")
    return [Section(f"Input ablations: {run.name}", blocks)]
