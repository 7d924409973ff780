"""Figures of data and of evidence: drawn, told apart, refused where empty."""

import importlib.resources

import numpy as np
import pytest
from PIL import Image

from kerascxr.plots.heat import Evidence, evidence_grid, heat_overlay
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


def test_evidence_stands_below_its_image_beside_a_bar_of_colours(tmp_path):
    heats = [np.full(IMAGE.shape, value) for value in (0.1, 0.0)]
    titles = ["truth: COVID\npredicted: COVID 98%", "truth: Normal\npredicted: COVID 50%"]
    correct, wrong = (
        Evidence(IMAGE, found, title) for found, title in zip(heats, titles, strict=True)
    )
    rows = {"correct": [correct, None], "wrong": [None, wrong]}
    figure = evidence_grid(rows, tmp_path / "a.png")
    *panels, bar = figure.axes
    assert [len(axes.images) for axes in panels] == [1, 0, 1, 0, 0, 1, 0, 1]
    shown = [axes.get_title(loc="left") for axes in panels]
    assert [title for title in shown if title] == [*titles, "no evidence for this class"]
    assert [text.get_text() for axes in panels for text in axes.texts] == [
        "correct: none",
        "wrong: none",
    ]
    assert bar.get_ylim() == (0, 1) and "maximum" in bar.get_ylabel()
    with pytest.raises(ValueError, match="equally long"):
        evidence_grid({"correct": [correct], "wrong": []}, tmp_path / "a.png")
