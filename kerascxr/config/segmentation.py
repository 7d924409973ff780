"""Options of a segmentation run."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from kerascxr.config.checks import check
from kerascxr.config.cluster import ResourcesConfig
from kerascxr.config.data import DataConfig, SplitConfig
from kerascxr.config.training import AugmentConfig, OptimizerConfig, RuntimeConfig, check_training


@dataclass(frozen=True)
class SegmentationConfig:
    """Train a U-Net to segment the lungs in chest X-rays.

    Attributes:
        base_filters: Filters of the first stage; by default 64 on a GPU and 16 on a CPU.
        upsampling: "transpose" (learned) or "bilinear".
        image_size: Height and width of the model's input, in pixels, as 256,256; multiples of 16.
        coarse_epochs: Number of epochs at half the image size before the main training; an epoch
            takes a quarter of the time. By default 0 on a GPU and 10 on a CPU.
        epochs: Largest number of epochs at full size; by default 40 on a GPU and 3 on a CPU.
        batch_size: Images per step.
        loss: "bce_dice" or "focal_tversky".
        bce_weight: Weight of the cross-entropy in bce_dice.
        dice_weight: Weight of the Dice loss in bce_dice.
        monitor: Validation metric that selects the best epoch: "dice" or "loss".
        patience: Stop after this number of epochs without improvement.
        save_masks: Whether the predicted masks of the test images are written as PNG files.
        folds: Number of cross-validation runs: 2, 4, 5, 10 or 20. Together they test every image
            once; each run tests 20 / folds of the 20 folds, and test_folds is left out.
        seeds: Number of runs that differ only in their seed. It is counted up from runtime.seed.
        cluster: Runs folds or seeds at once: "local" on this machine, an address on a Ray cluster.
            It needs pip install 'kerascxr[cluster]'.
        workers: Number of processes on this machine that train one run together, each a part of
            every batch. Workers on several machines are started with TF_CONFIG instead.
        name: Name of the run. By default unet and its base filters.
        runs: Folder of run folders.
        overwrite: Whether a run of the same name with other options is replaced.
        data: Images.
        split: Folds.
        augment: Augmentation.
        optimizer: Optimizer.
        runtime: Machine.
        resources: What each run takes on a cluster.
    """

    base_filters: int | None = None
    upsampling: Literal["transpose", "bilinear"] = "transpose"
    image_size: tuple[int, int] = (256, 256)
    coarse_epochs: int | None = None
    epochs: int | None = None
    batch_size: int = 8
    loss: Literal["bce_dice", "focal_tversky"] = "bce_dice"
    bce_weight: float = 1.0
    dice_weight: float = 1.0
    monitor: Literal["dice", "loss"] = "dice"
    patience: int = 10
    save_masks: bool = False
    folds: int = 1
    seeds: int = 1
    cluster: str | None = None
    workers: int = 1
    name: str | None = None
    runs: Path = Path("runs")
    overwrite: bool = False
    data: DataConfig = field(default_factory=lambda: DataConfig(phantom_images=160))
    split: SplitConfig = field(default_factory=SplitConfig)
    augment: AugmentConfig = field(
        default_factory=lambda: AugmentConfig(
            rotation_degrees=10.0, zoom=0.15, brightness=0.15, contrast=0.3, gamma=0.6, noise=0.04
        )
    )
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    resources: ResourcesConfig = field(default_factory=ResourcesConfig)

    def __post_init__(self):
        check_training(self)
        check(
            all(16 <= side <= 4096 and side % 16 == 0 for side in self.image_size),
            "image_size must be multiples of 16, up to 4096: the U-Net halves its input four times",
            image_size=self.image_size,
        )
        check(
            self.base_filters is None or 1 <= self.base_filters <= 256,
            "base_filters must be from 1 to 256",
            base_filters=self.base_filters,
        )
        check(
            self.coarse_epochs is None
            or self.coarse_epochs == 0
            or (self.coarse_epochs > 0 and all(side % 32 == 0 for side in self.image_size)),
            "coarse_epochs must not be negative, and needs an image_size of multiples of 32",
            coarse_epochs=self.coarse_epochs,
            image_size=self.image_size,
        )
        check(
            min(self.bce_weight, self.dice_weight) >= 0 and self.bce_weight + self.dice_weight > 0,
            "bce_weight and dice_weight must not be negative, nor both 0",
            bce_weight=self.bce_weight,
            dice_weight=self.dice_weight,
        )
