"""What the tests of the models share."""

import pytest


@pytest.fixture(autouse=True)
def only_real_backbones(monkeypatch):
    """Removes the tests' tiny backbone: these tests cover the real ones."""
    from kerascxr.models.backbones import BACKBONES

    monkeypatch.delitem(BACKBONES, "tiny", raising=False)


@pytest.fixture(scope="module", autouse=True)
def only_whole_unets(whole_unet):
    """These tests cover the U-Net that users have."""


@pytest.fixture(scope="session")
def _built_once():
    import keras

    keras.utils.set_random_seed(0)
    model = keras.applications.EfficientNetB0(
        include_top=False, weights=None, input_shape=(64, 64, 3)
    )
    return model, model.get_weights()


@pytest.fixture
def keras_efficientnet(_built_once):
    """Keras' own EfficientNetB0 for 64x64 images, as new: tests change its weights."""
    model, weights = _built_once
    model.set_weights(weights)
    return model
