"""The commands that are disturbed, small, and the folder that each begins with."""

import gc
import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

_CLASSES, _SIDE = 3, 64
_MACHINE = "--runtime.tensorboard false --runtime.checkpoint_seconds 0 --data.source {images}"
_CLS = (
    "train-cls --backbone tiny --weights none --image_size 32,32 --batch_size 16 "
    f"--optimizer.learning_rate 0.01 {_MACHINE}"
)
_UNET = (
    "--base_filters 2 --image_size 32,32 --coarse_epochs 1 --epochs 2 --augment.enabled false "
    "--name lungs"
)


@dataclass(frozen=True)
class Command:
    """A command to disturb.

    Attributes:
        name: For the table.
        line: Its arguments; {images} and {other} are the two sets of images.
        after: The command whose result its folder begins with; "" is an empty folder.
        code: The exit code that it ends with undisturbed.
        replaces: A folder that it replaces: the old one must stay until the new one is complete.
        weight: Its share of the kills.
        proof: A command that begins with this one's result and must then find what it finds after
            an undisturbed run.
        beside: A command that leaves what this one begins with, but that may run at the same time:
            both share caches.
        since: The name of a file; kills come after it is written. "" means at any time.
    """

    name: str
    line: str
    after: str
    code: int = 0
    replaces: str = ""
    weight: float = 1.0
    proof: str = ""
    beside: str = ""
    since: str = ""


COMMANDS = (
    Command("data", "data {images}", "", weight=8),
    Command("data audit", "data audit {images} --to found", "data", weight=3),
    Command("train-cls", f"{_CLS} --depth 1 --epochs 3 --name first", "data", weight=5),
    Command(
        "train-cls, decision rule",  # fitted, applied and written after the last epoch
        f"{_CLS} --depth 1 --epochs 3 --name first",
        "data",
        since="model.keras",
        weight=2,
    ),
    Command(
        "train-cls, second",
        f"{_CLS} --depth 0 --epochs 3 --name second",
        "train-cls",
        beside="train-cls",
    ),
    Command(
        "train-cls --overwrite",
        f"{_CLS} --depth 1 --epochs 2 --name first --overwrite true",
        "train-cls",
        replaces="runs/classification/first",
        weight=2,
    ),
    Command("train-seg", f"train-seg {_UNET} {_MACHINE}", "data", weight=0.6),
    Command("robustness", "robustness runs/classification/first", "train-cls", weight=3),
    Command(
        "evaluate",
        "evaluate runs/classification/first --data.source {other}",
        "train-cls",
        weight=3,
    ),
    Command(
        "audit", "audit runs/classification/first --depth 0 --epochs 1", "train-cls", weight=0.7
    ),
    Command("export", "export runs/classification/first --to models/chest", "train-cls", weight=2),
    Command(
        "predict",
        "predict runs/classification/first {other} --to table.csv",
        "train-cls",
        code=1,
        weight=2.5,
    ),
    Command(
        "predict of an export",
        "predict models/chest {other} --to table.csv",
        "export",
        code=1,
        weight=1.2,
    ),
    Command(
        "report",
        "report runs/classification/first --to report",
        "train-cls, second",
        weight=3,
    ),
    Command(
        "report over a report",
        "report runs --to report",
        "report",
        replaces="report",
        weight=4,
    ),
    Command("compare", "compare runs --to compared", "train-cls, second", weight=3),
    Command(
        "study",
        "study --backbones tiny --depths 0,1 --weights.tiny none --classifier.image_size 32,32 "
        "--classifier.epochs 2 --classifier.batch_size 16 --unet.base_filters 2 "
        "--unet.augment.enabled false --unet.image_size 32,32 --unet.coarse_epochs 0 "
        f"--unet.epochs 1 {_MACHINE}",
        "data",
        weight=0.8,
    ),
)


def warm_up() -> Callable[[list[str]], int]:
    """Imports all that the commands import; returns their main function.

    No TensorFlow operation runs, so a forked process starts TensorFlow for itself.
    """
    from kerascxr.cli.start import start_tensorflow

    start_tensorflow()
    import kerascxr

    for module in pkgutil.walk_packages(kerascxr.__path__, "kerascxr."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in ("matplotlib.pyplot", "pyarrow.parquet", "keras_cv", "sklearn.ensemble"):
        importlib.import_module(name)
    from kerascxr.cli.main import main
    from kerascxr.models.backbones import BACKBONES
    from tests.support.tiny_backbone import TINY

    BACKBONES["tiny"] = TINY
    gc.collect()
    gc.freeze()  # or every child would copy these pages when it collects garbage
    return main


def draw_sets(folder: Path, each: int = 22) -> tuple[Path, Path]:
    """Draws two small sets of phantom X-rays with lung masks; the second has a broken file.

    Returns:
        The folders of the sets, in the layout of the radiography database.
    """
    from kerascxr.data.sources.open import open_source

    sets = (folder / "images", folder / "other")
    if (folder / "drawn").exists():  # the same files, or their stores would be made again
        return sets
    for seed, place in enumerate(sets):
        source = open_source("phantom", phantom_images=12 * each, phantom_seed=seed)
        assert source.classes
        for name in source.classes[:_CLASSES]:
            chosen = [item for item in source.examples if item.label == name][:each]
            for example in chosen:
                assert not isinstance(example.image, Path)
                for part, pixels in zip(("images", "masks"), example.image.draw(), strict=True):
                    _save(pixels, place / name / part / f"{example.id.rpartition('/')[2]}.png")
    broken = sets[1] / source.classes[0] / "images" / "broken.png"
    broken.write_bytes(b"not an image")
    (folder / "drawn").touch()
    return sets


def _save(pixels: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).resize((_SIDE, _SIDE), Image.Resampling.BILINEAR).save(path)
