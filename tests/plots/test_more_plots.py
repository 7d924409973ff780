"""Figures of data, of evidence, and of several runs: drawn, told apart, refused where empty."""

import dataclasses
import importlib.resources

import numpy as np
import pytest
from PIL import Image

from kerascxr.plots.comparison import Trained, all_curves, short_names
from kerascxr.plots.heat import evidence_grid, heat_overlay
from kerascxr.plots.samples import class_samples

pytestmark = pytest.mark.figures

IMAGE = np.tile(np.arange(0, 240, 6, dtype=np.uint8), (40, 1))


def run(backbone, depth, best, folder="run"):
    history = [
        {"epoch": e, "accuracy": best - 1 / e, "val_accuracy": best - 1.2 / e}
        | {"loss": 1 / e, "val_loss": 40.0 if e == 2 else 1.2 / e}
        for e in range(1, 31)
    ]
    return Trained(f"{backbone}, depth {depth}", backbone, depth, folder, history)


def test_all_curves_are_there_and_named(tmp_path):
    runs = [run("efficientnetb0", d, 0.9 + d / 50) for d in (0, 1, 2)]
    runs += [run("shufflenetv2_x1_0", d, 0.7 + d / 50) for d in (0, 1, 2)]
    figure = all_curves(runs, tmp_path / "curves.png")
    assert len(figure.axes) == 4
    for axes in figure.axes:
        looks = {(line.get_color(), line.get_linestyle()) for line in axes.lines}
        assert len(looks) == len(axes.lines) == 6
        ends = {text.get_text(): text.get_position()[1] for text in axes.texts}
        assert set(ends) == {f"{run.backbone} depth {run.depth}" for run in runs}
        heights = sorted(ends.values())
        assert min(np.diff(heights)) > 0.05, "names overlap"
    _, validation_accuracy, _, validation_loss = figure.axes
    ends = {text.get_text(): text.get_position()[1] for text in validation_accuracy.texts}
    order = [
        *("efficientnetb0 depth 2", "efficientnetb0 depth 0"),
        *("shufflenetv2_x1_0 depth 2", "shufflenetv2_x1_0 depth 0"),
    ]
    assert sorted(order, key=ends.get, reverse=True) == order
    assert validation_loss.get_ylim()[1] < 10, "one peak flattens all curves"
    assert len(figure.legends[0].get_texts()) == 6
    with pytest.raises(ValueError, match="at least one classifier"):
        all_curves([], tmp_path / "curves.png")


def test_folds_of_one_model_are_distinguishable(tmp_path):
    runs = [run("efficientnetb0", 0, 0.9, f"fold{index}") for index in range(5)]
    figure = all_curves(runs, tmp_path / "curves.png")
    for axes in figure.axes:
        assert len({(line.get_color(), line.get_linestyle()) for line in axes.lines}) == 5
        assert {text.get_text() for text in axes.texts} == {f"depth 0 fold{i}" for i in range(5)}


def test_short_names():
    assert short_names([run("efficientnetb0", 1, 1), run("shufflenetv2_x0_5", "all", 1)]) == [
        "efficientnetb0 depth 1",
        "shufflenetv2_x0_5 depth all",
    ]
    repeats = short_names([run("efficientnetb0", 1, 1)] * 2)
    assert repeats == ["depth 1 run (1)", "depth 1 run (2)"]


def test_a_run_of_one_epoch_has_a_marker(tmp_path):
    long = run("efficientnetb0", 0, 0.9)
    short = dataclasses.replace(long, depth=1, history=long.history[:1])
    for axes in all_curves([long, short], tmp_path / "curves.png").axes:
        assert [line.get_marker() for line in axes.lines] == ["", "o"]


@pytest.mark.parametrize("name", ["M", "ShuffleNetV2 x0.5, depth all (killed)", "x" * 120])
def test_the_legend_is_inside_the_figure(tmp_path, name):
    one = run("efficientnetb0", 0, 0.9)
    runs = [dataclasses.replace(one, name=name, folder=f"fold{index}") for index in range(7)]
    figure = all_curves(runs, tmp_path / "curves.png")
    [legend] = figure.legends
    box, whole = legend.get_window_extent(), figure.bbox
    assert whole.x0 <= box.x0 and box.x1 <= whole.x1


def test_figures_know_nothing_of_run_folders():
    folder = importlib.resources.files("kerascxr.plots")
    for path in folder.iterdir():
        if path.name.endswith(".py"):
            assert "kerascxr.runs" not in path.read_text(encoding="utf-8"), path.name


def test_samples_have_a_row_a_class(tmp_path):
    path = tmp_path / "a.png"
    figure = class_samples({"COVID": [IMAGE] * 3, "Viral Pneumonia": [IMAGE]}, path)
    assert len(figure.axes) == 4
    assert [text.get_text() for text in figure.texts] == ["COVID", "Viral\nPneumonia"]
    assert Image.open(path).size[0] == 1350
    with pytest.raises(ValueError, match="at least one image"):
        class_samples({}, path)


def test_heat_colours_where_it_is_and_nowhere_else():
    heat = np.zeros(IMAGE.shape)
    heat[10:20, 10:20] = 1
    picture = heat_overlay(IMAGE, heat)
    away = heat == 0
    np.testing.assert_array_equal(picture[away], np.repeat(IMAGE[away][:, None], 3, 1))
    red, _, blue = picture[15, 15].astype(int)
    assert red != blue
    with pytest.raises(ValueError, match="one shape"):
        heat_overlay(IMAGE, heat[:-1])


def test_evidence_stands_below_its_image(tmp_path):
    heats = [np.full(IMAGE.shape, value) for value in (0.1, 0.9)]
    figure = evidence_grid([IMAGE, IMAGE], heats, ["COVID 98%", "Normal 50%"], tmp_path / "a.png")
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert sorted(titles) == ["", "", "COVID 98%", "Normal 50%"]
    with pytest.raises(ValueError, match="equally many"):
        evidence_grid([IMAGE], heats, ["a"], tmp_path / "a.png")
