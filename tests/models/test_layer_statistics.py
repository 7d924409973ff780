"""Layer statistics: a mean and a deviation of each channel, by stage."""

import dataclasses

import keras
import numpy as np
import pytest

from kerascxr.models.backbones import BACKBONES
from kerascxr.models.classifier import build_classifier, cut_at_depth
from kerascxr.models.layer_statistics import (
    NonFiniteStatisticsError,
    layer_statistics,
    require_finite,
)
from tests.support.tiny_backbone import TINY


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype(np.float32)


@pytest.mark.parametrize("name", ["efficientnetb0", "shufflenetv2_x0_5"])
def test_they_are_of_each_stage_and_none_is_trained_at_depth_2(name, images):
    """They stay as they were when the rule was fitted to a frozen backbone."""
    model = build_classifier(name, 2, image_size=(64, 64))
    found = layer_statistics(model)
    stages = BACKBONES[name].stage_outputs
    inner = [model.get_layer(stage).output for stage in stages]
    values, *inner = keras.Model(model.input, [found.output, *inner])(images)
    assert len(stages) >= 4 and values.shape == (2, sum(found.sizes))
    expected = [f(np.asarray(x, np.float64), (1, 2)) for x in inner for f in (np.mean, np.std)]
    np.testing.assert_allclose(values, np.concatenate(expected, axis=1), rtol=1e-3, atol=1e-4)
    assert found.sizes == tuple(2 * x.shape[-1] for x in inner)
    frozen = keras.Model(model.input, cut_at_depth(model, 2))
    assert set(stages) <= {layer.name for layer in frozen.layers}


def test_without_stages_they_are_of_the_features(images, monkeypatch):
    monkeypatch.setitem(BACKBONES, "tiny", dataclasses.replace(TINY, stage_outputs=()))
    model = build_classifier("tiny", 2, image_size=(64, 64))
    found = layer_statistics(model)
    features = keras.Model(model.input, cut_at_depth(model, 0))(images).numpy()
    values = keras.Model(model.input, found.output)(images).numpy()
    assert found.sizes == (256,)
    np.testing.assert_allclose(values[:, :128], features, rtol=1e-4, atol=1e-6)


def test_what_is_not_finite_is_named(monkeypatch):
    two = dataclasses.replace(TINY, stage_outputs=("stem_relu", "stage4_relu"))
    monkeypatch.setitem(BACKBONES, "tiny", two)
    model = build_classifier("tiny", 2, image_size=(64, 64))
    first, second = layer_statistics(model).sizes
    values = np.zeros((5, first + second), np.float32)
    require_finite(model, values, "training images")
    values[1, first] = np.inf  # the second layer's first number
    values[3:, -1] = np.nan
    known = "for 3 of 5 altered copies, first in stage4_relu; try --runtime.precision float32"
    with pytest.raises(NonFiniteStatisticsError, match=known) as caught:
        require_finite(model, values, "altered copies")
    assert "\n" not in str(caught.value)
    values[0, first - 1] = np.nan
    with pytest.raises(NonFiniteStatisticsError, match="for 4 of 5 altered copies, first in stem_"):
        require_finite(model, values, "altered copies")
    monkeypatch.setitem(BACKBONES, "tiny", dataclasses.replace(TINY, stage_outputs=()))
    with pytest.raises(NonFiniteStatisticsError, match="first in the backbone's output;"):
        require_finite(model, np.full((1, 256), np.nan), "training images")
