"""Calibration and operating points as tables, for a run's metrics.md and for the report."""

from collections.abc import Mapping
from typing import Any

from kerascxr.tables import TOO_FEW, Table, format_value, markdown_table, with_interval

MEASURES = {"ece": "ECE", "brier": "Brier score", "nll": "negative log likelihood"}
_FITTED = "The temperature was fitted on {}."


def calibration_table(calibration: Mapping[str, Any]) -> Table:
    """Lays out what the temperature changed on the test images."""
    rows: list[list[Any]] = [
        [name, *(calibration[side][key] for side in ("before", "after"))]
        for key, name in MEASURES.items()
    ]
    title = f"Calibration: temperature {calibration['temperature']:.3f}"
    return Table(title, ["measure", "before", "after"], rows)


def operating_points_table(calibration: Mapping[str, Any]) -> Table:
    """Lays out each class's threshold and what it finds of the test images."""
    header = ["class", "threshold", "sensitivity", "of", "specificity", "of"]
    rows: list[list[Any]] = [
        [
            name,
            point["threshold"],
            _with_interval(point, "sensitivity"),
            point["positives"],
            _with_interval(point, "specificity"),
            point["negatives"],
        ]
        for name, point in calibration["operating_points"].items()
    ]
    return Table("Operating points", header, rows)


def calibration_markdown(calibration: Mapping[str, Any]) -> str:
    """Returns both tables, and what they mean, as Markdown to follow a run's metrics."""
    table, points = calibration_table(calibration), operating_points_table(calibration)
    definitions, at_bound = calibration["definitions"], bound_note(calibration)
    meanings = "\n".join(f"- {name}: {definitions[key]}" for key, name in MEASURES.items())
    parts = [
        f"## {table.title}",
        markdown_table(table.header, table.rows),
        _FITTED.format(calibration["fitted_on"]) + (f" {at_bound}" if at_bound else ""),
        "Measured on the test images:",
        meanings,
        f"## {points.title}",
        markdown_table(points.header, points.rows),
        operating_points_note(calibration),
    ]
    return "\n" + "\n\n".join(parts) + "\n"


def bound_note(calibration: Mapping[str, Any]) -> str | None:
    """Returns a sentence about a temperature at a bound of its search; None where it is inside."""
    if not calibration.get("at_bound"):
        return None
    low, high = calibration["bounds"]
    is_high = calibration["temperature"] > (low + high) / 2
    side, direction = ("upper", "higher") if is_high else ("lower", "lower")
    return (
        f"The temperature {calibration['temperature']:.3f} is the {side} bound of its search "
        f"({low:g} to {high:g}): on the validation images a still {direction} one would be more "
        "likely, so the calibrated probabilities are not reliable."
    )


def operating_points_note(calibration: Mapping[str, Any]) -> str:
    """Returns what the operating points' table means."""
    return (
        f"An image is called a class if the class's probability, after the temperature, is at "
        f"least the threshold: the highest one that finds {calibration['sensitivity']:.0%} of the "
        "class's validation images. Sensitivity and specificity are those of the test images, with "
        "their 95% intervals. An image can be called several classes, or none."
    )


def _with_interval(point: Mapping[str, Any], measure: str) -> str | None:
    if point[measure] is None:
        return None
    if point[f"{measure}_interval"] is None:
        return f"{format_value(point[measure])} ({TOO_FEW})"
    return with_interval(point[measure], point[f"{measure}_interval"])
