"""Options of the images: source, caches, splits."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kerascxr.config.checks import check


@dataclass(frozen=True)
class DataConfig:
    """Images: where they come from and where copies are kept.

    Attributes:
        source: A folder with one sub-folder per class, a CSV file, "kaggle", "phantom", or "auto".
            A folder can also be the COVID-19 Radiography Database as downloaded, or have images/
            and masks/. Folder and file may be remote: s3://, gs://, https://. A CSV file has
            path,label[,mask][,group][,origin][,split][,row_mm,column_mm].
            "kaggle" downloads the database, "phantom" draws X-rays, "phantom-marked" draws them
            with a planted marker that reveals the class, and "auto" is the database if it is
            found, otherwise the phantom.
        stores: Folder of the ingested copies.
        stores_gb: Largest size of that folder, in gigabytes; the least recently used copies go.
        features: Folder of cached backbone features and lung masks.
        features_gb: Largest size of that folder, in gigabytes; the least recently used files go.
        cache: Where resized images are cached: "memory", "disk", or "auto" (memory while they take
            less than a quarter of what is free).
        phantom_images: Number of images that the phantom draws.
        phantom_seed: Seed of the phantom.
    """

    source: str = "auto"
    stores: Path = Path("data/stores")
    stores_gb: float = 100.0
    features: Path = Path("data/features")
    features_gb: float = 20.0
    cache: Literal["auto", "memory", "disk"] = "auto"
    phantom_images: int = 800
    phantom_seed: int = 0

    def __post_init__(self):
        check(
            self.phantom_images > 0,
            "data.phantom_images must be positive",
            phantom_images=self.phantom_images,
        )
        for name in ("stores_gb", "features_gb"):
            size = getattr(self, name)
            check(size >= 0, f"data.{name} must not be negative", **{name: size})


@dataclass(frozen=True)
class SplitConfig:
    """Which of the 20 folds are used for training, validation and test.

    Attributes:
        offset: Rotation of the folds, 0 to 19, for cross-validation.
        validation_folds: Number of folds for validation.
        test_folds: Number of folds for test; the rest is for training.
        groups: "kept" keeps near-duplicates and all images of a patient in one split. "ignored"
            splits image by image, as many published studies do: use it to measure the effect of
            that leak (see compare), not to report results.
        seed: Seed of the random split when groups are ignored.
    """

    offset: int = 0
    validation_folds: int = 3
    test_folds: int = 3
    groups: Literal["kept", "ignored"] = "kept"
    seed: int = 0

    def __post_init__(self):
        check(0 <= self.offset < 20, "split.offset must be from 0 to 19", offset=self.offset)
        check(
            self.validation_folds > 0
            and self.test_folds > 0
            and self.validation_folds + self.test_folds < 20,
            "validation_folds and test_folds must be positive and leave some of 20 for training",
            validation_folds=self.validation_folds,
            test_folds=self.test_folds,
        )
        check(0 <= self.seed < 2**31, "split.seed must be from 0 to 2**31 - 1", seed=self.seed)
