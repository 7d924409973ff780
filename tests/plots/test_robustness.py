"""The robustness figure: a panel a corruption on one scale, every score with its interval."""

import pytest

from kerascxr.plots.robustness import Point, severity_curves

pytestmark = pytest.mark.figures


def test_each_corruption_has_its_panel_with_intervals(tmp_path):
    scores = {
        name: [Point(0.8 - step / 10, (0.7 - step / 10, 0.9 - step / 10)) for step in range(5)]
        for name in ("noise", "blur", "shift", "gamma", "jpeg")
    }
    scores["noise"][4] = Point(0.1)
    figure = severity_curves(
        Point(0.9, (0.85, 0.95)), scores, tmp_path / "a.png", what="accuracy", title="Model"
    )
    panels = [axes for axes in figure.axes if axes.lines]
    assert [axes.get_title(loc="left") for axes in panels] == list(scores)
    assert len({axes.get_ylim() for axes in panels}) == 1
    noise, blur, *_ = panels
    # The clean line, the curve, and a bar for each interval.
    assert (len(noise.lines), len(blur.lines)) == (2 + 4, 2 + 5)
    assert list(blur.lines[2].get_ydata()) == [0.7, 0.9]
    with pytest.raises(ValueError, match="at least one corruption"):
        severity_curves(Point(0.9), {}, tmp_path / "a.png", what="accuracy", title="Model")
