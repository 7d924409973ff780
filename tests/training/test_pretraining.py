"""Pretraining on drawn X-rays: batches, targets, and weights that a classifier starts from."""

import contextlib
import json

import numpy as np
import pytest
from scipy import ndimage

from kerascxr.cli.main import main
from kerascxr.data.phantom.drawing import STRUCTURES, Drawing
from kerascxr.models.backbones import BACKBONES
from kerascxr.models.classifier import build_classifier
from kerascxr.models.layers import FusedBatchNormalization
from kerascxr.models.weights import load_weights
from kerascxr.training import drawn_batches
from kerascxr.training.drawn_batches import CELLS, DrawnBatches, Exaggeration
from kerascxr.training.pretraining import (
    adopt_statistics,
    build_pretraining_model,
    for_pretraining,
)
from tests.support.tiny_backbone import FOUR_STAGES

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
    images, (*maps, late, presence) = taken[0]
    assert images.shape == (4, *SIZE, 3) and images.dtype == np.float32
    assert images.min() >= 0 and 100 < images.max() <= 255
    np.testing.assert_array_equal(images[..., 0], images[..., 2])
    for cell, of in zip(CELLS, maps, strict=True):
        assert of.shape == (4, SIZE[0] // cell, SIZE[1] // cell, len(STRUCTURES))
        assert of.min() >= 0 and of.max() <= 1
    np.testing.assert_array_equal(maps[-1], late)
    assert presence.shape == (4, 3)
    assert presence.min() == 0 and presence.max() == 1


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
        for cell, maps in zip(CELLS, targets, strict=False):
            rows, columns = SIZE[0] // cell, SIZE[1] // cell
            cells = images[..., 0].reshape(4, rows, cell, columns, cell).mean((2, 4)) / 255
            # Small cells differ at edges: a map is made at half of the image's size.
            np.testing.assert_allclose(cells, maps[..., 0], atol={4: 0.4, 8: 0.2, 16: 0.06}[cell])
            assert np.abs(cells - maps[..., 0]).mean() < 0.02


def test_images_of_a_chest_differ_in_the_lungs_alone(monkeypatch):
    monkeypatch.setattr(drawn_batches, "_recolour", lambda images, draws, seed: images)
    for images, (fine, *_, presence) in first(
        DrawnBatches((128, 128), (128, 128), 4, 2, 0).training(0), 2
    ):
        covid, opacity, normal, viral = images[..., 0]
        np.testing.assert_array_equal(presence, [[1, 0, 0], [0, 1, 0], [0, 0, 0], [0, 0, 1]])
        lungs = ndimage.maximum_filter(fine[2, ..., 0], 5) > 0  # cells of 4 pixels
        outside = ~np.kron(lungs, np.ones((4, 4), bool))
        assert outside.mean() > 0.1
        for ill in (covid, opacity, viral):
            np.testing.assert_allclose(ill[outside], normal[outside], atol=1)
            assert np.abs(ill - normal)[~outside].max() > 10


def test_findings_are_exaggerated_at_first_and_less_and_less():
    strengths = []
    for most in (1.0, 3.0):
        batches = DrawnBatches((128, 128), (128, 128), 4, 1, 0, Exaggeration(most, fading=4))
        strengths.append(
            [
                np.abs(
                    np.subtract(*(pixels.astype(int) for pixels, _ in (drawn[1], drawn[2])))
                ).sum()
                for drawn in ([*batches._chests(block)] for block in (0, 3, 4, 5))
            ]
        )
    plain, exaggerated = strengths
    assert exaggerated[0] > 1.2 * plain[0]
    assert exaggerated[2:] == plain[2:]  # as drawn
    schedule = Exaggeration(3.0, 4)
    assert [schedule.at(batch) for batch in (0, 1, 2, 4, 9)] == [3, 2.5, 2, 1, 1]


def test_the_copy_that_learns_is_the_same_function():
    features = BACKBONES["efficientnetb0"].build((64, 64))
    copy = for_pretraining(features)
    images = np.random.default_rng(0).uniform(0, 255, (4, 64, 64, 3)).astype(np.float32)
    settled = np.asarray(copy(images, training=False))
    np.testing.assert_allclose(settled, features(images, training=False), rtol=1e-3, atol=1e-4)
    before = [array.copy() for array in copy.get_weights()]
    once, again = (np.asarray(copy(images, training=True)) for _ in range(2))
    np.testing.assert_array_equal(once, again)  # nothing is dropped at random
    assert np.abs(once - settled).max() > 0.01  # the batch's statistics
    changed = [
        not np.array_equal(old, new) for old, new in zip(before, copy.get_weights(), strict=True)
    ]
    normalisations = [layer for layer in copy.layers if isinstance(layer, FusedBatchNormalization)]
    assert sum(changed) == 2 * len(normalisations) > 0  # mean and variance
    check_outputs(copy)


def check_outputs(copy):
    """Of images of 64 by 64 pixels, the pretraining model has maps of each stride."""
    whole = build_pretraining_model(copy)
    *maps, presence = (output.shape for output in whole.outputs)
    assert [shape[1:3] for shape in maps] == [(16, 16), (8, 8), (4, 4), (4, 4)]
    assert {shape[-1] for shape in maps} == {len(STRUCTURES)} and presence == (None, 3)
    assert len(whole.trainable_weights) == len(copy.trainable_weights) + 2 * len(whole.outputs)


def test_earlier_weights_keep_their_function_when_batches_normalise():
    features = BACKBONES["shufflenetv2_x0_5"].build((64, 64))
    load_weights(features, "shufflenetv2_x0_5", "none")
    random = np.random.default_rng(0)
    images = random.uniform(0, 255, (16, 64, 64, 3)).astype(np.float32)
    copy = for_pretraining(features)  # statistics 0 and 1: not those of any image
    before = np.asarray(copy(images, training=False))
    adopt_statistics(copy, images)
    np.testing.assert_allclose(copy(images, training=False), before, rtol=1e-2, atol=1e-3)
    assert np.abs(copy(images, training=True) - before).max() < 0.02 * np.abs(before).max()
    check_outputs(copy)


def test_presence_is_of_the_findings_in_the_crop():
    images, targets = DrawnBatches((128, 128), (128, 128), 4, 1, 0).validation(8)
    assert images.shape == (8, 128, 128, 3)
    expected = np.zeros((8, 3))  # COVID, Lung_Opacity, Normal, Viral Pneumonia in turn
    expected[[0, 4], 0] = expected[[1, 5], 1] = expected[[3, 7], 2] = 1
    np.testing.assert_array_equal(targets[-1] > 0.5, expected)


def test_validation_has_drawings_that_no_training_has(batches):
    images, _ = batches.validation(4)
    again, _ = batches.validation(4)
    np.testing.assert_array_equal(images, again)
    whole = DrawnBatches((128, 128), (128, 128), 4, 1, 5)
    trained = first(whole.training(0), 1)[0][0]
    assert np.abs(whole.validation(4)[0] - trained).mean() > 5


def test_a_classifier_starts_from_the_weights(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(BACKBONES, "four-stages", FOUR_STAGES)
    argv = ["pretrain", "--backbone", "four-stages", "--image_size", "64,64"]
    argv += ["--crop_size", "32,32", "--crop_epochs", "1", "--epochs", "1", "--drawings", "4"]
    argv += ["--batch_size", "4", "--crops", "1", "--validation_images", "8"]
    argv += ["--runs", str(tmp_path), "--name", "small"]
    assert main(argv) == 0
    run = tmp_path / "pretraining" / "small"
    assert json.loads((run / "metrics.json").read_text())["backbone"] == "four-stages"
    model = build_classifier("four-stages", 4, image_size=(64, 64))
    before = model.get_layer("conv5_conv").get_weights()[0]
    used = load_weights(model, "four-stages", run / "backbone.weights.h5")
    assert used.kind == "file"
    assert np.abs(model.get_layer("conv5_conv").get_weights()[0] - before).max() > 0
    for name in ("stem_conv_bn", "conv5_conv_bn"):  # its statistics are of drawings
        _, _, mean, variance = model.get_layer(name).get_weights()
        assert np.abs(mean).max() > 0 and np.abs(variance - 1).max() > 0.01, name
    assert main(argv) == 0
    assert "holds this run, finished" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--crop_size", "40,64"], "crop_size must be multiples of 32"),
        (["--crop_size", "256,256"], "crop_size must not exceed image_size"),
        (["--drawings", "33"], "drawings must be a multiple of batch_size"),
        (["--crop_epochs", "0", "--epochs", "0"], "crop_epochs or epochs must be positive"),
        (["--exaggeration", "0.5"], "exaggeration must be at least 1"),
        (["--batch_size", "6", "--drawings", "6"], "batch_size must be a multiple of 4"),
        (["--backbone", "resnet"], "unknown backbone 'resnet'"),
    ],
)
def test_wrong_options_are_refused(options, message, tmp_path, capsys):
    with contextlib.suppress(SystemExit):
        assert main(["pretrain", "--runs", str(tmp_path), *options]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.rglob("config.yaml"))
