"""When cached features are used: unless they are off, on every machine, and never silently not."""

import keras
import numpy as np
import pytest

from kerascxr.config import AugmentConfig, ClassificationConfig, DataConfig
from kerascxr.data.pipeline import Images
from kerascxr.models.classifier import build_classifier
from kerascxr.runs.folder import RunFolder
from kerascxr.training.feature_files import FeatureFolder
from kerascxr.training.learner import Learner, _check_room, _uses_cached_features


@pytest.mark.parametrize(("features", "used"), [("auto", True), (True, True), (False, False)])
def test_auto_means_cached_features(features, used):
    assert _uses_cached_features(ClassificationConfig(features=features)) is used


def test_features_that_do_not_fit_are_an_error_and_not_another_regime(tmp_path):
    data = DataConfig(features=tmp_path / "not" / "there", features_gb=0.001)
    _check_room(data, 10**6, 10**6)
    with pytest.raises(ValueError, match="features_gb allows"):
        _check_room(data, 10**7, 0)
    with pytest.raises(ValueError, match="has room for"):
        _check_room(DataConfig(features=tmp_path, features_gb=1e9), 10**17, 10**17)


@pytest.fixture
def build(tmp_path):
    keras.utils.set_random_seed(0)
    pixels = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 1)).astype(np.uint8)
    ids = tuple(map(str, range(12)))
    images = Images(pixels, None, ids, ids, np.arange(12) % 3, ("a", "b", "c"))
    splits = {"train": images, "validation": images.only(range(6))}
    model = build_classifier("tiny", 3, image_size=(32, 32))

    def built(depth, **options):
        settings = {"feature_engine": "keras", "augmented_copies": 2} | options
        config = ClassificationConfig(depth=depth, data=DataConfig(features=tmp_path), **settings)
        return Learner.build(model, splits, config, RunFolder(tmp_path / "run"))

    return built


@pytest.mark.parametrize("enabled", [True, False])
def test_a_line_says_whether_images_are_augmented(build, messages, enabled):
    augment = AugmentConfig(enabled=enabled)
    which = "with" if enabled else "without"
    build("all", augment=augment)
    build(2, augment=augment, features=False)
    whole, images = messages()
    assert whole == f"Training everything, {which} augmentation."
    assert images.startswith(f"Training on images, {which} augmentation: ")
    build(2, augment=augment)
    text = "Training images come in 2 versions." if enabled else "(--augment.enabled false)."
    assert any(line.endswith(text) for line in messages())


@pytest.mark.parametrize("monitor", ["f1", "loss"])
def test_the_best_epoch_is_that_of_images_and_augmented_copies_together(build, monitor):
    learner = build(2, monitor=monitor)
    assert learner.monitor == f"mean_{monitor}"
    figures = learner.validation_figures()
    as_is = build(2, monitor=monitor, augmented_copies=1)
    assert as_is.monitor == monitor
    alone = as_is.validation_figures()
    assert set(figures) - set(alone) == {f"augmented_{monitor}", f"mean_{monitor}"}
    both = figures[monitor], figures[f"augmented_{monitor}"]
    assert figures[f"mean_{monitor}"] == pytest.approx(sum(both) / 2)


def test_validation_on_copies_is_on_other_features(build):
    figures = build(2, monitor="loss").validation_figures()
    assert figures["augmented_loss"] != figures["loss"]


def test_features_that_are_cached_already_need_no_room(build, monkeypatch):
    assert build(2).cached_copies == 2
    monkeypatch.setattr(FeatureFolder, "free_bytes", lambda folder: 0)
    found = build(0)
    assert (found.cached_copies, found.engine) == (2, "keras")
