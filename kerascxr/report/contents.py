"""What the report says, in sections of text, tables and figures; not how that looks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kerascxr.evaluation.metric_tables import class_table
from kerascxr.plots.comparison import Trained, all_curves, same_model_repeats
from kerascxr.report import calibration, reference
from kerascxr.report.blocks import Block, Figure, Section, Tabulated
from kerascxr.report.data import data_sections, describe_data
from kerascxr.report.external import external_sections
from kerascxr.report.input_ablations import ablation_sections
from kerascxr.report.limits import limits
from kerascxr.report.repeats import repeat_sections
from kerascxr.report.robustness import robustness_blocks
from kerascxr.runs.reading import Run
from kerascxr.tables import Table, format_value, with_interval

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
_INTERVALS = (
    " In brackets: 95% intervals, for which near-duplicates or one patient's images count as one. "
    "A score without brackets has too few images for an interval. Intervals say nothing of other "
    "seeds, splits or hospitals."
)


def sections(runs: Sequence[Run], drawn: Path) -> list[Section]:
    """Lays out the report.

    Args:
        runs: Finished runs.
        drawn: An existing folder; the figures of several tests or runs are drawn in it.

    Returns:
        The sections, in order.
    """
    classifiers = [run for run in runs if run.task == "classification"]
    segmenters = [run for run in runs if run.task == "segmentation"]
    parts = []
    if classifiers:
        parts.append(_results(classifiers))
        parts += calibration.overview(classifiers)
    parts += repeat_sections(runs)
    parts += data_sections(runs)
    if classifiers:
        parts.append(_parameters(classifiers))
        curves = drawn / "curves.png"
        all_curves([*map(_trained, classifiers)], curves)
        parts.append(_curves(classifiers, curves))
        for number, run in enumerate(classifiers, 1):
            parts.append(_classifier(run, number))
            parts += external_sections(run, f"classifier-{number}", drawn)
            parts += ablation_sections(run, f"classifier-{number}")
    for number, run in enumerate(segmenters, 1):
        parts.append(_segmenter(run, number))
        parts += external_sections(run, f"unet-{number}", drawn)
    parts.append(_provenance(runs))
    return parts


def describe_weights(run: Run) -> str:
    """Says in a few words where a run's backbone weights came from."""
    weights = run.environment["weights"]
    kind = weights["kind"]
    return {"imagenet": "ImageNet", "none": "random"}.get(kind, f"file {weights['description']}")


def _is_like_the_study(run: Run) -> bool:
    images = run.environment["data_fingerprint"]["images"]
    return images == reference.N_IMAGES and run.environment["weights"]["kind"] == "imagenet"


def _results(runs: Sequence[Run]) -> Section:
    header = ["model", "accuracy", "F1", "precision", "recall", "AUC", "images", "backbone weights"]
    rows: list[list[Any]] = []
    muted = set()
    for run in runs:
        test = run.metrics["test"]
        intervals = test.get("intervals", {})
        figures = [
            with_interval(test[measure], intervals.get(measure)) for measure in reference.MEASURES
        ]
        rows.append([run.name, *figures, describe_data(run), describe_weights(run)])
        study = reference.METRICS.get((run.metrics["backbone"], run.metrics["depth"]))
        if study:
            muted.add(len(rows))
            rows.append([_STUDY, *study, f"{reference.N_IMAGES:,} images", "ImageNet"])
    counts = sorted({run.metrics["test"]["n"] for run in runs})
    note = (
        f"On the test folds: {' or '.join(f'{count:,}' for count in counts)} images that no "
        "training or choice of epoch has seen. F1, precision, recall and AUC are means over the "
        "classes."
    )
    if any("intervals" in run.metrics["test"] for run in runs):
        note += _INTERVALS
    blocks: list[Block] = []
    if muted and not all(map(_is_like_the_study, runs)):
        blocks.append(
            "Compare the columns images and backbone weights: the reference study trained on the "
            "whole database from ImageNet weights. A row with other images or other weights is "
            "another experiment, and its distance from the study's row says nothing about either."
        )
    table = Table("Test metrics", header, rows)
    blocks.append(Tabulated(table, "metrics", note, frozenset(muted)))
    return Section("Classification: results", blocks)


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
            f"{agreeing} of the {known} rows with a known count in the reference study have "
            "exactly its counts."
        )
    table = Table(
        "Parameters, and memory for one image", _PARAMETER_HEADER, [*map(_parameter_cells, runs)]
    )
    return Section("Models", [Tabulated(table, "parameters", note)])


def _trained(run: Run) -> Trained:
    """Returns what the figure of all curves needs of a classifier's run."""
    metrics = run.metrics
    folder = run.path.name
    return Trained(run.name, str(metrics["backbone"]), metrics["depth"], folder, run.history)


def _curves(runs: Sequence[Run], path: Path) -> Section:
    ends = "; ".join(
        f"{run.name}: validation accuracy {run.history[-1]['val_accuracy']:.3f} and loss "
        f"{run.history[-1]['val_loss']:.3f} after epoch {len(run.history)}"
        for run in runs
    )
    look = (
        "Each run has its own colour and line style; a label ends in the run's folder."
        if same_model_repeats([*map(_trained, runs)])
        else "The colour is the depth, the line style the backbone."
    )
    figure = Figure(
        path,
        "curves",
        f"Four panels over epochs: training and validation accuracy and loss. {ends}.",
        f"All models together. {look}",
        wide=True,
    )
    return Section("Learning curves", [figure])


