"""The figure of internal and external tests."""

import pytest

from kerascxr.plots.external import Score, internal_and_external
from kerascxr.plots.style import BLUE, VERMILLION

pytestmark = pytest.mark.figures


def test_each_set_has_its_interval_and_external_ones_another_look(tmp_path):
    scores = [Score("internal", 0.9, (0.8, 0.95), False), Score("other", 0.6, None, True)]
    figure = internal_and_external(scores, "accuracy", tmp_path / "a.png")
    [axes] = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["internal", "other"]
    assert [line.get_color() for line in axes.lines] == [BLUE, BLUE, VERMILLION, VERMILLION]
    assert list(axes.lines[0].get_xdata()) == [0.8, 0.95]
    assert axes.lines[1].get_marker() != axes.lines[3].get_marker()
    with pytest.raises(ValueError, match="at least one test"):
        internal_and_external([], "accuracy", tmp_path / "b.png")
