"""Uses an installed kerascxr from another folder: smoke.py RUN; leaves image.png for predict."""

import sys
from pathlib import Path

import keras
import numpy as np
from PIL import Image

import kerascxr

folder = sys.argv[1]
assert "site-packages" in kerascxr.__file__, kerascxr.__file__
image = np.random.default_rng(0).integers(0, 256, (128, 128), dtype=np.uint8)
Image.fromarray(image).save("image.png")
model = keras.models.load_model(Path(folder) / "model.keras")
run = kerascxr.load_run(folder)
assert run.model.count_params() == model.count_params()
print(run.metrics["test"]["accuracy"], run.predict([image]))
