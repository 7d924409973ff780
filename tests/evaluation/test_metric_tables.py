"""Tables of a run's metrics show what metrics.json has, under the registry's labels."""

import re

import numpy as np

from kerascxr.evaluation import classification, segmentation, uncertainty
from kerascxr.evaluation.metric_tables import metric_tables, metrics_markdown, metrics_text

TRUTH = np.array([0, 0, 1, 1, 1])
PROBABILITIES = np.array(
    [[0.9, 0.1, 0], [0.2, 0.8, 0], [0.1, 0.9, 0], [0.3, 0.7, 0], [0.6, 0.4, 0]]
)
SCORES = classification.evaluate(TRUTH, PROBABILITIES, ["COVID", "Lung_Opacity", "Viral Pneumonia"])


def test_classification_metrics_are_all_shown():
    text = metrics_text(SCORES)
    for line in ("images", "accuracy", "macro precision", "macro recall", "macro F1", "macro AUC"):
        assert f"\n{line} " in text
    assert "absent classes (not averaged)  Viral Pneumonia" in text
    lines = dict(line.split(maxsplit=1) for line in text.split("\n") if line.startswith("accuracy"))
    assert lines["accuracy"] == f"{SCORES['accuracy']:.4f}"
    titles = [table.title for table in metric_tables(SCORES)]
    assert titles[:2] == ["Overall", "By class"]
    header = ["class", "precision", "recall", "F1", "AUC", "specificity", "images"]
    assert metric_tables(SCORES)[1].header == header
    assert metric_tables(SCORES)[2].rows == [
        ["COVID", 1, 1, 0],
        ["Lung_Opacity", 1, 2, 0],
        ["Viral Pneumonia", 0, 0, 0],
    ]


def test_intervals_are_shown_where_there_are_some():
    classes = SCORES["classes"]
    intervals = uncertainty.classification_intervals(TRUTH, PROBABILITIES, classes, list("abcde"))
    overall, by_class = metric_tables(SCORES | {"intervals": intervals})[:2]
    low, high = intervals["accuracy"]
    assert dict(overall.rows)["accuracy"] == f"0.6000 [{low:.3f}, {high:.3f}]"
    assert dict(overall.rows)["images"] == 5
    low, high = intervals["per_class"]["COVID"]["recall"]
    assert by_class.rows[0][2] == f"0.5000 [{low:.3f}, {high:.3f}]"
    assert by_class.rows[2][2] is None  # an absent class has no recall
    assert metric_tables(SCORES)[0].rows[1] == ["accuracy", SCORES["accuracy"]]


def test_metrics_markdown():
    text = metrics_markdown(SCORES, "Run a_b")
    assert text.startswith("# Run a\\_b\n\n## Overall\n\n| measure")
    assert text.endswith("|\n")
    [line] = [line for line in text.split("\n") if re.match(r"\| Viral Pneumonia \| +– ", line)]
    assert "–" in line  # never predicted, so its precision is undefined


def test_segmentation_metrics_show_mean_and_deviation():
    mask = np.eye(6, dtype=bool)
    _, summary = segmentation.evaluate(
        [mask, mask, ~mask], [mask, ~mask, ~mask & mask], labels=["x", "y", "x"]
    )
    rows = dict(metric_tables(summary)[0].rows)
    assert rows["Dice"] == f"{summary['dice']:.4f} ± {summary['dice_std']:.4f}"
    assert rows["undefined distances"] == 1
    assert not any("std" in name for name in rows)
    assert [row[0] for row in metric_tables(summary)[1].rows] == ["x", "y"]
    assert len(metric_tables(summary)) == 2
