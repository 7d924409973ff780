"""A run's metrics as tables: overall, by class, confusion matrix."""

from collections.abc import Mapping, Sequence
from typing import Any

from kerascxr.evaluation.metrics import metric_title
from kerascxr.tables import (
    TOO_FEW,
    Table,
    escaped_markdown,
    format_value,
    markdown_table,
    text_table,
    with_interval,
)


def class_table(metrics: Mapping[str, Any]) -> Table:
    """Returns the table of metrics by class, with their intervals; see ``metric_tables``."""
    task, per_class = _task(metrics), metrics["per_class"]
    intervals = metrics.get("intervals", {}).get("per_class", {})
    rows = [
        [
            name,
            *(
                with_interval(value, intervals.get(name, {}).get(measure))
                for measure, value in row.items()
            ),
        ]
        for name, row in per_class.items()
    ]
    keys = next(iter(per_class.values()))
    return Table(
        "By class", ["class", *(metric_title(task, key, of_class=True) for key in keys)], rows
    )


def added_measures(tests: Sequence[Mapping[str, Any]], shown: Sequence[str]) -> list[str]:
    """Returns the measures of some tests that a table would leave out: registered metrics.

    Args:
        tests: Each what metrics.json has as "test".
        shown: The measures that the table has.
    """
    found = [name for test in tests for name in test.get("intervals", {}) if name in test]
    own = {*shown, "per_class"}
    return [name for name in dict.fromkeys(found) if name not in own]


def metric_tables(metrics: Mapping[str, Any]) -> list[Table]:
    """Lays a metric dictionary out as tables: overall, by class, confusion matrix.

    Args:
        metrics: What ``evaluation.classification.evaluate`` returns, or the summary of
            ``evaluation.segmentation.evaluate``. A measure with a standard
            deviation is shown as "mean ± deviation". Where it holds ``intervals``, from
            ``evaluation.uncertainty``, each measure that has one is shown with it.

    Returns:
        One to three tables, those that there is something for.
    """
    rows = []
    intervals = metrics.get("intervals", {})
    for key, value in metrics.items():
        if isinstance(value, Mapping | list | tuple) or key.endswith("_std"):
            continue
        if f"{key}_std" in metrics:
            value = f"{format_value(value)} ± {format_value(metrics[f'{key}_std'])}"
        if intervals.get(key):
            value = with_interval(value, intervals[key])
        elif key in intervals and value is not None:
            value = f"{format_value(value)} ({TOO_FEW})"
        rows.append([metric_title(_task(metrics), key), value])
    if intervals:
        rows.append(["in brackets", f"{intervals['level']:.0%} intervals"])
    if metrics.get("absent_classes"):
        rows.append(["absent classes (not averaged)", ", ".join(metrics["absent_classes"])])
    tables = [Table("Overall", ["measure", "value"], rows)]
    if metrics.get("per_class"):
        tables.append(class_table(metrics))
    if metrics.get("confusion_matrix"):
        classes = metrics["classes"]
        tables.append(
            Table(
                "Confusion matrix (rows: truth, columns: prediction)",
                ["truth", *classes],
                [
                    [name, *counts]
                    for name, counts in zip(classes, metrics["confusion_matrix"], strict=True)
                ],
            )
        )
    return tables


def metrics_text(metrics: Mapping[str, Any]) -> str:
    """Formats a metric dictionary for the terminal; see ``metric_tables``."""
    return "\n\n".join(
        f"{table.title}\n{text_table(table.header, table.rows)}" for table in metric_tables(metrics)
    )


def metrics_markdown(metrics: Mapping[str, Any], title: str = "Metrics") -> str:
    """Formats a metric dictionary as a Markdown document; see ``metric_tables``."""
    parts = [f"# {escaped_markdown(title)}"]
    for table in metric_tables(metrics):
        parts += [f"## {table.title}", markdown_table(table.header, table.rows)]
    return "\n\n".join(parts) + "\n"


def linear_probe_text(about: Mapping[str, Any]) -> str:
    """Returns sentences on what a classifier's linear probe adds.

    Args:
        about: "linear_probe" of a run's metrics.json.
    """
    scores = {name: row["accuracy"] for name, row in about["validation"].items()}
    return (
        "The answer is the mean of the head's and of a linear probe's, a softmax regression of "
        f"{about['statistics']} statistics of the frozen stages. Accuracy on validation images: "
        f"head alone {scores['head']:.4f}, probe alone {scores['probe']:.4f}, both "
        f"{scores['both']:.4f}."
    )


def _task(metrics: Mapping[str, Any]) -> str:
    return "classification" if "confusion_matrix" in metrics else "segmentation"
