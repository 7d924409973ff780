"""The forest plot: every score with its interval, by the kind of test."""

import pytest

from kerascxr.plots.forest import EXTERNAL, Row, forest
from kerascxr.plots.style import BLUE, GREY, VERMILLION

pytestmark = pytest.mark.figures


def test_each_test_has_its_interval_and_external_ones_another_look(tmp_path):
    own = Row(
        "own test images",
        {"accuracy": (0.9, (0.8, 0.95)), "auc": (0.95, None)},
        chance={"accuracy": 0.4, "auc": 0.5},
    )
    other = Row("elsewhere, 77 images", {"accuracy": (0.6, (0.5, 0.7))}, EXTERNAL)
    groups = {"Model A": [own, other]}
    figure = forest(groups, {"accuracy": "Accuracy", "auc": "AUC"}, tmp_path / "a.png")
    accuracy, auc = figure.axes
    assert [line.get_color() for line in accuracy.lines] == [GREY, BLUE, BLUE, *[VERMILLION] * 2]
    assert list(accuracy.lines[1].get_xdata()) == [0.8, 0.95]
    assert accuracy.lines[2].get_marker() != accuracy.lines[4].get_marker()
    assert [text.get_text() for text in accuracy.texts] == [
        "0.900 [0.800, 0.950]",
        "0.600 [0.500, 0.700]",
    ]
    assert [text.get_text() for text in auc.texts] == ["0.950", "–"]
    assert {text.get_text() for text in figure.texts} == {"Model A", own.label, other.label}
    with pytest.raises(ValueError, match="at least one test"):
        forest({}, {"accuracy": "Accuracy"}, tmp_path / "b.png")


def test_a_long_label_does_not_reach_the_panel(tmp_path):
    figure = forest(
        {"unknown " * 12: [Row("own", {"dice": (0.9, None)})]}, {"dice": "Dice"}, tmp_path / "a.png"
    )
    label, alone = figure.texts
    assert alone.get_text() == ""
    assert label.get_window_extent().x1 < figure.axes[0].get_window_extent().x0
