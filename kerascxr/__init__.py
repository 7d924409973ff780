"""Transfer learning and lung segmentation for chest X-rays, in Keras 3.

The public API is listed in ``__init__.pyi``, here and in ``models/``. It is imported lazily:
``import kerascxr`` imports neither TensorFlow nor Keras.
"""

import importlib
from types import ModuleType

import lazy_loader
import wrapt

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


@wrapt.when_imported("keras")
def _register_layers(keras: ModuleType) -> None:
    """Registers this project's layers with Keras, so that ``load_model`` finds them by name."""
    importlib.import_module("kerascxr.models.layers")
