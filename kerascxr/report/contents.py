"""What the report says, in sections of text, tables and figures; not how that looks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kerascxr.evaluation.metric_tables import added_measures
from kerascxr.evaluation.metrics import metric_title
from kerascxr.names import listed
from kerascxr.report import abstention, calibration, reference
from kerascxr.report.blocks import Block, Section, Tabulated
from kerascxr.report.curves import curve_sections
from kerascxr.report.data import data_sections, describe_data
from kerascxr.report.external import external_sections
from kerascxr.report.input_ablations import ablation_sections
from kerascxr.report.models import INTERVALS, classifier_section, segmenter_section
from kerascxr.report.repeats import read_repeats, repeat_sections
from kerascxr.report.summary import summary_section
from kerascxr.runs.reading import Run
from kerascxr.tables import Table, with_interval

_PARAMETER_HEADER = [
    "model",
    "total",
    "trainable",
    "non-trainable",
    "input MB",
    "forward/backward MB",
    "params MB",
    "estimated total MB",
]
_STUDY = "the reference study"
_RUNS_NOTE = (
    "Minutes of the last start to the end. A run's config.yaml, given with --config, repeats it."
)


def sections(runs: Sequence[Run], drawn: Path) -> list[Section]:
    """Lays out the report: the verdicts, then what they rest on, then each model.

    Args:
        runs: Finished runs.
        drawn: An existing folder; the figures of several tests or runs are drawn in it.

    Returns:
        The sections, in order.
    """
    classifiers = [run for run in runs if run.task == "classification"]
    segmenters = [run for run in runs if run.task == "segmentation"]
    repeats = read_repeats(runs)
    parts = [summary_section(runs, repeats, drawn)]
    if classifiers:
        parts.append(_results(classifiers))
    parts += repeat_sections(repeats)
    parts += external_sections(runs)
    for number, run in enumerate(classifiers, 1):
        parts += ablation_sections(run, f"classifier-{number}")
    parts += calibration.overview(classifiers)
    parts += abstention.overview(classifiers)
    parts += data_sections(runs)
    parts += curve_sections(runs, drawn)
    if classifiers:
        parts.append(_parameters(classifiers))
    parts += [classifier_section(run, number) for number, run in enumerate(classifiers, 1)]
    parts += [segmenter_section(run, number) for number, run in enumerate(segmenters, 1)]
    parts.append(_provenance(runs))
    return parts


def describe_weights(run: Run) -> str:
    """Says in a few words where a run's backbone weights came from."""
    weights = run.environment["weights"]
    kind = weights["kind"]
    named = {"imagenet": "ImageNet", "drawn": "drawn X-rays", "none": "random"}
    return named.get(kind, f"file {weights['description']}")


def _is_like_the_study(run: Run) -> bool:
    images = run.environment["data_fingerprint"]["images"]
    return images == reference.N_IMAGES and run.environment["weights"]["kind"] == "imagenet"


def _results(runs: Sequence[Run]) -> Section:
    added = added_measures([run.metrics["test"] for run in runs], reference.MEASURES)
    titles = [metric_title("classification", name) for name in added]
    header = ["model", "accuracy", "F1", "precision", "recall", "AUC", *titles]
    header += ["images", "backbone weights"]
    rows: list[list[Any]] = []
    muted = set()
    models = [(run.metrics["backbone"], run.metrics["depth"]) for run in runs]
    for run, model, after in zip(runs, models, [*models[1:], None], strict=True):
        test = run.metrics["test"]
        intervals = test.get("intervals", {})
        figures = [
            with_interval(test.get(measure), intervals.get(measure))
            for measure in (*reference.MEASURES, *added)
        ]
        rows.append([run.name, *figures, describe_data(run), describe_weights(run)])
        study = reference.METRICS.get(model)
        if study and model != after:  # once below the folds or seeds of a model
            muted.add(len(rows))
            others = [None] * len(added)
            rows.append([_STUDY, *study, *others, f"{reference.N_IMAGES:,} images", "ImageNet"])
    counts = sorted({run.metrics["test"]["n"] for run in runs})
    note = (
        f"On the test folds: {listed((f'{count:,}' for count in counts), 'or')} images that no "
        "training or choice of epoch has seen. F1, precision, recall and AUC are means over the "
        "classes."
    )
    if any("intervals" in run.metrics["test"] for run in runs):
        note += INTERVALS
    blocks: list[Block] = []
    if muted and not all(map(_is_like_the_study, runs)):
        blocks.append(
            "Compare the columns images and backbone weights: the reference study trained on the "
            "whole database from ImageNet weights. A row with other images or other weights is "
            "another experiment, and its distance from the study's row says nothing about either."
        )
    table = Table("Test metrics", header, rows)
    blocks.append(Tabulated(table, "metrics", note, frozenset(muted)))
    return Section("Classifiers: test metrics", blocks)


def _parameter_cells(run: Run) -> list[Any]:
    parameters = run.metrics["parameters"]
    sizes = ("input_mb", "forward_backward_mb", "params_mb", "estimated_total_mb")
    return [
        run.name,
        *(parameters[name] for name in ("total", "trainable", "non_trainable")),
        *(f"{parameters[name]:.2f}" for name in sizes),
    ]


def _parameters(runs: Sequence[Run]) -> Section:
    agreeing, known = 0, 0
    for run in runs:
        study = reference.PARAMETERS.get((run.metrics["backbone"], run.metrics["depth"]))
        parameters = run.metrics["parameters"]
        known += study is not None
        agreeing += study == tuple(
            parameters[name] for name in ("total", "trainable", "non_trainable")
        )
    note = "BatchNorm statistics and constants of normalisation are not counted. "
    if known:
        note += (
            f"{agreeing} of {known} {'row' if known == 1 else 'rows'} with a known count in the "
            f"reference study {'has' if agreeing == 1 else 'have'} exactly its counts."
        )
    table = Table(
        "Parameters, and memory for one image", _PARAMETER_HEADER, [*map(_parameter_cells, runs)]
    )
    return Section("Model sizes", [Tabulated(table, "parameters", note)])


def _regime(run: Run) -> str:
    """Says what a model was trained on, e.g. "cached features (openvino)"."""
    regime = run.environment["regime"]
    engine = regime["feature_engine"]
    if copies := regime["augmented_copies"]:
        number_type = ", bfloat16" if regime.get("copies_precision") == "bfloat16" else ""
        return f"{copies} cached augmented copies of each image ({engine}{number_type})"
    if engine:
        return f"{regime['trained_on']} ({engine})"
    return "images, augmented" if regime["augmentation"] else "images, not augmented"


def _provenance(runs: Sequence[Run]) -> Section:
    rows = [
        [
            run.name,
            run.environment["seed"],
            f"{run.metrics['epochs']} (best {run.metrics['best_epoch']})",
            f"{run.seconds / 60:.1f}",
            ", ".join(run.environment["regime"]["devices"]),
            run.environment["regime"]["precision"],
            _regime(run),
            run.environment["packages"]["tensorflow"],
            run.environment["packages"]["keras"],
        ]
        for run in runs
    ]
    header = ["run", "seed", "epochs", "minutes", "device", "precision"]
    header += ["trained on", "TensorFlow", "Keras"]
    table = Tabulated(Table("Runs", header, rows), "runs", _RUNS_NOTE)
    return Section("How it was made", [table])
