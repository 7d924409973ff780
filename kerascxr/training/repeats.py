"""Cross-validation and repeated seeds: ordinary runs in one folder, and what they say together."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from kerascxr.cluster.parts import Part, run_parts
from kerascxr.config import TrainingConfig
from kerascxr.data.ingest.folds import N_FOLDS
from kerascxr.evaluation import classification, segmentation
from kerascxr.evaluation.metric_tables import metric_tables
from kerascxr.evaluation.summary_table import summary_table
from kerascxr.evaluation.uncertainty import classification_intervals, segmentation_intervals
from kerascxr.parsing import load_config, with_own_places
from kerascxr.runs.folder import RunFolder
from kerascxr.runs.reading import (
    CALIBRATED,
    MAY_DIFFER,
    PACKAGES,
    Run,
    mask_scores,
    read_predictions,
    read_run,
    truth_and_probabilities,
)
from kerascxr.runs.states import RunState
from kerascxr.tables import csv_text, markdown_table, text_table
from kerascxr.training.sharing import share_always, sharing

logger = logging.getLogger(__name__)

LoadTrainer = Callable[[], Callable[[Any, RunFolder], Any]]

_NOTES = {
    "folds": (
        "±: the sample standard deviation over the runs. Their training sets overlap, so it is no "
        "confidence interval (Bengio and Grandvalet, JMLR 2004)."
    ),
    "seeds": (
        "±: the sample standard deviation over the runs. All test the same images, so it is the "
        "chance of training, not that of which images were tested."
    ),
    "different tests": (
        "±: the sample standard deviation over the runs. Their test images or true classes differ, "
        "so it holds the chance of training and that of the test images, and there is no ensemble."
    ),
    "pooled": (
        "Pooled: computed on the runs' predictions together, every image once, with 95% intervals."
    ),
    "pooled classification": (
        "The pooled AUC ranks the scores of different models against each other; where they are "
        "scaled differently it lies below the mean of the runs' own (Forman and Scholz, SIGKDD "
        "Explorations 2010)."
    ),
    "pooled segmentation": "Each run has the threshold that its own validation images chose.",
    "ensemble": "Ensemble: the mean of the runs' calibrated probabilities, scored as one model.",
}


def plan(config: TrainingConfig, name: str) -> dict[str, TrainingConfig]:
    """Returns the runs that a config with ``folds`` or ``seeds`` stands for.

    Args:
        config: With ``folds`` or ``seeds`` above 1.
        name: The name of all of them together.

    Returns:
        Folder name ("fold-04" by its split.offset, "seed-1") -> the config of that run alone,
        whose own name is that of a separate run, so that it can be repeated without the others.
    """
    alone: Any = replace(config, folds=1, seeds=1, cluster=None, overwrite=False)
    parts: dict[str, dict[str, Any]]
    if config.folds > 1:
        each = N_FOLDS // config.folds
        parts = {
            f"fold-{offset:02d}": {"split": replace(config.split, offset=offset, test_folds=each)}
            for offset in range(0, N_FOLDS, each)
        }
    else:
        first = config.runtime.seed
        parts = {
            f"seed-{seed}": {"runtime": replace(config.runtime, seed=seed)}
            for seed in range(first, first + config.seeds)
        }
    return {part: replace(alone, name=f"{name}-{part}", **own) for part, own in parts.items()}


def run_repeats(
    config: TrainingConfig,
    folder: RunFolder,
    load_trainer: LoadTrainer,
) -> dict[str, Any]:
    """Trains the runs that are not finished yet, and sums all of them up.

    One run is trained after another; with ``cluster``, several at once.

    Args:
        config: With ``folds`` or ``seeds`` above 1.
        folder: The folder of all, from ``RunFolder.start``; each run gets a run folder in it.
        load_trainer: Imports TensorFlow and returns the train function; called if one is needed.

    Returns:
        What summary.json holds.

    Raises:
        ValueError: If the config asks for what the data or this machine does not have, or the
            data changed between runs.
        NonFiniteLossError: If a run's loss becomes NaN or infinite.
    """
    parts = plan(config, folder.path.name)
    trained, resolved = 0, None
    if config.cluster is not None:
        trained = _train_on_cluster(config, folder, parts, load_trainer)
    with sharing():
        for number, (part, alone) in enumerate(parts.items(), 1):
            with RunFolder.start_at(alone, folder.path / part) as run:
                if not run.finished:
                    logger.info(f"\n=== {number} of {len(parts)}: {part} ===\n")
                    _train(run, _like(resolved, alone) if resolved else alone, load_trainer)
                    trained += 1
            resolved = resolved or load_config(type(config), run.path / "config.yaml")
    assert resolved is not None
    alike: Any = _like(resolved, replace(config, name=folder.path.name))
    data = replace(alike.data, cache=resolved.data.cache)
    folder.write_config(replace(alike, folds=config.folds, seeds=config.seeds, data=data))
    summary = summarise([folder.path / part for part in parts], folder)
    folder.drop_replaced()
    if not trained:
        logger.info(
            "\nAll of it was there. To train again, give --overwrite true or another --name."
        )
    return summary


def _train(run: RunFolder, config: TrainingConfig, load_trainer: LoadTrainer) -> None:
    try:
        with run.log_file():
            load_trainer()(config, run)
    except (ValueError, OSError):
        run.abandon()
        raise


def _train_on_cluster(
    config: TrainingConfig,
    folder: RunFolder,
    parts: Mapping[str, TrainingConfig],
    load_trainer: LoadTrainer,
) -> int:
    """Trains the runs that are not finished yet, several at once.

    The first one resolves what the config leaves to the machine. The others start when its
    config.yaml is there, and are trained alike.

    Returns:
        How many were trained.

    Raises:
        Exception: The error of the first run that failed, after all have ended.
    """
    assert config.cluster is not None
    runs = [RunState(name, folder.path / name) for name in parts]
    for run in runs:
        run.state = "done before" if (run.folder / "DONE").exists() else run.state
    waiting = [run for run in runs if run.state == "waiting"]
    if not waiting:
        return 0
    load_trainer()
    from kerascxr.training.inputs import open_data

    open_data(config.data)  # here, once

    def resolved_by_others(name: str) -> list[Path]:
        files = [run.folder / "config.yaml" for run in runs if run.name != name]
        return [file for file in files if file.exists()]

    def part(run: RunState) -> Part:
        def call() -> tuple[Callable[..., None], tuple[Any, ...]]:
            alone, others = parts[run.name], resolved_by_others(run.name)
            alike = _like(load_config(type(config), others[0]), alone) if others else alone
            return train_in_worker, (run.folder, alone, alike, load_trainer)

        return Part(run.name, run.folder, call, lambda: bool(resolved_by_others(run.name)))

    errors = run_parts([part(run) for run in waiting], runs, config.cluster, config.resources)
    for error in errors.values():
        done = sum(run.state.startswith("done") for run in runs)
        again = "the same command" + (" without --overwrite" if config.overwrite else "")
        logger.warning(f"{done} of {len(runs)} runs are finished; {again} does the rest.")
        raise error
    return len(waiting)


def train_in_worker(
    path: Path, alone: TrainingConfig, alike: TrainingConfig, load_trainer: LoadTrainer
) -> None:
    """Trains one of several runs in a worker of the cluster.

    Args:
        path: Its folder.
        alone: Its config as it was asked for.
        alike: Its config with what the first of the runs resolved.
        load_trainer: See ``run_repeats``.
    """
    share_always()
    with RunFolder.start_at(alone, path) as run:
        if not run.finished:
            _train(run, alike, load_trainer)


def _like(resolved: TrainingConfig, config: TrainingConfig) -> TrainingConfig:
    """Returns a run's config with all that another run of the same experiment had resolved."""
    seed = replace(resolved.runtime, seed=config.runtime.seed)
    alike: Any = with_own_places(config, replace(resolved, split=config.split, runtime=seed))
    return alike


