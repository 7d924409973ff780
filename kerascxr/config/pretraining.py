"""Options of a pretraining on drawn X-rays."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from kerascxr.config.checks import check
from kerascxr.config.data import SplitConfig
from kerascxr.config.training import OptimizerConfig, RuntimeConfig, check_training


@dataclass(frozen=True)
class PretrainingConfig:
    """Pretrain a backbone on drawn chest X-rays.

    Attributes:
        backbone: Backbone; see ``kerascxr.models.BACKBONES``.
        weights: Starting weights: "none" (random), or the backbone.weights.h5 of an earlier
            pretraining, to train it further.
        image_size: Height and width of whole images, in pixels; multiples of 32.
        crop_size: Height and width of the first stage's crops, in pixels; multiples of 32. A crop
            shows part of an image at the image's own scale.
        crop_epochs: Number of epochs on crops; 0 trains on whole images only.
        epochs: Number of epochs on whole images, after those on crops; 0 trains on crops only.
        drawings: Number of new drawings per epoch, a multiple of batch_size.
        crops: Number of crops of each drawing.
        exaggeration: Largest factor by which findings are strengthened in the first crops; it falls
            to 1 over half of the epochs on crops.
        batch_size: Crops or images per step.
        validation_images: Number of drawings in the validation.
        patience: Stop after this number of epochs without improvement.
        name: Name of the run. By default the backbone.
        runs: Folder of run folders.
        overwrite: Whether a run of the same name with other options is replaced.
        optimizer: Optimizer.
        runtime: Machine.
    """

    monitor: ClassVar[str] = "loss"
    folds: ClassVar[int] = 1
    seeds: ClassVar[int] = 1
    workers: ClassVar[int] = 1
    may_be_zero: ClassVar[tuple[str, ...]] = ("epochs",)
    split: ClassVar[SplitConfig] = SplitConfig()

    backbone: str = "efficientnetb0"
    weights: str = "none"
    image_size: tuple[int, int] = (224, 224)
    crop_size: tuple[int, int] = (128, 128)
    crop_epochs: int = 40
    epochs: int = 10
    drawings: int = 512
    crops: int = 4
    exaggeration: float = 3.0
    batch_size: int = 32
    validation_images: int = 128
    patience: int = 1000
    name: str | None = None
    runs: Path = Path("runs")
    overwrite: bool = False
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(learning_rate=2e-3, weight_decay=1e-2)
    )
    runtime: RuntimeConfig = field(default_factory=lambda: RuntimeConfig(tensorboard=False))

    def __post_init__(self):
        check_training(self)
        for name in ("image_size", "crop_size"):
            size = getattr(self, name)
            check(
                all(32 <= side <= 4096 and side % 32 == 0 for side in size),
                f"{name} must be multiples of 32, up to 4096",
                **{name: size},
            )
        check(
            all(crop <= side for crop, side in zip(self.crop_size, self.image_size, strict=True)),
            "crop_size must not exceed image_size",
            crop_size=self.crop_size,
            image_size=self.image_size,
        )
        for name in ("crop_epochs", "epochs"):
            value = getattr(self, name)
            check(value >= 0, f"{name} must not be negative", **{name: value})
        check(
            self.crop_epochs + self.epochs > 0,
            "crop_epochs or epochs must be positive",
            crop_epochs=self.crop_epochs,
            epochs=self.epochs,
        )
        check(
            self.exaggeration >= 1,
            "exaggeration must be at least 1",
            exaggeration=self.exaggeration,
        )
        check(
            self.batch_size % 4 == 0,
            "batch_size must be a multiple of 4, the number of classes drawn of each chest",
            batch_size=self.batch_size,
        )
        for name in ("crops", "validation_images"):
            value = getattr(self, name)
            check(value > 0, f"{name} must be positive", **{name: value})
        check(
            self.drawings > 0 and self.drawings % self.batch_size == 0,
            "drawings must be a multiple of batch_size",
            drawings=self.drawings,
            batch_size=self.batch_size,
        )
