"""The networks: backbones with published weights, the classifier and the U-Net.

The public names are listed in ``__init__.pyi`` and imported lazily: importing this package imports
neither TensorFlow nor Keras.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
