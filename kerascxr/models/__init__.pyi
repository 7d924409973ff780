from .backbones import BACKBONES as BACKBONES
from .backbones import Backbone as Backbone
from .classifier import build_classifier as build_classifier
from .classifier import fine_tune as fine_tune
from .gradcam import GradCAM as GradCAM
from .parameters import parameter_summary as parameter_summary
from .unet import build_unet as build_unet
from .weights import load_weights as load_weights
