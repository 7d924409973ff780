"""Probes of class and origin, as tables and as blocks of the report."""

from typing import Any

from kerascxr.evaluation.origin_probes import ENOUGH_TO_TEST, ENOUGH_TO_TRAIN
from kerascxr.report.blocks import Block, Tabulated
from kerascxr.tables import Table, difference_ends, format_value, text_table, with_interval

_OWN_ROWS = 12


def source_blocks(result: dict[str, Any], prefix: str) -> list[Block]:
    """Returns a paragraph and tables of what ``measure_sources`` found; a sentence if skipped.

    Args:
        result: From ``measure_sources``.
        prefix: What the tables' labels begin with.
    """
    if "skipped" in result:
        return [result["skipped"]]
    return [" ".join(source_sentences(result)), *_tables(result, prefix)]


def source_text(result: dict[str, Any]) -> str:
    """Formats the same for the terminal."""
    if "skipped" in result:
        return result["skipped"]
    tables = [
        f"{block.table.title}\n{text_table(block.table.header, block.table.rows)}"
        for block in _tables(result, "")
    ]
    return "\n\n".join([*tables, "\n".join(source_sentences(result))])


def source_sentences(result: dict[str, Any]) -> list[str]:
    """Describes the result in sentences."""
    names = _names(result)
    by_origin, by_features = result["class_from_origin"], result["class_from_features"]
    said = [
        "A prediction of the class from an image's origin alone has accuracy "
        f"{by_origin['accuracy']:.3f}. Always the most frequent class has "
        f"{by_origin['chance']:.3f}, a linear probe of the images {by_features['accuracy']:.3f}."
    ]
    probe = result["origin_from_features"]
    if probe:
        said.append(
            "A linear probe of the frozen backbone's features predicts the origin, one of "
            f"{len(probe['origins'])}, with accuracy {probe['accuracy']:.3f} (always the most "
            f"frequent: {probe['chance']:.3f})."
        )
    else:
        said.append(
            "Fewer than two origins have enough images for a probe of the origin "
            f"({ENOUGH_TO_TRAIN} to train and {ENOUGH_TO_TEST} to test)."
        )
    said += [
        f"Within {row['class']}, where disease cannot help, it separates {len(row['origins'])} "
        f"origins with accuracy {row['accuracy']:.3f} ({row['chance']:.3f})."
        for row in result["origin_within_class"]
    ]
    if not result["class_within_origin"]:
        said.append(
            "No origin has enough images of two classes, so class and origin cannot be separated "
            "on these images: no score on them shows that a model recognises disease."
        )
    said += [
        f"{' against '.join(row['classes'])}: AUC {row['all']['auc']:.3f} over all origins, "
        f"{row['within']['auc']:.3f} within {names[row['origin']]}."
        for row in result["class_within_origin"]
    ]
    said += [
        f"The recall of {row['class']} images of {names[row['origin']]} is "
        f"{row['recall_without']:.3f} for a probe trained without them and "
        f"{row['recall_with']:.3f} for one trained with them."
        for row in result["left_out"]
    ]
    return said


def _tables(result: dict[str, Any], prefix: str) -> list[Tabulated]:
    names = _names(result)
    enough = (
        f"Origins with at least {ENOUGH_TO_TRAIN} training and {ENOUGH_TO_TEST} test images only. "
    )
    blocks = [Tabulated(_image_table(result, names), f"{prefix}-origins", _COUNTED)]
    blocks.append(Tabulated(_probe_table(result), f"{prefix}-probes", enough + _PROBES))
    if result["class_within_origin"]:
        rows = [
            [
                " against ".join(row["classes"]),
                names[row["origin"]],
                row["train"],
                row["within"]["n"],
                *(
                    with_interval(row[kind]["auc"], row[kind]["interval"])
                    for kind in ("within", "all_on_within", "all")
                ),
            ]
            for row in result["class_within_origin"]
        ]
        header = ["classes", "origin", "train", "test", "within it", "trained on all", "all"]
        table = Table("AUC of two classes within one origin", header, rows)
        blocks.append(Tabulated(table, f"{prefix}-within", enough + _WITHIN))
    if result["left_out"]:
        rows = [
            [
                row["class"],
                names[row["origin"]],
                row["test"],
                with_interval(row["recall_without"], row["interval_without"]),
                with_interval(row["recall_with"], row["interval_with"]),
                _change(row["change"]),
            ]
            for row in result["left_out"]
        ]
        header = ["class", "origin", "test", "trained without", "trained with", "change"]
        table = Table("Recall of a class on an origin left out", header, rows)
        blocks.append(Tabulated(table, f"{prefix}-left-out", enough + _LEFT_OUT))
    return blocks


