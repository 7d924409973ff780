"""The learning curves of all runs, repeated runs of one model in one panel."""

import json
from collections.abc import Sequence
from pathlib import Path

from kerascxr.names import with_folders
from kerascxr.plots.learning_curves import MOST_MODELS, Model, learning_curves
from kerascxr.report.blocks import Figure, Section
from kerascxr.runs.reading import Run

_MEASURES = {"classification": ("accuracy", "loss"), "segmentation": ("dice", "loss")}
_OF_A_PART = (
    *("name", "runs", "overwrite", "folds", "seeds", "cluster", "workers", "resources"),
    *("data", "runtime"),
)
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
    """Puts runs of one model on one set of images together: folds, seeds, or repeated runs.

    Runs with other options, such as those of a leaky split, are another model.
    """
    alike: dict[tuple[str, str, str], list[Run]] = {}
    for run in runs:
        key = (run.metrics["title"], run.source, _options(run))
        alike.setdefault(key, []).append(run)
    titles = [title for title, *_ in alike]
    names = [
        title if titles.count(title) == 1 else f"{title}, {source}" for title, source, _ in alike
    ]
    places = [of[0].path if len(of) == 1 else of[0].path.parent for of in alike.values()]
    if len(set(places)) < len(places):
        places = [of[0].path for of in alike.values()]
    return [
        Model(name, [run.history for run in of], [run.metrics["best_epoch"] for run in of])
        for name, of in zip(with_folders(names, places), alike.values(), strict=True)
    ]


def _options(run: Run) -> str:
    """Returns what of a run's config.yaml folds and seeds have in common."""
    options = {key: value for key, value in run.config.items() if key not in _OF_A_PART}
    split = run.config.get("split") or {}
    options["split"] = {key: split[key] for key in ("groups", "seed") if key in split}
    digest = run.metrics["data"]["fingerprint"]
    return json.dumps([digest, options], sort_keys=True, default=str)


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
