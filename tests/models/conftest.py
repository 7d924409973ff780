"""What the tests of the models share."""

import sys
from pathlib import Path

import pytest

# So that ``torch_files`` can be imported whatever pytest's import mode.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def keras_efficientnet():
    """Keras' own EfficientNetB0 for 64x64 images, which takes a while to build."""
    import keras

    keras.utils.set_random_seed(0)
    return keras.applications.EfficientNetB0(
        include_top=False, weights=None, input_shape=(64, 64, 3)
    )
