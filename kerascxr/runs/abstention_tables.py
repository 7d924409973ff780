"""Decisions and prediction sets as tables, for a run's metrics.md and for the report."""

from collections.abc import Mapping, Sequence
from typing import Any

from kerascxr.tables import TOO_FEW, Table, format_value, markdown_table, with_interval


def abstention_table(found: Mapping[str, Any]) -> Table:
    """Lays out how often a run's model decides on its test images, and why not.

    Args:
        found: The entry "abstention" of metrics.json.
    """
    rows = [
        ["not decided", *_cells(found["not_decided"])],
        *([f"because: {reason}", *_cells(share)] for reason, share in found["reasons"].items()),
        ["accuracy of the decisions", *_cells(found["accuracy_of_decided"])],
    ]
    return Table("Decisions", ["test images", "share", "of"], rows)


def coverage_table(found: Mapping[str, Any]) -> Table:
    """Lays out how often the true class is in the prediction set.

    Args:
        found: The entry "abstention" of metrics.json.
    """
    shares = found["coverage"]["classes"]
    counts = found.get("validation_images", [None] * len(shares))
    rows = [
        [name, *_cells(share), count]
        for (name, share), count in zip(shares.items(), counts, strict=True)
    ]
    header = ["class", "coverage", "of", "validation images"]
    return Table(
        "Prediction sets", header, [*rows, ["all", *_cells(found["coverage"]["all"]), None]]
    )


def answers_table(sets: Mapping[str, Mapping[str, Any]], classes: Sequence[str]) -> Table:
    """Lays out what a model answers on several sets: a column per set.

    Args:
        sets: Name -> from ``evaluation.abstention.measure_answers``.
        classes: The model's classes.
    """
    least = next(iter(sets.values()))["confident_from"]
    found = list(sets.values())
    rows = [
        ["images", *(one["n"] for one in found)],
        ["not decided", *(_cells(one["not_decided"])[0] for one in found)],
        ["mean confidence", *(one["mean_confidence"] for one in found)],
    ]
    for name in classes:
        answers = [one["answers"][name] for one in found]
        for key, title in (
            ("predicted", f"predicted {name}"),
            ("confident_and_decided", f"{name} at {least} or more and decided"),
        ):
            rows.append([title, *(_cells(answer[key])[0] for answer in answers)])
    return Table("Answers", ["measure", *sets], rows)


def abstention_markdown(found: Mapping[str, Any]) -> str:
    """Returns both tables, and what they mean, as Markdown to follow a run's metrics."""
    decisions, coverage = abstention_table(found), coverage_table(found)
    parts = [
        f"## {decisions.title}",
        markdown_table(decisions.header, decisions.rows),
        decisions_note(found),
        f"## {coverage.title}",
        markdown_table(coverage.header, coverage.rows),
        coverage_note(found),
    ]
    return "\n" + "\n\n".join(parts) + "\n"


def decisions_note(found: Mapping[str, Any]) -> str:
    """Returns what the table of decisions means."""
    text = (
        "The predicted class is the decision if it alone is likely enough and no input check "
        "warns. An image can have several reasons."
    )
    if "ood_limit" in found:
        text += (
            f" Likely enough: a probability of {found['least_probability']:.3f} or more, which "
            f"the true classes of {found['coverage_level']:.0%} of the validation images have; an "
            "image that is exchangeable with them is decided wrongly with a probability of "
            f"{1 - found['coverage_level']:.0%} at most."
            f" Unlike the training images: an out-of-distribution score above "
            f"{found['ood_limit']:.2f}, which images like the validation images have with a "
            f"probability of {found['ood_false_alarms']:.0%} at most."
        )
    return text


def coverage_note(found: Mapping[str, Any]) -> str:
    """Returns what the table of prediction sets means."""
    sizes = found["set_sizes"].items()
    counts = ", ".join(f"{count:,} of {size} class{'es' * (size != '1')}" for size, count in sizes)
    text = f"Coverage: the share of a class's images whose prediction set holds it. Sets: {counts}."
    if "coverage_level" in found:
        text += (
            f" It is {found['coverage_level']:.0%} or more for images that are exchangeable with "
            "the validation images."
        )
    return text + (f" {always}" if (always := always_possible_note(found)) else "")


def always_possible_note(found: Mapping[str, Any]) -> str | None:
    """Returns sentences about the classes that are in every set; None if there are none.

    Args:
        found: The entry "abstention" of metrics.json.
    """
    classes = list(found["coverage"]["classes"])
    thresholds = found.get("set_thresholds") or [1.0] * len(classes)
    return in_every_set_note(
        [name for name, threshold in zip(classes, thresholds, strict=True) if threshold == 0],
        found.get("least_validation_images"),
        dict(zip(classes, found.get("validation_images", ()), strict=False)),
    )


def in_every_set_note(
    classes: Sequence[str], least: int | None = None, images: Mapping[str, int] | None = None
) -> str | None:
    """Returns what it means that classes are in every prediction set, and what to do.

    Args:
        classes: The classes; None is returned if there are none.
        least: How many validation images of a class would do.
        images: How many validation images each has, where that is known.
    """
    if not classes:
        return None
    known = images or {}
    names = ", ".join(
        f"{name} ({known[name]:,} validation images)" if name in known else name for name in classes
    )
    return (
        f"In every prediction set, also beside a decision for another class: {names}. There are "
        f"too few validation images to exclude {'it' if len(classes) == 1 else 'them'}"
        + (f"; {least} of a class would do." if least else ".")
    )


def decided_text(found: Mapping[str, Any]) -> str:
    """Returns one line on the decisions of a test, for the log."""
    text = f"Not decided: {found['not_decided']['value']:.1%} of the test images."
    if found["accuracy_of_decided"]:
        text += f" Accuracy of the decisions: {found['accuracy_of_decided']['value']:.4f}."
    always = always_possible_note(found)
    return f"{text} {always}" if always else text


def _cells(share: Mapping[str, Any] | None) -> list[Any]:
    """Returns a share with its interval, and of how many images it is."""
    if share is None:
        return [None, 0]
    if share["interval"] is None:
        return [f"{format_value(share['value'])} ({TOO_FEW})", share["n"]]
    return [with_interval(share["value"], share["interval"]), share["n"]]
