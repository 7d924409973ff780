"""The learning curves of all runs, repeated runs of one model in one panel."""

from collections.abc import Sequence
from pathlib import Path

from kerascxr.plots.learning_curves import MOST_MODELS, Model, learning_curves
from kerascxr.report.blocks import Figure, Section
from kerascxr.runs.reading import Run

_MEASURES = {"classification": ("accuracy", "loss"), "segmentation": ("dice", "loss")}
_TITLES = {"classification": "classifiers", "segmentation": "U-Nets"}


def curve_sections(runs: Sequence[Run], drawn: Path) -> list[Section]:
    """Draws the curves, a figure for each task and ``MOST_MODELS`` models.

    Args:
        runs: Finished runs.
        drawn: The folder to draw the figures in.
    """
    figures = []
    for task, measures in _MEASURES.items():
        models = _models([run for run in runs if run.task == task])
        for begin in range(0, len(models), MOST_MODELS):
            shown = models[begin : begin + MOST_MODELS]
            name = f"curves-{task}-{begin // MOST_MODELS + 1}"
            path = drawn / f"{name}.png"
            learning_curves(shown, path, measures)
            alt = f"Learning curves of the {_TITLES[task]}. {_ends(shown, measures)}"
            figures.append(Figure(path, name, alt, _caption(shown, measures), len(shown) > 1))
    return [Section("Learning curves", [*figures])]


def _models(runs: Sequence[Run]) -> list[Model]:
    """Puts runs of one model on one set of images together: folds, seeds, or repeated runs."""
    alike: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        alike.setdefault((run.metrics["title"], run.source), []).append(run)
    titles = [title for title, _ in alike]
    return [
        Model(
            title if titles.count(title) == 1 else f"{title}, {source}",
            [run.history for run in of],
            [run.metrics["best_epoch"] for run in of],
        )
        for (title, source), of in alike.items()
    ]


def _ends(models: Sequence[Model], measures: Sequence[str]) -> str:
    """Says what the kept epochs reached, for who cannot see the figure."""
    key = f"val_{measures[0]}"
    said = []
    for model in models:
        kept = [
            row[key]
            for history, best in zip(model.histories, model.best_epochs, strict=True)
            for row in history
            if row["epoch"] == best and row.get(key) is not None
        ]
        if kept:
            reached = " to ".join(dict.fromkeys(f"{end:.3f}" for end in (min(kept), max(kept))))
            said.append(f"{model.name}: validation {measures[0]} {reached} at the epoch kept")
    return "; ".join(said) + "."


def _caption(models: Sequence[Model], measures: Sequence[str]) -> str:
    said = (
        f"{measures[0].capitalize()} and {measures[1]} over epochs. A growing distance between "
        "training (dashed) and validation (solid) is overfitting."
    )
    if len(models) > 1:
        said += " All models share one scale."
    if any(len(model.histories) > 1 for model in models):
        said += " Pale lines are single folds or seeds, the bold line is their mean."
    return said
