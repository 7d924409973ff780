"""When a classifier gets a linear probe, and what it is fitted to."""

import dataclasses

import keras
import numpy as np
import pytest

from kerascxr.config import ClassificationConfig, DataConfig
from kerascxr.data.pipeline import Images
from kerascxr.evaluation.calibration import fit_temperature
from kerascxr.models.classifier import build_classifier
from kerascxr.models.linear_probe import StatisticsRegression
from kerascxr.runs.folder import RunFolder
from kerascxr.training.learner import Learner, by_features, predict_probabilities, softmax
from kerascxr.training.linear_probe import (
    check_linear_probe,
    uses_linear_probe,
    with_linear_probe,
)
from kerascxr.training.sharing import sharing
from tests.support.tiny_backbone import TINY


class Features:
    def __init__(self, sizes):
        self.sizes = sizes


@pytest.mark.parametrize(
    ("wanted", "features", "used"),
    [
        ("auto", Features((4, 8)), True),
        (True, Features((4, 8)), True),
        (False, Features((4, 8)), False),
        ("auto", Features(None), False),
        ("auto", None, False),
    ],
)
def test_auto_means_where_statistics_are_cached(wanted, features, used):
    assert uses_linear_probe(ClassificationConfig(linear_probe=wanted), features) is used


def test_it_is_not_left_out_silently():
    without = dataclasses.replace(TINY, stage_outputs=())
    check_linear_probe(ClassificationConfig(linear_probe=True), TINY)
    check_linear_probe(ClassificationConfig(), without)
    with pytest.raises(ValueError, match="the backbone tiny, which names no stages"):
        check_linear_probe(ClassificationConfig(linear_probe=True), without)
    for more in ({"depth": "all"}, {"features": False}):
        with pytest.raises(ValueError, match="linear_probe must be false or auto"):
            ClassificationConfig(linear_probe=True, **more)


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    folder = tmp_path_factory.mktemp("probe")
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    labels = np.arange(36) % 3
    levels = 60 + 60 * labels[:, None, None, None]
    pixels = np.clip(random.normal(levels, 30, (36, 32, 32, 1)), 0, 255).astype(np.uint8)
    ids = tuple(map(str, range(36)))
    images = Images(pixels, None, ids, ids, labels, ("a", "b", "c"))
    splits = {"train": images.only(range(24)), "validation": images.only(range(24, 36))}
    config = ClassificationConfig(
        depth=1, data=DataConfig(features=folder), feature_engine="keras", augmented_copies=3
    )
    model = build_classifier("tiny", 3, image_size=(32, 32), depth=1)
    learner = Learner.build(model, splits, config, RunFolder(folder / "run"))
    return model, splits, config, learner


def test_it_is_fitted_to_all_copies_and_its_temperatures_to_validation(learned):
    model, splits, config, learner = learned
    whole, about = with_linear_probe(model, splits, config, learner)
    views = [learner.features.statistics(splits["train"], view) for view in range(3)]
    assert not np.allclose(views[0], views[1])
    expected = StatisticsRegression.fit(views, splits["train"].labels)
    layer = whole.get_layer("linear_probe")
    np.testing.assert_allclose(layer.kernel, expected.kernel, atol=1e-6)
    held_out = splits["validation"]
    alone = expected.probabilities(learner.features.statistics(held_out))
    assert about["temperatures"]["probe"] == pytest.approx(fit_temperature(held_out.labels, alone))
    head = predict_probabilities(model, held_out, 8)
    assert about["temperatures"]["head"] == pytest.approx(
        fit_temperature(held_out.labels, head), rel=0.02
    )


def test_it_is_shared_by_runs_whose_copies_are_computed_alike_alone(learned, monkeypatch):
    model, splits, config, learner = learned
    fitted, fit = [], StatisticsRegression.fit
    monkeypatch.setattr(
        StatisticsRegression, "fit", lambda *given, **more: fitted.append(1) or fit(*given, **more)
    )
    statistics = learner.features.statistics
    monkeypatch.setattr(
        learner.features, "statistics", lambda images, view=0: np.array(statistics(images, 0))
    )
    with sharing():
        for precision, n in (("float32", 1), ("float32", 1), ("bfloat16", 2)):
            monkeypatch.setattr(learner.features, "copies_precision", precision)
            with_linear_probe(model, splits, config, learner)
            assert len(fitted) == n


def test_the_whole_model_is_evaluated(learned):
    model, splits, config, learner = learned
    whole, _ = with_linear_probe(model, splits, config, learner)
    by_parts, statistics = by_features(whole, learner.features)(splits["validation"])
    np.testing.assert_allclose(
        statistics, learner.features.statistics(splits["validation"]), rtol=1e-5, atol=1e-6
    )
    on_images = predict_probabilities(whole, splits["validation"], 8)
    np.testing.assert_allclose(by_parts, on_images, atol=1e-4)
    assert np.abs(on_images - predict_probabilities(model, splits["validation"], 8)).max() > 1e-3
    assert np.allclose(softmax(np.log(on_images)), on_images)
