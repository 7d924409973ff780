"""Tests that are not marked ``figures`` draw none; wrong arguments fail there, too."""

import pytest

from kerascxr.plots import curves
from kerascxr.runs.folder import RunFolder

ROWS = [{"epoch": 1, "loss": 0.5, "val_loss": 0.6}]


def draw(folder, **options):
    with RunFolder(folder).figure("loss") as path:
        curves.training_curves(ROWS, path, what="loss", **options)
    return (folder / "figures/loss.png").stat().st_size


def test_unmarked_a_pixel_is_written_and_wrong_arguments_fail(tmp_path):
    assert draw(tmp_path, title="a") < 100
    with pytest.raises(TypeError, match="colour"):
        draw(tmp_path, title="a", colour="red")


@pytest.mark.figures
def test_marked_the_figure_is_drawn(tmp_path):
    assert draw(tmp_path, title="a") > 5000
