"""What can be set: frozen dataclasses, each value checked; their docstrings are the help texts."""

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

Depth = Literal[0, 1, 2, "all"]


def _check(holds: bool, rule: str, **got: Any) -> None:
    if not holds:
        values = ", ".join(f"{name}={value!r}" for name, value in got.items())
        raise ValueError(f"{rule}. Got {values}.")


@dataclass(frozen=True)
class DataConfig:
    """Where the images come from and how they are kept.

    Attributes:
        source: A radiography-database folder, a folder with one sub-folder a class, a folder with
            images/ and masks/, a CSV file (path,label[,mask][,group][,split]), "kaggle", "phantom",
            "phantom-marked" (the same with a marker that gives the class away: a planted shortcut)
            or "auto" (the database where it has been put, else the phantom).
        stores: Folder of the ingested copies.
        features: Folder of backbone features.
        features_gb: Most that a run's backbone features may take on disk, in gigabytes.
        cache: Where resized images wait between epochs: "memory", "disk", or "auto" (memory while
            they take less than a quarter of what is free).
        phantom_images: How many images the phantom draws.
        phantom_seed: Seed of the phantom's drawings.
    """

    source: str = "auto"
    stores: Path = Path("data/stores")
    features: Path = Path("data/features")
    features_gb: float = 20.0
    cache: Literal["auto", "memory", "disk"] = "auto"
    phantom_images: int = 800
    phantom_seed: int = 0

    def __post_init__(self):
        _check(self.phantom_images > 0, "phantom_images must be positive", n=self.phantom_images)
        _check(self.features_gb >= 0, "features_gb must not be negative", gb=self.features_gb)


@dataclass(frozen=True)
class SplitConfig:
    """Which of the 20 folds are for what.

    Attributes:
        offset: Rotates the folds, 0 to 19, for cross-validation.
        validation_folds: How many of the 20 folds validate.
        test_folds: How many of the 20 folds test; the rest train.
        groups: "kept" leaves near-duplicates and one patient's images on one side. "ignored" deals
            images out one by one, as many published studies do: to measure what that leak is worth
            (see compare), not to report.
    """

    offset: int = 0
    validation_folds: int = 3
    test_folds: int = 3
    groups: Literal["kept", "ignored"] = "kept"

    def __post_init__(self):
        _check(0 <= self.offset < 20, "split.offset must be from 0 to 19", offset=self.offset)
        _check(
            self.validation_folds > 0
            and self.test_folds > 0
            and self.validation_folds + self.test_folds < 20,
            "validation_folds and test_folds must be positive and leave some of 20 to train",
            validation_folds=self.validation_folds,
            test_folds=self.test_folds,
        )


@dataclass(frozen=True)
class AugmentConfig:
    """Random changes to training images; each strength is the largest change, either way.

    Attributes:
        enabled: Whether training images are changed at all.
        rotation_degrees: Turn, in degrees.
        shift: Shift, as a fraction of height and width.
        zoom: Change of size, as a fraction.
        brightness: Added to all pixels, as a fraction of the grey range.
        contrast: Change of contrast about the image's mean, as a fraction.
        gamma: Change of the grey curve: the exponent lies between 1 / (1 + gamma) and 1 + gamma.
        noise: Largest standard deviation of added Gaussian noise, as a fraction of the grey range.
        flip: Whether images are mirrored left to right. The heart has a side: off by default.
    """

    enabled: bool = True
    rotation_degrees: float = 7.0
    shift: float = 0.05
    zoom: float = 0.1
    brightness: float = 0.1
    contrast: float = 0.1
    gamma: float = 0.0
    noise: float = 0.0
    flip: bool = False

    def __post_init__(self):
        _check(
            0 <= self.rotation_degrees <= 180,
            "rotation_degrees must be from 0 to 180",
            rotation_degrees=self.rotation_degrees,
        )
        for name in ("shift", "zoom", "brightness", "contrast", "noise"):
            value = getattr(self, name)
            _check(0 <= value < 1, f"augment.{name} must be from 0 to below 1", **{name: value})
        _check(0 <= self.gamma <= 4, "augment.gamma must be from 0 to 4", gamma=self.gamma)


