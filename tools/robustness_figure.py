"""Draws two trainings side by side: on corrupted images, and on other hospitals' images.

Run by hand, from the project's root, with runs that ``kerascxr robustness`` has tested and
``kerascxr evaluate`` has tried on unlabelled folders; prints the same as two tables::

    python -m tools.robustness_figure --before RUN... --after RUN... --names FOLDER=NAME...
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from kerascxr.plots.style import BLUE, GREY, VERMILLION, house_style, save
from kerascxr.report.external import external_name, read_answers
from kerascxr.tables import markdown_table

SEVERITIES = range(1, 6)


def corrupted_accuracy(run: Path) -> list[float]:
    """Returns the accuracy on clean images, and its means over the corruptions by severity."""
    cells = json.loads((run / "robustness" / "robustness.json").read_text())["cells"]
    of_severity = [
        [cell["accuracy"] for cell in cells if cell["severity"] == severity]
        for severity in (0, *SEVERITIES)
    ]
    return [float(np.mean(values)) for values in of_severity]


def external_answers(run: Path, answer: str) -> dict[str, dict[str, Any]]:
    """Returns external set -> what is said of an answer there, from each ``answers.json``."""
    return {
        external_name(folder): found["answers"]["answers"][answer]
        for folder, found in read_answers(run).items()
    }


def draw(
    corrupted: Mapping[str, Sequence[Sequence[float]]],
    external: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]],
    answer: str,
    path: Path,
) -> Figure:
    """Draws both panels.

    Args:
        corrupted: Training -> one row a seed: accuracy on clean images and at each severity.
        external: Set -> rule -> one measure a seed, with ``value`` and ``interval``.
        answer: The class that nobody in the external sets has.
        path: The PNG to write.

    Returns:
        The figure, already saved.
    """
    with house_style():
        figure = Figure(figsize=(9.0, 2.9), layout="constrained")
        curves, shares = figure.subplots(1, 2, width_ratios=(1, 1.1))
        curves.set_title("Accuracy on corrupted test images")
        styles = zip(corrupted.items(), (VERMILLION, BLUE), ("--", "-"), strict=True)
        for (name, rows), colour, style in styles:
            for row in rows:
                curves.plot((0, *SEVERITIES), row, "o", color=colour, markersize=2.5, alpha=0.6)
            curves.plot((0, *SEVERITIES), np.mean(rows, 0), style, color=colour, label=name)
        curves.set_xticks((0, *SEVERITIES), ("clean", *map(str, SEVERITIES)))
        curves.set_xlabel("severity (mean of seven corruptions)")
        curves.set_ylim(0, 1)
        curves.legend(loc="lower left")
        shares.set_title(f"Called {answer}, where nobody has it")
        labels, place = [], 0.0
        for source, rules in external.items():
            colours = (VERMILLION, BLUE, BLUE)
            for (rule, measures), colour in zip(rules.items(), colours, strict=True):
                for offset, measure in zip((-0.2, 0.0, 0.2), measures, strict=True):
                    shares.plot(measure["interval"], [place + offset] * 2, color=colour, lw=1.0)
                    filled = colour if "decided" in rule or colour == VERMILLION else "white"
                    shares.plot(
                        measure["value"], place + offset, "o", color=colour, mfc=filled, ms=4
                    )
                labels.append((place, f"{source}: {rule}"))
                place += 1
            place += 0.4
        shares.set_yticks(*zip(*labels, strict=True))
        shares.axvline(0.05, color=GREY, linestyle=":", linewidth=1.0)
        shares.invert_yaxis()
        shares.set_xlim(0, 1)
        shares.set_xlabel("share answered so with a probability of 0.9 or more (dotted: 5 %)")
        return save(figure, path)


def main() -> None:
    """Prints the tables and writes the figure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--before", type=Path, nargs=3, required=True, metavar="RUN")
    parser.add_argument("--after", type=Path, nargs=3, required=True, metavar="RUN")
    parser.add_argument("--names", nargs="*", default=[], help="FOLDER=NAME of external sets")
    parser.add_argument("--answer", default="COVID")
    parser.add_argument("--to", type=Path, default=Path("docs/images/robustness.png"))
    arguments = parser.parse_args()
    names = dict(name.split("=", 1) for name in arguments.names)
    runs = {"clean images alone": arguments.before, "default": arguments.after}
    corrupted = {name: [corrupted_accuracy(run) for run in paths] for name, paths in runs.items()}
    before, after = (
        [external_answers(run, arguments.answer) for run in paths] for paths in runs.values()
    )
    external = {
        names.get(source, source): {
            "clean images alone": [run[source]["confident"] for run in before],
            "default": [run[source]["confident"] for run in after],
            "default, and decided": [run[source]["confident_and_decided"] for run in after],
        }
        for source in after[0]
    }
    rows = [
        [name, f"seed {seed}", *(f"{value:.3f}" for value in row)]
        for name, seeds in corrupted.items()
        for seed, row in enumerate(seeds)
    ]
    print(markdown_table(["training", "", "clean", *map(str, SEVERITIES)], rows))
    rows = [
        [source, rule, *(_with_interval(measure) for measure in measures)]
        for source, rules in external.items()
        for rule, measures in rules.items()
    ]
    print(markdown_table(["images", "", "seed 0", "seed 1", "seed 2"], rows))
    draw(corrupted, external, arguments.answer, arguments.to)


def _with_interval(measure: Mapping[str, Any]) -> str:
    low, high = measure["interval"]
    return f"{measure['value']:.3f} [{low:.3f}, {high:.3f}]"


if __name__ == "__main__":
    main()
