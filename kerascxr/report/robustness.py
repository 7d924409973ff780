"""A run's metrics on corrupted test images, as tables and as blocks of the report."""

from typing import Any

from kerascxr.evaluation.calibration import DEFINITIONS
from kerascxr.evaluation.metrics import metric_title
from kerascxr.evaluation.robustness import (
    ECE,
    OF_DECIDED,
    RELIABILITY,
    SUMMARY_SEVERITIES,
    by_severity,
    cells_of,
    intervals_by_severity,
    mean_of,
    read_robustness,
    summarise,
)
from kerascxr.names import listed
from kerascxr.report.blocks import Block, Figure, Tabulated
from kerascxr.runs.reading import Run
from kerascxr.tables import (
    Table,
    capitalised,
    format_value,
    markdown_table,
    text_table,
    with_interval,
)

_HELD_OUT = (
    "In training: the augmentation of the training makes this change as well. Held out: it does "
    "not, so this mean says more about changes that nobody thought of."
)
_ECE = (
    f"ECE: of the calibrated probabilities, which are served; {DEFINITIONS[ECE]}; less is better. "
    "Its temperature was chosen on clean images."
)
_DECISIONS = (
    "Decisions: by the run's decision rule, which was fitted on clean images; the mean of their "
    "accuracy is over decided images."
)


def score_table(result: dict[str, Any], measure: str, intervals: bool = True) -> Table:
    """Lays a measure out: a row a corruption, a column a severity, and their mean.

    Args:
        result: From ``read_robustness``.
        measure: One of the task's.
        intervals: Whether each score has its interval; the mean has none.
    """
    clean, scores = by_severity(result, measure)
    clean_ends, ends = intervals_by_severity(result, measure)
    rows = []
    for name, values in scores.items():
        cells: list[Any] = [*values]
        if intervals:
            cells = [with_interval(*pair) for pair in zip(values, ends[name], strict=True)]
        mean = mean_of(cells_of(result, [name], range(1, len(values) + 1)), measure)
        rows.append([name, *cells, mean])
    severities = [str(place) for place in range(1, len(rows[0]) - 1)]
    label = capitalised(metric_title(result["task"], measure))
    whole = with_interval(clean, clean_ends if intervals else None)
    title = f"{label} by severity; clean {format_value(whole)}"
    return Table(title, ["corruption", *severities, "mean"], rows)


def summary_table(result: dict[str, Any]) -> Table:
    """Lays out the means over corruptions, those of the training and the others apart."""
    rows: list[list[Any]] = [
        [metric_title(result["task"], measure), row["group"], row["mild"], row["mean"]]
        for measure in _summarised(result)
        for row in summarise(result, measure)
    ]
    both = listed(SUMMARY_SEVERITIES)
    header = ["mean of", "corruptions", "severity 1", f"severities {both}"]
    return Table("Means over corruptions", header, rows)


def _summarised(result: dict[str, Any]) -> list[str]:
    """Returns the first measure of the task and those of reliability."""
    return [result["measures"][0], *(name for name in result["measures"] if name in RELIABILITY)]


def _means(result: dict[str, Any]) -> str:
    """Returns what the means are of, and how to read them."""
    groups = summarise(result, result["measures"][0])
    names = "; ".join(f"{row['group']}: {', '.join(row['corruptions'])}" for row in groups)
    text = f"{capitalised(names)}. {_HELD_OUT}"
    if ECE in result["measures"]:
        text += f" {_ECE}"
    return text + (f" {_DECISIONS}" if OF_DECIDED in result["measures"] else "")


def strength_table(result: dict[str, Any]) -> Table:
    """Lays out what the severities mean."""
    rows = [
        [name, strength["unit"], *(f"{value:g}" for value in strength["values"])]
        for name, strength in result["strengths"].items()
    ]
    severities = [str(place) for place in range(1, len(rows[0]) - 1)]
    return Table("What the severities are", ["corruption", "strength", *severities], rows)


def robustness_text(result: dict[str, Any]) -> str:
    """Formats all measures for the terminal, where intervals would not fit a line."""
    tables = [score_table(result, measure, False) for measure in result["measures"]]
    tables.append(summary_table(result))
    return "\n\n".join(f"{table.title}\n{text_table(table.header, table.rows)}" for table in tables)


def robustness_markdown(result: dict[str, Any]) -> str:
    """Formats all measures, and what the severities are, as a Markdown document."""
    tables = [score_table(result, measure) for measure in result["measures"]]
    parts = [f"# {result['title']}, on corrupted images", _explained(result), _means(result)]
    tables.append(summary_table(result))
    for table in (*tables, strength_table(result)):
        parts += [f"## {table.title}", markdown_table(table.header, table.rows)]
    return "\n\n".join(parts) + "\n"


def robustness_blocks(run: Run, prefix: str) -> list[Block]:
    """Returns the report's table and figures of a run's test, or nothing where it has none.

    Args:
        run: A finished run.
        prefix: What names of its figures and tables begin with.
    """
    result = read_robustness(run.path)
    if result is None:
        return []
    measure = result["measures"][0]
    label = capitalised(metric_title(run.task, measure))
    clean, scores = by_severity(result, measure)
    blocks: list[Block] = [
        Tabulated(score_table(result, measure), f"{prefix}-robustness", _explained(result)),
        Tabulated(summary_table(result), f"{prefix}-robustness-means", _means(result)),
    ]
    for name in _summarised(result)[1:]:
        blocks.append(Tabulated(score_table(result, name), f"{prefix}-robustness-{name}"))
    curves, samples = run.figure("robustness"), run.figure("corruptions")
    worst = {name: format_value(values[-1]) for name, values in scores.items()}
    if curves:
        ends = ", ".join(f"{name} {value}" for name, value in worst.items())
        blocks.append(
            Figure(
                curves,
                f"{prefix}-robustness",
                f"{run.name}. {label} over severity, a panel for each corruption. Clean "
                f"{format_value(clean)}; at severity 5: {ends}.",
                f"{label} on corrupted test images with 95% intervals. Dashed line and grey band: "
                "clean images. The same images are tested each time, so a difference between two "
                "points is more certain than their intervals suggest.",
                wide=True,
            )
        )
    if samples:
        strengths = "; ".join(
            f"{name} "
            + ", ".join(f"{strength['values'][place - 1]:g}" for place in (1, 3, 5))
            + f" ({strength['unit']})"
            for name, strength in result["strengths"].items()
        )
        blocks.append(
            Figure(
                samples,
                f"{prefix}-corruptions",
                f"{run.name}. One test image as it is, and under each corruption at severities 1, "
                "3 and 5.",
                f"One test image under each corruption at severities 1, 3 and 5: {strengths}.",
                wide=True,
                xray=True,
            )
        )
    return blocks


def _explained(result: dict[str, Any]) -> str:
    masks = " Where an image is turned or shifted, its mask is too." * (
        result["task"] == "segmentation"
    )
    return (
        f"The same {result['images']:,} test images, corrupted at the size at which the model gets "
        f"them, from severity 1 (mild) to 5.{masks} The model was not trained again. This says how "
        "it takes worse images, not how it takes another hospital's."
    )