def summarise(paths: Sequence[Path], folder: RunFolder) -> dict[str, Any]:
    """Sums finished runs up: writes summary.json, summary.md and, of folds, predictions.csv.

    Args:
        paths: The runs' folders: all of one cross-validation, or of one configuration's seeds.
        folder: Where to.

    Returns:
        What summary.json holds: ``runs`` (name, split.offset, seed, test metrics), ``spread`` (see
        ``spread``), and ``pooled`` (metrics of folds' joint predictions) or, of classifiers that
        differ in their seeds and test the same images, ``ensemble`` (those of the mean of their
        calibrated probabilities, image by image).

    Raises:
        ValueError: If the runs are not on the same images or not trained in one way (regime,
            package versions, lung model), or folds share some.
    """
    runs = [read_run(path) for path in paths]
    _check_alike(runs, folder.path)
    folds = len({run.config["split"]["offset"] for run in runs}) > 1
    kind, task, classes = "folds" if folds else "seeds", runs[0].task, _classes(runs[0])
    tables = [read_predictions(run.path / "predictions.csv") for run in runs]
    summary: dict[str, Any] = {
        "task": task,
        "title": runs[0].name,
        "kind": kind,
        "data": {key: runs[0].metrics["data"][key] for key in ("source", "fingerprint")},
        "runs": [
            {
                "run": run.path.name,
                "offset": run.config["split"]["offset"],
                "seed": run.config["runtime"]["seed"],
                "test": run.metrics["test"],
            }
            for run in runs
        ],
        "spread": spread([run.metrics["test"] for run in runs]),
    }
    matched = None if folds else _matched(tables)
    notes = [_NOTES["different tests" if not folds and matched is None else kind]]
    if folds:
        pooled = [row for rows in tables for row in rows]
        _check_tested_once(pooled, folder.path)
        summary["pooled"] = score(pooled, classes)
        origins = [run.path.name for run, rows in zip(runs, tables, strict=True) for _ in rows]
        marked = [row | {"fold_run": run} for row, run in zip(pooled, origins, strict=True)]
        folder.write_text("predictions.csv", csv_text(marked))
        notes += [_NOTES["pooled"], _NOTES[f"pooled {task}"]]
    elif classes and matched:
        read = [truth_and_probabilities(rows, classes, CALIBRATED) for rows in matched]
        truth, mean = read[0][0], np.mean([probabilities for _, probabilities in read], axis=0)
        summary["ensemble"] = classification.evaluate(truth, mean, classes)
        notes.append(_NOTES["ensemble"])
    summary["notes"] = notes
    folder.write_json("summary.json", summary)
    table = summary_table(summary)
    together = [
        f"## {name.capitalize()}: {part.title}\n\n{markdown_table(part.header, part.rows)}"
        for name in ("pooled", "ensemble")
        for part in metric_tables(summary.get(name, {}))
        if part.rows
    ]
    body = [f"# {table.title}", markdown_table(table.header, table.rows), *notes, *together]
    folder.write_text("summary.md", "\n\n".join(body) + "\n")
    lines = ["", table.title, "", text_table(table.header, table.rows), "", *notes]
    logger.info("\n".join([*lines, "", f"Written to {folder.path}"]))
    return summary


