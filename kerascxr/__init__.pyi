from . import models as models
from .serving.loaded_run import load_run as load_run

__version__: str