_COUNTED = (
    "Training and test images together. An origin with images of one class only reveals the class."
)
_PROBES = (
    "Linear probes of the frozen backbone's pooled features; the rows 'class' have all images of a "
    "known origin. A probe that predicts the origin within one class does not use disease; a "
    "classifier may use the same features. Chance: always the most frequent. In brackets: 95% "
    "intervals."
)
_WITHIN = (
    "Within one origin, the origin does not reveal the class, so the AUC is closer to that of "
    "disease (age and acquisition may still differ). 'Within it': trained and tested on that "
    "origin. 'Trained on all': the same test images, by a probe trained on these classes' images "
    "of all origins. 'All': tested on all origins too. A fall from 'all' to the others is what "
    "origins contributed; fewer training images may lower 'within it' as well."
)
_LEFT_OUT = (
    "The same test images; probes that weight every class equally. One is trained without this "
    "origin's images of the class (other classes keep theirs), the other with them. A large fall "
    "means that the class was recognised by its origin. Part of the fall may come from fewer "
    "training images."
)


def _names(result: dict[str, Any]) -> dict[str, str]:
    """Numbers origins by their images, the largest first; a URL would not fit a cell."""
    counts = _totals(result)
    ordered = sorted((name for name in counts if name), key=lambda name: -sum(counts[name]))
    return {name: f"origin {number}" for number, name in enumerate(ordered, 1)}


def _totals(result: dict[str, Any]) -> dict[str, list[int]]:
    sides = result["images"].values()
    return {
        origin: [
            sum(side.get(origin, {}).get(kind, 0) for side in sides) for kind in result["classes"]
        ]
        for origin in sorted({origin for side in sides for origin in side})
    }


def _image_table(result: dict[str, Any], names: dict[str, str]) -> Table:
    counts = _totals(result)
    shown = list(names)[:_OWN_ROWS]
    used = {row["origin"] for part in ("class_within_origin", "left_out") for row in result[part]}
    shown += [name for name in list(names)[_OWN_ROWS:] if name in used]
    rows: list[list[Any]] = [
        [f"{names[name]}: {name.split('://')[-1]}", *counts[name]] for name in shown
    ]
    rest = [counts[name] for name in names if name not in shown]
    if rest:
        rows.append([f"{len(rest)} smaller ones", *map(sum, zip(*rest, strict=True))])
    if "" in counts:
        rows.append(["unknown", *counts[""]])
    return Table("Images by origin and class", ["origin", *result["classes"]], rows)


def _probe_table(result: dict[str, Any]) -> Table:
    probes = [
        ("class, from its origin alone", result["class_from_origin"]),
        ("class, from the image", result["class_from_features"]),
        ("origin, from the image", result["origin_from_features"]),
        *((f"origin, among {row['class']}", row) for row in result["origin_within_class"]),
    ]
    rows = [
        [
            what,
            scores["n"],
            scores["chance"],
            *(
                with_interval(scores[measure], scores["intervals"][measure])
                for measure in ("accuracy", "auc")
            ),
        ]
        for what, scores in probes
        if scores
    ]
    return Table(
        "Probes of class and origin",
        ["prediction", "test", "chance", "accuracy", "macro AUC"],
        rows,
    )


def _change(change: list[float] | None) -> str | None:
    if change is None:
        return None
    value, low, high = change
    return f"{format_value(value)} {difference_ends((low, high))}"