@dataclass(frozen=True)
class RuntimeConfig:
    """How and where the computation runs.

    Attributes:
        seed: Seed of weights, order, dropout and augmentation.
        precision: "auto" takes mixed_bfloat16 or mixed_float16 where the GPU has them, else
            float32.
        device_strategy: "auto" mirrors over several GPUs; "single" uses one device.
        xla: Compile with XLA: "auto" does so on GPUs only (on CPUs it was four times slower).
        deterministic: Same seed, same numbers, at some cost in speed on GPUs.
        tensorboard: Write TensorBoard logs into the run folder.
        checkpoint_seconds: Least seconds between checkpoints, which are made at the end of epochs;
            a killed run loses no more than that and an epoch.
    """

    seed: int = 0
    precision: Literal["auto", "float32", "mixed_float16", "mixed_bfloat16"] = "auto"
    device_strategy: Literal["auto", "single", "mirrored"] = "auto"
    xla: Literal["auto", "on", "off"] = "auto"
    deterministic: bool = True
    tensorboard: bool = True
    checkpoint_seconds: float = 10.0

    def __post_init__(self):
        _check(
            self.checkpoint_seconds >= 0,
            "checkpoint_seconds must not be negative",
            seconds=self.checkpoint_seconds,
        )
        _check(0 <= self.seed < 2**31, "runtime.seed must be from 0 to 2**31 - 1", seed=self.seed)


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with a linear warm-up and a cosine decay to zero.

    Attributes:
        learning_rate: The peak.
        weight_decay: Decoupled weight decay; not on biases and normalisation parameters.
        warmup_epochs: Epochs over which the rate rises from zero.
        clip_norm: Largest global norm of the gradient; 0 does not clip.
    """

    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    warmup_epochs: float = 1.0
    clip_norm: float = 1.0

    def __post_init__(self):
        _check(
            0 < self.learning_rate < 10,
            "learning_rate must be positive and below 10",
            learning_rate=self.learning_rate,
        )
        for name in ("weight_decay", "warmup_epochs", "clip_norm"):
            value = getattr(self, name)
            _check(value >= 0, f"{name} must not be negative", **{name: value})


@dataclass(frozen=True)
class ClassificationConfig:
    """Fine-tune a pretrained backbone to tell classes of chest X-rays apart.

    Attributes:
        backbone: efficientnetb0, shufflenetv2 (x1.0), shufflenetv2_x0_5.
        depth: What learns: 0 the head, 1 also the last convolution, 2 also the last stage, "all"
            everything.
        weights: The backbone's starting weights: "imagenet", "none" (random), a file (.weights.h5,
            .keras, .pth), or "auto" (imagenet where it can be had, else random, and said so).
        image_size: Height and width that the model sees, in pixels.
        roi: The part of each image that the model gets: "none" (the full image), "lung_crop" (the
            box around the lungs), "lungs_only" (black outside the lungs), or "lung_channel" (the
            full image with the lung mask in the blue channel). The others are input ablations:
            "without_lungs" (the lungs' box is black), "border_only", "without_corners",
            "thumbnail" (8x8 pixels), "lung_outline" (the lung mask alone).
        lungs: A finished segmentation run that predicts the lung masks for the roi; by default they
            are the source's own masks.
        epochs: Most epochs to train.
        batch_size: Images a step.
        dropout: Rate behind each hidden layer of the head.
        label_smoothing: How much of the target goes to all classes alike.
        class_balance: "none", "weights" (loss weighted by inverse frequency) or "sampling" (each
            class seen equally often).
        monitor: Which validation figure picks the best epoch: "f1" (macro) or "loss".
        patience: Stop after so many epochs without a better one.
        update_statistics: Whether BatchNorm statistics of layers that learn move, "on" or "off".
            Those of frozen layers never do.
        features: Whether the frozen part of the backbone runs once instead of in every epoch: "on",
            "off", or "auto" (at depth 0, 1 and 2, without a GPU or with less than 6 GB on it).
        augmented_copies: With features: how many copies of each training image, the first without
            augmentation; training uses them in turn, epoch by epoch.
        feature_engine: What computes features: "keras", "openvino" (faster on CPUs; pip install
            openvino), or "auto" (openvino where it is installed and there is no GPU).
        folds: Cross-validation: so many runs that between them test every image once; 2, 4, 5, 10
            or 20. Each tests 20 / folds of the 20 folds, in the place of test_folds' default.
        seeds: So many runs that differ in their seed, counted up from runtime.seed.
        name: The run's name; by default backbone, depth and roi.
        runs: Folder of run folders.
        overwrite: Whether a run of the same name with other settings is replaced.
        data: Images.
        split: Folds.
        augment: Random changes.
        optimizer: Learning.
        runtime: Machine.
    """

    backbone: str = "efficientnetb0"
    depth: Depth = 1
    weights: str = "auto"
    image_size: tuple[int, int] = (224, 224)
    roi: str = "none"
    lungs: Path | None = None
    epochs: int = 20
    batch_size: int = 32
    dropout: float = 0.3
    label_smoothing: float = 0.0
    class_balance: Literal["none", "weights", "sampling"] = "none"
    monitor: Literal["f1", "loss"] = "f1"
    patience: int = 6
    update_statistics: Literal["on", "off"] = "on"
    features: Literal["auto", "on", "off"] = "auto"
    augmented_copies: int = 1
    feature_engine: Literal["auto", "keras", "openvino"] = "auto"
    folds: int = 1
    seeds: int = 1
    name: str | None = None
    runs: Path = Path("runs")
    overwrite: bool = False
    data: DataConfig = field(default_factory=DataConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)

    def __post_init__(self):
        _check_training(self)
        _check(
            all(32 <= side <= 4096 for side in self.image_size),
            "image_size must be from 32 to 4096",
            image_size=self.image_size,
        )
        _check(0 <= self.dropout < 1, "dropout must be from 0 to below 1", dropout=self.dropout)
        _check(
            0 <= self.label_smoothing < 1,
            "label_smoothing must be from 0 to below 1",
            label_smoothing=self.label_smoothing,
        )
        _check(
            self.augmented_copies > 0, "augmented_copies must be positive", n=self.augmented_copies
        )
        _check(
            self.features != "on" or self.depth != "all",
            "features must be off at depth all, which freezes nothing",
            features=self.features,
            depth=self.depth,
        )


@dataclass(frozen=True)
class SegmentationConfig:
    """Train a U-Net to find the lungs in chest X-rays.

    Attributes:
        base_filters: Filters of the first stage; by default 64 on a GPU and 16 without one.
        upsampling: "transpose" (learned) or "bilinear".
        image_size: Height and width that the model sees, in pixels; each must divide by 16.
        coarse_epochs: Epochs at half the size first, four times as fast; by default none on a GPU
            and 10 without one.
        epochs: Most epochs at full size; by default 40 on a GPU and 3 without one.
        batch_size: Images a step.
        loss: "bce_dice" or "focal_tversky".
        bce_weight: Weight of the cross-entropy in bce_dice.
        dice_weight: Weight of the Dice loss in bce_dice.
        monitor: Which validation figure picks the best epoch: "dice" or "loss".
        patience: Stop after so many epochs without a better one.
        test_time_augmentation: Whether predictions are averaged over three grey curves of the
            image.
        save_masks: Whether the test images' predicted masks are written as PNG.
        folds: Cross-validation: so many runs that between them test every image once; 2, 4, 5, 10
            or 20. Each tests 20 / folds of the 20 folds, in the place of test_folds' default.
        seeds: So many runs that differ in their seed, counted up from runtime.seed.
        name: The run's name; by default unet and its base filters.
        runs: Folder of run folders.
        overwrite: Whether a run of the same name with other settings is replaced.
        data: Images.
        split: Folds.
        augment: Random changes.
        optimizer: Learning.
        runtime: Machine.
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
    test_time_augmentation: bool = False
    save_masks: bool = False
    folds: int = 1
    seeds: int = 1
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

    def __post_init__(self):
        _check_training(self)
        _check(
            all(16 <= side <= 4096 and side % 16 == 0 for side in self.image_size),
            "image_size must be multiples of 16, up to 4096: the U-Net halves its input four times",
            image_size=self.image_size,
        )
        _check(
            self.base_filters is None or 1 <= self.base_filters <= 256,
            "base_filters must be from 1 to 256",
            base_filters=self.base_filters,
        )
        _check(
            self.coarse_epochs is None
            or self.coarse_epochs == 0
            or (self.coarse_epochs > 0 and all(side % 32 == 0 for side in self.image_size)),
            "coarse_epochs must not be negative, and needs an image_size of multiples of 32",
            coarse_epochs=self.coarse_epochs,
            image_size=self.image_size,
        )
        _check(
            min(self.bce_weight, self.dice_weight) >= 0 and self.bce_weight + self.dice_weight > 0,
            "bce_weight and dice_weight must not be negative, nor both 0",
            bce_weight=self.bce_weight,
            dice_weight=self.dice_weight,
        )


def _check_training(config: Any) -> None:
    for name in ("epochs", "batch_size", "patience"):
        value = getattr(config, name)
        _check(value is None or value > 0, f"{name} must be positive", **{name: value})
    if config.name is not None:
        _check(
            re.fullmatch(r"[\w][\w.+-]*", config.name) is not None,
            "name must be letters, digits, '_', '-', '+' and '.' (it names a folder)",
            name=config.name,
        )
    _check_repeats(config)


def _check_repeats(config: Any) -> None:
    folds, seeds, split = config.folds, config.seeds, config.split
    _check(folds in (1, 2, 4, 5, 10, 20), "folds must be 1, 2, 4, 5, 10 or 20", folds=folds)
    _check(seeds > 0, "seeds must be positive", seeds=seeds)
    _check(folds == 1 or seeds == 1, "folds or seeds must be 1", folds=folds, seeds=seeds)
    if folds > 1:
        _check(split.offset == 0, "split.offset must be 0: folds rotate it", offset=split.offset)
        _check(
            split.test_folds in (SplitConfig.test_folds, 20 // folds),
            f"split.test_folds must be left out, or 20 / folds = {20 // folds}",
            test_folds=split.test_folds,
            folds=folds,
        )
        replace(split, test_folds=20 // folds)  # refuses what leaves no fold to train
    _check(
        config.runtime.seed + seeds <= 2**31,
        "runtime.seed must leave room for all seeds below 2**31",
        seed=config.runtime.seed,
        seeds=seeds,
    )


TrainingConfig = ClassificationConfig | SegmentationConfig


@dataclass(frozen=True)
class StudyConfig:
    """Train a classifier for each backbone and depth, and a U-Net; then report on all of them.

    Attributes:
        backbones: Backbones, each trained at each depth.
        depths: Depths.
        weights: A backbone's weights, as --weights.efficientnetb0 PATH; "auto" for the others.
        segmentation: Whether the U-Net is trained too, "on" or "off".
        runs: Folder of the study: its run folders and report/.
        overwrite: Whether runs with other settings are replaced; finished ones of the same
            settings are kept in any case.
        classifier: What the classifiers share.
        unet: The U-Net; where its own data.source is "auto", it takes the study's images.
        data: Images of the classifiers, and where stores and features lie.
        split: Folds.
        runtime: Machine.
    """

    backbones: tuple[str, ...] = ("shufflenetv2", "efficientnetb0")
    depths: tuple[Depth, ...] = (0, 1, 2)
    weights: dict[str, str] = field(default_factory=dict)
    segmentation: Literal["on", "off"] = "on"
    runs: Path = Path("runs/study")
    overwrite: bool = False
    classifier: ClassificationConfig = field(default_factory=ClassificationConfig)
    unet: SegmentationConfig = field(default_factory=SegmentationConfig)
    data: DataConfig = field(default_factory=DataConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)

    def __post_init__(self):
        for name in ("backbones", "depths"):
            values = getattr(self, name)
            _check(
                len(values) > 0 and len(set(values)) == len(values),
                f"{name} must be different ones, at least one",
                **{name: values},
            )
        unknown = sorted(set(self.weights) - set(self.backbones))
        _check(not unknown, "weights must be of the study's backbones", weights=unknown)
        for part, given, names in (
            ("classifier", self.classifier, ("backbone", "depth", "weights", "data")),
            ("unet", self.unet, ()),
        ):
            default = type(given)()
            for name in (*names, "folds", "seeds", "name", "runs", "overwrite", "split", "runtime"):
                _check(
                    getattr(given, name) == getattr(default, name),
                    f"{part}.{name} must be left out: the study sets it",
                    **{name: getattr(given, name)},
                )
