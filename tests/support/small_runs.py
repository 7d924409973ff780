"""Small images and small settings, for tests that run the classification command."""

import numpy as np
from PIL import Image

SMALL = ["--backbone", "tiny", "--image_size", "[32,32]", "--weights", "none"]
SMALL += ["--runtime.tensorboard", "false", "--batch_size", "16"]
SMALL += ["--runtime.checkpoint_seconds", "0", "--augmented_copies", "1"]
# OpenVINO, which has tests of its own, takes a tenth of a small training to compile.
SMALL += ["--feature_engine", "keras"]

SMALL_UNET = ["--base_filters", "2", "--image_size", "[32,32]", "--epochs", "1"]
SMALL_UNET += ["--coarse_epochs", "0", "--runtime.tensorboard", "false"]


def arguments(folder, *more):
    places = ["--runs", f"{folder}/runs", "--data.stores", f"{folder}/stores"]
    places += ["--data.features", f"{folder}/features"]
    return [*SMALL, *places, *more]


LEVELS = {"bright": 220, "dark": 30, "middle": 120}


def bright_and_dark(folder, each=30, names=tuple(LEVELS), seed=0, levels=LEVELS):
    """Three classes that differ by brightness; their alphabetic order is not that of brightness."""
    random = np.random.default_rng(seed)
    for name in names:
        (folder / name).mkdir(parents=True)
        for index in range(each):
            pixels = np.clip(random.normal(levels[name], 20, (32, 32)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index}.png")
    return str(folder)


def pairs(folder, n=60, seed=0, size=40):
    """Bright ellipses on noise, and their masks; three pairs are odd."""
    random = np.random.default_rng(seed)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    rows, columns = np.mgrid[:size, :size] / size
    for index in range(n):
        y, x = random.uniform(0.35, 0.65, 2)
        mask = (rows - y) ** 2 / 0.06 + (columns - x) ** 2 / 0.04 < 1
        pixels = np.clip(40 + 150 * mask + random.normal(0, 12, mask.shape), 0, 255)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / "images" / f"{index}.png")
        shown = Image.fromarray((255 * mask).astype(np.uint8))
        if index == 1:
            shown = Image.new("L", shown.size, 0)
        if index == 2:
            shown = Image.new("L", shown.size, 255)
        if index == 3:
            shown = shown.resize((size, 2 * size))
        if index != 4:
            small = (32, 32 * shown.height // shown.width)
            shown = shown.resize(small, Image.Resampling.NEAREST).convert("RGB")
            shown.save(folder / "masks" / f"{index}.png")
    return str(folder)


def masked_classes(folder, each=20, masks=True):
    """Two classes in the radiography layout that differ by brightness outside of the lungs.

    The lungs are two ellipses, wider at their base, as the check of lung masks requires.
    """
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:40, :40] / 40
    for name, around in (("COVID", 40), ("Normal", 200)):
        for part in ("images", "masks"):
            (folder / name / part).mkdir(parents=True)
        for index in range(each):
            y, x = random.uniform(0.4, (0.55, 0.6))
            aside = np.abs(columns - x) - 0.2
            distance = (rows - y) ** 2 / 0.06 + aside**2 / (0.08 + 0.1 * rows) ** 2
            inside = distance < 1
            # The masks' edges, which are coarser, must not hold a trace of what is around.
            pixels = np.where(distance < 1.8, 110, around) + random.normal(0, 15, inside.shape)
            file = f"{name}-{index}.png"
            shown = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
            shown.save(folder / name / "images" / file)
            if masks:
                mask = Image.fromarray(np.where(inside, 255, 0).astype(np.uint8))
                mask = mask.resize((32, 32), Image.Resampling.NEAREST).convert("RGB")
                mask.save(folder / name / "masks" / file)
    return str(folder)
