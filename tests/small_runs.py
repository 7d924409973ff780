"""Small images and small settings, for tests that run the classification command."""

import numpy as np
from PIL import Image

SMALL = ["--backbone", "shufflenetv2_x0_5", "--image_size", "[32,32]", "--weights", "none"]
SMALL += ["--runtime.tensorboard", "false", "--batch_size", "16"]
SMALL += ["--runtime.checkpoint_seconds", "0"]


def arguments(folder, *more):
    places = ["--runs", f"{folder}/runs", "--data.stores", f"{folder}/stores"]
    places += ["--data.features", f"{folder}/features"]
    return [*SMALL, *places, *more]


LEVELS = {"bright": 220, "dark": 30, "middle": 120}


def bright_and_dark(folder, each=30, names=tuple(LEVELS)):
    """Three classes that differ by brightness; their alphabetic order is not that of brightness."""
    random = np.random.default_rng(0)
    for name in names:
        (folder / name).mkdir(parents=True)
        for index in range(each):
            pixels = np.clip(random.normal(LEVELS[name], 20, (32, 32)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index}.png")
    return str(folder)
