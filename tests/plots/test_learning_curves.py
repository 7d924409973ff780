"""Learning curves: a panel a model, one scale, folds of one model together."""

import numpy as np
import pytest

from kerascxr.plots.learning_curves import MOST_MODELS, Model, learning_curves
from kerascxr.plots.style import BLUE, VERMILLION

pytestmark = pytest.mark.figures


def history(best, epochs=30):
    return [
        {"epoch": e, "accuracy": best - 1 / e, "val_accuracy": best - 1.2 / e}
        | {"loss": 1 / e, "val_loss": 40.0 if e == 2 else 1.2 / e}
        for e in range(1, epochs + 1)
    ]


def model(name, *bests):
    return Model(name, [history(best) for best in bests], [20] * len(bests))


def test_every_model_has_its_panels_on_one_scale(tmp_path):
    models = [model(f"model {place}", 0.8 + place / 50) for place in range(6)]
    figure = learning_curves(models, tmp_path / "curves.png")
    panels = [axes for axes in figure.axes if axes.lines]
    assert len(panels) == 12
    titles = [axes.get_title(loc="left") for axes in panels]
    assert sorted(filter(None, titles)) == [of.name for of in models]
    accuracy = [axes for axes in panels if axes.get_title(loc="left")]
    assert len({axes.get_ylim() for axes in accuracy}) == 1
    for axes in accuracy:
        training, validation, ring = axes.lines
        assert (training.get_color(), validation.get_color()) == (BLUE, VERMILLION)
        assert training.get_linestyle() != validation.get_linestyle()
        assert list(ring.get_xdata()) == [20]
    loss = next(axes for axes in panels if axes not in accuracy)
    assert loss.get_ylim()[1] < 10, "one peak flattens all curves"
    assert loss.get_title(loc="right") == "up to 40, cut off"


def test_folds_share_a_panel_and_have_a_mean(tmp_path):
    bests = (0.7, 0.8, 0.9)
    figure = learning_curves([model("model", *bests)], tmp_path / "curves.png")
    accuracy = figure.axes[0]
    assert accuracy.get_title(loc="left") == "model (3 runs)"
    bold = [line for line in accuracy.lines if line.get_linewidth() == 2]
    pale = [line for line in accuracy.lines if (line.get_alpha() or 1) < 0.5]
    assert (len(bold), len(pale)) == (2, 6)
    np.testing.assert_allclose(bold[1].get_ydata()[-1], np.mean(bests) - 1.2 / 30)
    assert "mean" in figure.legends[0].get_texts()[-1].get_text()
    legend, page = figure.legends[0].get_window_extent(), figure.bbox
    assert page.x0 <= legend.x0 and legend.x1 <= page.x1, "the legend is cut off"


def test_a_mean_ends_where_a_fold_ends(tmp_path):
    both = Model("model", [history(0.9, 8), history(0.8, 5)], [8, 5])
    figure = learning_curves([both], tmp_path / "curves.png")
    bold = [line for line in figure.axes[0].lines if line.get_linewidth() == 2]
    assert [line.get_xdata()[-1] for line in bold] == [5, 5]


def test_a_run_of_one_epoch_has_a_marker(tmp_path):
    short = Model("model", [history(0.9, 1)], [1])
    training, validation, _ = learning_curves([short], tmp_path / "curves.png").axes[0].lines
    assert training.get_marker() == validation.get_marker() == "o"


@pytest.mark.parametrize("count", [0, MOST_MODELS + 1])
def test_too_few_or_too_many_models_are_refused(tmp_path, count):
    with pytest.raises(ValueError, match="models must be 1 to"):
        learning_curves([model("model", 0.9)] * count, tmp_path / "curves.png")