def _classifier(run: Run, number: int) -> Section:
    test, best = run.metrics["test"], run.metrics["best_epoch"]
    alts = {
        "accuracy": f"Accuracy over epochs in training and validation; best epoch {best}.",
        "loss": f"Loss over epochs in training and validation; best epoch {best}.",
        "confusion_matrix": "Confusion matrix. "
        + "; ".join(
            f"of {sum(row)} {name}, {row[index]} recognised"
            for index, (name, row) in enumerate(
                zip(test["classes"], test["confusion_matrix"], strict=True)
            )
        )
        + ".",
        "roc_and_precision_recall": "ROC and precision-recall curves by class. AUC: "
        + ", ".join(
            f"{name} {row['auc']:.3f}"
            for name, row in test["per_class"].items()
            if row["auc"] is not None
        )
        + ".",
        "sample_predictions": "Test images with predicted class and confidence.",
        "grad_cam": "For each class, its test image with the highest probability of that class, "
        "and the same with a map of where the evidence lies.",
    }
    captions = {
        "accuracy": "Accuracy",
        "loss": "Loss",
        "confusion_matrix": "Confusion matrix of the test",
        "roc_and_precision_recall": "ROC and precision-recall curves of the test",
        "sample_predictions": "Sample predictions of the test",
        "grad_cam": "Grad-CAM: where the evidence for a class lies, in its most confident image",
    }
    figures = _figures(run, f"classifier-{number}", alts, captions)
    table = Tabulated(class_table(test), f"classes-{number}")
    calibrated = calibration.blocks_of(run, f"classifier-{number}")
    robustness = robustness_blocks(run, f"classifier-{number}")
    blocks = [table, *figures, *calibrated, *robustness]
    return Section(run.name, blocks, level=3)


def _segmenter(run: Run, number: int) -> Section:
    test, before = run.metrics["test"], run.metrics["test_all_components"]
    rows = [
        [
            name,
            *(_mean(of, key) for key in ("dice", "iou", "hd95", "assd")),
            with_interval(of["pooled_dice"], of.get("intervals", {}).get("pooled_dice")),
        ]
        for name, of in (("as used", test), ("before removing small components", before))
    ]
    header = ["mask", "Dice", "IoU", "HD95 (pixels)", "ASSD (pixels)", "pooled Dice"]
    note = (
        f"{test['n']:,} test images; mean ± standard deviation over images. Threshold "
        f"{run.metrics['threshold']}, chosen on validation. Two empty masks count as Dice 1: "
        f"{test['empty_pairs']} such pairs. {describe_data(run)}."
    )
    if "intervals" in test:
        note += _INTERVALS
    blocks: list[Block] = [Tabulated(Table("Test metrics", header, rows), f"unet-{number}", note)]
    cells = run.metrics.get("stages")
    if cells:
        headings = ["stage", "channels", "output size", "operation", "parameters"]
        total = f"{run.metrics['parameters']['total']:,} parameters, moving statistics aside."
        blocks.append(Tabulated(Table("Stages", headings, cells), f"unet-{number}-stages", total))
    alts = {
        "loss": f"Loss over epochs at full size; best epoch {run.metrics['best_epoch']}.",
        "dice": f"Dice over epochs at full size; best epoch {run.metrics['best_epoch']}.",
        "sample_predictions": "Best, median and worst test image: image, true mask, predicted "
        "mask, and where the two disagree.",
    }
    captions = {"loss": "Loss", "dice": "Dice"}
    captions["sample_predictions"] = "Best, median and worst prediction of the test"
    if run.coarse_history:
        end = run.coarse_history[-1]
        blocks.append(
            f"Trained for {len(run.coarse_history)} epochs at half the size first, to a "
            f"validation Dice of {end['val_dice']:.4f}; the curves show what followed."
        )
    figures = _figures(run, f"unet-{number}", alts, captions)
    robustness = robustness_blocks(run, f"unet-{number}")
    return Section(f"Segmentation: {run.name}", [*blocks, *figures, *robustness])


def _mean(of: dict[str, Any], key: str) -> str:
    mean = f"{format_value(of[key])} ± {format_value(of[f'{key}_std'])}"
    return with_interval(mean, of.get("intervals", {}).get(key))


def _figures(run: Run, prefix: str, alts: dict[str, str], captions: dict[str, str]) -> list[Figure]:
    found = {name: run.figure(name) for name in alts}
    return [
        Figure(
            path,
            f"{prefix}-{name}",
            f"{run.name}. {alts[name]}",
            captions[name],
            wide=name in ("sample_predictions", "grad_cam"),
        )
        for name, path in found.items()
        if path
    ]


def _regime(run: Run) -> str:
    """Says what a model was trained on, e.g. "cached features (openvino)"."""
    regime = run.environment["regime"]
    engine = regime["feature_engine"]
    if copies := regime["augmented_copies"]:
        return f"{copies} cached augmented copies of each image ({engine})"
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
    return Section("How it was made", [table, limits(runs)])
