"""Each model in the report: its classes, figures, calibration and robustness."""

from typing import Any

from kerascxr.evaluation.metric_tables import class_table, linear_probe_text
from kerascxr.report import abstention, calibration
from kerascxr.report.blocks import Block, Figure, Section, Tabulated
from kerascxr.report.data import describe_data
from kerascxr.report.robustness import robustness_blocks
from kerascxr.runs.reading import Run
from kerascxr.tables import Table, capitalised, format_value, with_interval

_XRAYS = ("sample_predictions", "grad_cam")
INTERVALS = (
    " In brackets: 95% intervals, for which near-duplicates or one patient's images count as one. "
    "A score without brackets has too few images for an interval. Intervals say nothing of other "
    "seeds, splits or hospitals."
)


def classifier_section(run: Run, number: int) -> Section:
    """Lays out a classifier's test.

    Args:
        run: A finished classification run.
        number: Its place in the report, for names of tables and figures.
    """
    test = run.metrics["test"]
    alts = {
        "confusion_matrix": "Confusion matrix. "
        + "; ".join(
            f"of {sum(row)} {name}, {row[index]} classified correctly"
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
        "sample_predictions": "Test images with predicted class and probability.",
        "grad_cam": "Grad-CAM of a typical correct and of the most confident wrong test image of "
        "each class.",
    }
    captions = {
        "confusion_matrix": "Confusion matrix of the test images.",
        "roc_and_precision_recall": "ROC and precision-recall curves of the test images.",
        "sample_predictions": "Test images with the predicted class and its probability.",
        "grad_cam": "Grad-CAM for the predicted class. Above: for each true class, the correct "
        "image of median confidence. Below: the most confident error. A map shows where the model "
        "found evidence, not whether that evidence is the disease.",
    }
    label = f"classifier-{number}"
    figures = _figures(run, label, alts, captions)
    table = Tabulated(class_table(test), f"classes-{number}")
    calibrated = calibration.blocks_of(run, label)
    decided = abstention.blocks_of(run, label)
    about = run.metrics.get("linear_probe")
    parts = [linear_probe_text(about)] if about else []
    blocks = [table, *parts, *figures, *calibrated, *decided, *robustness_blocks(run, label)]
    return Section(run.name, blocks)


def segmenter_section(run: Run, number: int) -> Section:
    """Lays out a U-Net's test.

    Args:
        run: A finished segmentation run.
        number: Its place in the report, for names of tables and figures.
    """
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
        f"{test['empty_pairs']} such pairs. HD95 and ASSD leave out images where one mask is "
        f"empty: {test['undefined_distances']}. {capitalised(describe_data(run))}."
    )
    if "intervals" in test:
        note += INTERVALS
    blocks: list[Block] = [Tabulated(Table("Test metrics", header, rows), f"unet-{number}", note)]
    alts = {
        "sample_predictions": "Best, median and worst test image: image, true mask, predicted "
        "mask, and where the two disagree.",
    }
    captions = {"sample_predictions": "Best, median and worst test image by Dice."}
    if run.coarse_history:
        choose, monitor = (min, "loss") if run.config.get("monitor") == "loss" else (max, "dice")
        best = choose(run.coarse_history, key=lambda row: row[f"val_{monitor}"])
        blocks.append(
            f"Trained for {len(run.coarse_history)} epochs at half the size first, to a "
            f"validation Dice of {best['val_dice']:.4f} in epoch {best['epoch']}, whose weights go "
            "on; the learning curves show what followed."
        )
    cells = run.metrics.get("stages")
    if cells:
        headings = ["stage", "channels", "output size", "operation", "parameters"]
        total = f"{run.metrics['parameters']['total']:,} parameters, moving statistics aside."
        blocks.append(
            Tabulated(Table("Stages", headings, cells), f"unet-{number}-stages", total, beside=True)
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
            wide=name in _XRAYS,
            xray=name in _XRAYS,
            beside=True,
        )
        for name, path in found.items()
        if path
    ]
