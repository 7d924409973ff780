"""The backbone against ``keras.applications``' own."""

import keras
import numpy as np
import pytest

from kerascxr.models.efficientnet import build_efficientnetb0
from kerascxr.models.layers import StochasticDepth, SwitchableBatchNormalization

RELATIVE = 1e-5


@pytest.fixture(scope="module")
def backbone():
    return build_efficientnetb0((64, 64))


def test_it_is_the_same_function(keras_efficientnet, backbone):
    for layer in keras_efficientnet.layers:
        if layer.weights and not isinstance(layer, keras.layers.Normalization):
            backbone.get_layer(layer.name).set_weights(layer.get_weights())
    scaling = keras_efficientnet.get_layer(index=2)
    variance = np.square([0.229, 0.224, 0.225])
    scaling.set_weights([np.array([0.485, 0.456, 0.406]), variance, np.array(0)])
    scaling.finalize_state()  # set_weights alone leaves what it computes with
    images = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype(np.float32)
    expected = np.array(keras_efficientnet(images))
    error = np.abs(np.array(backbone(images)) - expected).max() / np.abs(expected).max()
    assert error < RELATIVE


def test_its_scaling_holds_no_weights(backbone):
    assert backbone.get_layer("rescaling").weights == []
    assert backbone.get_layer("normalization").weights == []


def test_every_layer_that_moves_is_ours(backbone):
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            assert isinstance(layer, SwitchableBatchNormalization), layer.name
        if isinstance(layer, keras.layers.Dropout):
            assert isinstance(layer, StochasticDepth), layer.name
    assert sum(isinstance(layer, StochasticDepth) for layer in backbone.layers) == 9


def test_its_layers_keep_their_names(keras_efficientnet, backbone):
    names = [layer.name for layer in backbone.layers]
    assert names[:3] == ["image", "rescaling", "normalization"]  # in every copy
    assert names[3:] == [layer.name for layer in keras_efficientnet.layers[3:]]
