"""Pretraining on drawn X-rays: batches, targets, and weights that a classifier starts from."""

import contextlib
import json

import numpy as np
import pytest

from kerascxr.cli.main import main
from kerascxr.data.phantom.drawing import STRUCTURES, Drawing
from kerascxr.models.classifier import build_classifier
from kerascxr.models.weights import load_weights
from kerascxr.training import drawn_batches
from kerascxr.training.drawn_batches import CELL, DrawnBatches

SIZE = (64, 96)


def first(dataset, count):
    return [
        (images.numpy(), [target.numpy() for target in targets])
        for images, targets in dataset.take(count)
    ]


@pytest.fixture(scope="module")
def batches():
    return DrawnBatches((128, 128), SIZE, batch_size=4, crops=3, seed=5)


@pytest.fixture(scope="module")
def taken(batches):
    return first(batches.training(0), 6)


def test_batches_have_images_and_targets_of_their_sizes_and_ranges(taken):
    images, (early, late, presence) = taken[0]
    assert images.shape == (4, *SIZE, 3) and images.dtype == np.float32
    assert images.min() >= 0 and 100 < images.max() <= 255
    np.testing.assert_array_equal(images[..., 0], images[..., 2])
    assert early.shape == (4, SIZE[0] // CELL, SIZE[1] // CELL, len(STRUCTURES))
    np.testing.assert_array_equal(early, late)
    assert presence.shape == (4, 3)
    assert early.min() >= 0 and early.max() <= 1 and presence.min() == 0 and presence.max() == 1


def test_crops_of_the_same_drawings_differ_and_so_do_the_next_drawings(taken):
    images = [images for images, _ in taken]
    for number, other in enumerate(images[1:], 1):
        assert np.abs(images[number - 1] - other).mean() > 5


def test_a_resumed_training_gets_the_same_batches(batches, taken):
    for (images, targets), (again, same) in zip(
        taken[3:], first(batches.training(3), 3), strict=True
    ):
        np.testing.assert_array_equal(images, again)
        for target, other in zip(targets, same, strict=True):
            np.testing.assert_array_equal(target, other)


def test_maps_lie_where_their_structures_are(monkeypatch):
    """Drawings whose image shows one of their maps: both take the same way."""
    monkeypatch.setattr(drawn_batches, "_recolour", lambda images, draws, seed: images)
    drawn = Drawing.draw_with_structures

    def draw(self):
        _, planes = drawn(self)
        return planes[..., 0], planes

    monkeypatch.setattr(Drawing, "draw_with_structures", draw)
    for images, targets in first(DrawnBatches((128, 128), SIZE, 4, 2, 0).training(0), 2):
        rows, columns = SIZE[0] // CELL, SIZE[1] // CELL
        cells = images[..., 0].reshape(4, rows, CELL, columns, CELL).mean((2, 4)) / 255
        np.testing.assert_allclose(cells, targets[0][..., 0], atol=0.06)


def test_presence_is_of_the_findings_in_the_crop():
    images, targets = DrawnBatches((128, 128), (128, 128), 4, 1, 0).validation(8)
    assert images.shape == (8, 128, 128, 3)
    expected = np.zeros((8, 3))  # COVID, Lung_Opacity, Normal, Viral Pneumonia in turn
    expected[[0, 4], 0] = expected[[1, 5], 1] = expected[[3, 7], 2] = 1
    np.testing.assert_array_equal(targets[2] > 0.5, expected)


def test_validation_has_drawings_that_no_training_has(batches):
    images, _ = batches.validation(4)
    again, _ = batches.validation(4)
    np.testing.assert_array_equal(images, again)
    whole = DrawnBatches((128, 128), (128, 128), 4, 1, 5)
    trained = first(whole.training(0), 1)[0][0]
    assert np.abs(whole.validation(4)[0] - trained).mean() > 5


def test_a_classifier_starts_from_the_weights(tmp_path, capsys):
    argv = ["pretrain", "--backbone", "shufflenetv2_x0_5", "--image_size", "64,64"]
    argv += ["--crop_size", "32,32", "--crop_epochs", "1", "--epochs", "1", "--drawings", "4"]
    argv += ["--batch_size", "4", "--crops", "1", "--validation_images", "8"]
    argv += ["--runs", str(tmp_path), "--name", "small"]
    assert main(argv) == 0
    run = tmp_path / "pretraining" / "small"
    assert json.loads((run / "metrics.json").read_text())["backbone"] == "shufflenetv2_x0_5"
    model = build_classifier("shufflenetv2_x0_5", 4, image_size=(64, 64))
    before = model.get_layer("conv5_conv").get_weights()[0]
    used = load_weights(model, "shufflenetv2_x0_5", run / "backbone.weights.h5")
    assert used.kind == "file"
    assert np.abs(model.get_layer("conv5_conv").get_weights()[0] - before).max() > 0
    assert main(argv) == 0
    assert "holds this run, finished" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--crop_size", "40,64"], "crop_size must be multiples of 32"),
        (["--crop_size", "256,256"], "crop_size must not exceed image_size"),
        (["--drawings", "33"], "drawings must be a multiple of batch_size"),
        (["--backbone", "resnet"], "unknown backbone 'resnet'"),
    ],
)
def test_wrong_options_are_refused(options, message, tmp_path, capsys):
    with contextlib.suppress(SystemExit):
        assert main(["pretrain", "--runs", str(tmp_path), *options]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.rglob("config.yaml"))
