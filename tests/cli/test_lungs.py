"""``kerascxr lungs``: masks by the package's lung model, or by a run of one's own."""

import csv

import numpy as np
import pytest
from PIL import Image

from kerascxr.__main__ import main
from kerascxr.evaluation.segmentation import score_image
from kerascxr.models import lung_model
from kerascxr.serving.loaded_run import load_run
from tests.support.unet_stages import WHOLE, set_stages


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Two drawn chests and their masks."""
    from kerascxr.data.sources.open import open_source

    folder = tmp_path_factory.mktemp("images")
    examples = open_source("phantom", phantom_images=80, phantom_seed=3).examples[::40]
    masks = []
    for number, example in enumerate(examples):
        pixels, mask = example.image.draw()
        Image.fromarray(pixels).save(folder / f"{number}.png")
        masks.append(mask > 0)
    return folder, masks


def table(to):
    with (to / "lungs.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_packages_model_finds_both_lungs_and_is_named(images, tmp_path, messages, monkeypatch):
    folder, truths = images
    set_stages(monkeypatch, WHOLE)
    assert main(["lungs", str(folder), "--to", str(tmp_path)]) == 0
    title = lung_model.read_card()["title"]
    said = f"Lung masks: by the lung model that comes with kerascxr ({title})."
    assert messages().count(said) == 1
    for row, truth in zip(table(tmp_path), truths, strict=True):
        mask = np.asarray(Image.open(tmp_path / row["mask"])) > 0
        assert score_image(truth, mask)["dice"] > 0.6  # of drawings, which it never met
        assert float(row["lung_fraction"]) == pytest.approx(mask.mean())
        assert min(int(row["right_lung_pixels"]), int(row["left_lung_pixels"])) > 0
        assert (tmp_path / row["mask"].replace("masks/", "overlays/")).exists()


def test_a_run_of_ones_own_wins(images, runs, tmp_path, messages):
    folder, _ = images
    command = ["lungs", str(folder), "--to", str(tmp_path), "--overlays", "false"]
    assert main([*command, "--lungs", str(runs[1])]) == 0
    naming = [message for message in messages() if "comes with kerascxr" in message]
    assert all(message.startswith("The U-Net of ") and "is poor" in message for message in naming)
    assert not (tmp_path / "overlays").exists()
    expected = load_run(runs[1]).predict([folder / "0.png", folder / "1.png"]).masks
    for row, mask in zip(table(tmp_path), expected, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / row["mask"])) > 0, mask)


def test_without_the_packages_model_there_is_one_line(images, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(lung_model, "FOLDER", tmp_path / "none")
    assert main(["lungs", str(images[0]), "--to", str(tmp_path / "out")]) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert "the package's lung model cannot be used: it has no card.json" in line
    assert not (tmp_path / "out").exists()
