"""Figures of data and of evidence: drawn, told apart, refused where empty."""

import importlib.resources

import numpy as np
import pytest
from PIL import Image

from kerascxr.plots.heat import evidence_grid, heat_overlay
from kerascxr.plots.samples import class_samples

pytestmark = pytest.mark.figures

IMAGE = np.tile(np.arange(0, 240, 6, dtype=np.uint8), (40, 1))


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