def spread(tests: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns how each measure varies between runs.

    Args:
        tests: Metric dictionaries of one kind; dictionaries within them are entered, but for the
            runs' own intervals.

    Returns:
        For each measure that is a fraction or a distance (counts and deviations within a run are
        not): ``mean``, ``std`` (sample standard deviation; None of fewer than two), ``min``,
        ``max``, and ``runs``, how many define it. What no run defines is left out.
    """
    summary: dict[str, Any] = {}
    for key in dict.fromkeys(key for test in tests for key in test if key != "intervals"):
        values = [test[key] for test in tests if test.get(key) is not None]
        if values and isinstance(values[0], Mapping):
            summary[key] = spread(values)
        elif values and isinstance(values[0], float) and not key.endswith("_std"):
            summary[key] = {
                "mean": float(np.mean(values)),
                "std": float(np.std(values, ddof=1)) if len(values) > 1 else None,
                "min": min(values),
                "max": max(values),
                "runs": len(values),
            }
    return summary


def score(rows: Sequence[Mapping[str, str]], classes: Sequence[str] | None) -> dict[str, Any]:
    """Computes the metrics of predictions read back from files.

    Args:
        rows: Rows of predictions.csv, of one run or of several.
        classes: A classifier's classes; None for segmentation.

    Returns:
        What a run's metrics.json has under "test".
    """
    if classes:
        truth, probabilities = truth_and_probabilities(rows, classes)
        groups = [row["group"] for row in rows]
        return classification.evaluate(truth, probabilities, classes) | {
            "intervals": classification_intervals(truth, probabilities, classes, groups)
        }
    measured = mask_scores(rows)
    return segmentation.summarise(measured) | {"intervals": segmentation_intervals(measured)}


def _check_alike(runs: Sequence[Run], path: Path) -> None:
    first, *others = runs
    one = _way_of_training(first)
    for run in others:
        other = _way_of_training(run)
        changes = [f"{key}: {one[key]} -> {other[key]}" for key in one if one[key] != other[key]]
        if changes:
            raise ValueError(
                f"runs in {path} must be trained in one way. Got {', '.join(changes)} from "
                f"{first.path.name} to {run.path.name}; --overwrite true trains all again."
            )
    digests = {run.path.name: run.metrics["data"]["fingerprint"] for run in runs}
    if len(set(digests.values())) > 1:
        shown = ", ".join(f"{name}: {digest[:8]}" for name, digest in digests.items())
        raise ValueError(
            f"runs in {path} must be on the same images, and these changed between them. "
            f"Got data fingerprints {shown}; --overwrite true trains all again."
        )


def _way_of_training(run: Run) -> dict[str, Any]:
    """Returns a run's regime, its package versions and its lung model."""
    packages = run.environment["packages"]
    regime = run.metrics["regime"].items()
    return {key: value for key, value in regime if key not in MAY_DIFFER} | {
        "kerascxr": run.environment["kerascxr"],
        **{name: packages[package] for name, package in PACKAGES.items()},
        "OpenVINO": packages.get("openvino"),
        "lung model": run.metrics["data"].get("lungs_sha256"),
    }


def _matched(tables: Sequence[list[dict[str, str]]]) -> list[list[dict[str, str]]] | None:
    """Returns the runs' rows in the first run's order of images.

    Returns:
        None if the runs test different images, or disagree on an image's true class.
    """
    by_image = [{row["id"]: row for row in rows} for rows in tables]
    truths = [{image: row.get("truth") for image, row in rows.items()} for rows in by_image]
    if any(truth != truths[0] for truth in truths[1:]):
        return None
    return [[rows[image] for image in by_image[0]] for rows in by_image]


def _check_tested_once(rows: Sequence[Mapping[str, str]], path: Path) -> None:
    counts = Counter(row["id"] for row in rows)
    (image, often), *_ = counts.most_common(1)
    if often > 1:
        raise ValueError(
            f"folds in {path} must test each image once; the groups changed between runs. "
            f"Got {image} {often} times; --overwrite true trains all again."
        )


def _classes(run: Run) -> list[str] | None:
    return run.metrics["test"]["classes"] if run.task == "classification" else None
