"""A lung model as the package has one, tiny and untrained."""

import keras
import numpy as np

from kerascxr.evaluation.segmentation import score_image, summarise
from kerascxr.evaluation.uncertainty import segmentation_intervals
from kerascxr.models.lung_model import write_lung_model
from kerascxr.models.unet import build_unet

CONFIG = {"image_size": [32, 48], "base_filters": 2, "upsampling": "bilinear", "epochs": 3}


def card():
    truth = np.zeros((8, 8), bool)
    truth[2:6, 2:6] = True
    rows = [score_image(truth, np.roll(truth, step, axis=1)) for step in (0, 1, 2) * 10]
    rows = [row | {"group": str(index)} for index, row in enumerate(rows)]
    return {
        "title": "U-Net, 2 base filters",
        "input": "32x48 pixels, 0..255",
        "threshold": 0.35,
        "data": "Three drawings.",
        "licence": "CC0",
        "images": {"train": 1200, "test": 30},
        "command": "python train_seg.py --base_filters 2",
        "results": {"drawings": summarise(rows) | {"intervals": segmentation_intervals(rows)}},
        "limits": ["Drawings only."],
    }


def write_tiny_lung_model(folder, size=(32, 48)):
    """Writes a lung model and returns the U-Net that it was made of."""
    keras.utils.set_random_seed(4)
    model = build_unet(size, 2, "bilinear")
    random = np.random.default_rng(0)
    model.set_weights([w + 0.01 * random.normal(size=w.shape) for w in model.get_weights()])
    write_lung_model(folder, model, CONFIG | {"image_size": [*size]}, card())
    return model
