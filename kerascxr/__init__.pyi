from . import models as models
from .serving.loaded_run import load_ensemble as load_ensemble
from .serving.loaded_run import load_run as load_run

__version__: str
