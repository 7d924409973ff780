"""Options that both training commands share: augmentation, optimizer, machine."""

import re
from dataclasses import dataclass, replace
from typing import Any, Literal

from kerascxr.config.checks import check
from kerascxr.config.data import SplitConfig

_FRACTIONS = ("shift", "zoom", "stretch", "brightness", "contrast", "noise", "bias_field")


@dataclass(frozen=True)
class AugmentConfig:
    """Augmentation of training images; each value is the largest change in either direction.

    Attributes:
        enabled: Whether training images are augmented.
        probability: Probability that a change is made to an image; each change of each image is
            decided by itself.
        rotation_degrees: Rotation, in degrees.
        shift: Shift, as a fraction of height and width.
        zoom: Change of size, as a fraction.
        stretch: Change of the ratio of height to width, as a fraction.
        brightness: Added to all pixels, as a fraction of the grey range.
        contrast: Change of contrast about the image's mean, as a fraction.
        gamma: Change of the grey curve: its exponent lies between 1 / (1 + gamma) and 1 + gamma.
        noise: Largest standard deviation of added Gaussian noise, as a fraction of the grey range.
        blur: Largest standard deviation of a Gaussian blur, in pixels; at least half of the
            images stay sharp.
        resolution: Largest loss of resolution, as a fraction: the image is reduced by up to this
            and enlarged again.
        sharpen: Largest strength of an unsharp mask: this times the difference to a blurred image
            is added.
        jpeg: Lowest quality, of 100, of a JPEG compression, which is 95 at most; 0 turns it off.
        bias_field: Largest standard deviation of a smooth random field that is added to the image,
            as a fraction of the grey range. It imitates uneven exposure and opacities.
        flip: Whether images are mirrored left to right. Off by default: the heart is on one side.
    """

    enabled: bool = True
    probability: float = 1.0
    rotation_degrees: float = 7.0
    shift: float = 0.05
    zoom: float = 0.1
    stretch: float = 0.0
    brightness: float = 0.1
    contrast: float = 0.1
    gamma: float = 0.0
    noise: float = 0.0
    blur: float = 0.0
    resolution: float = 0.0
    sharpen: float = 0.0
    jpeg: int = 0
    bias_field: float = 0.0
    flip: bool = False

    def __post_init__(self):
        check(
            0 <= self.rotation_degrees <= 180,
            "augment.rotation_degrees must be from 0 to 180",
            rotation_degrees=self.rotation_degrees,
        )
        for name in _FRACTIONS:
            value = getattr(self, name)
            check(0 <= value < 1, f"augment.{name} must be from 0 to below 1", **{name: value})
        check(0 <= self.blur <= 4, "augment.blur must be from 0 to 4", blur=self.blur)
        check(0 <= self.gamma <= 4, "augment.gamma must be from 0 to 4", gamma=self.gamma)
        check(
            0 <= self.resolution <= 0.9,
            "augment.resolution must be from 0 to 0.9",
            resolution=self.resolution,
        )
        check(0 <= self.sharpen <= 4, "augment.sharpen must be from 0 to 4", sharpen=self.sharpen)
        check(0 <= self.jpeg <= 95, "augment.jpeg must be from 0 to 95", jpeg=self.jpeg)
        check(
            0 < self.probability <= 1,
            "augment.probability must be above 0 and at most 1",
            probability=self.probability,
        )


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with a linear warm-up and a cosine decay to zero.

    Attributes:
        learning_rate: Peak learning rate.
        weight_decay: Decoupled weight decay; not on biases and normalisation parameters.
        warmup_epochs: Number of epochs over which the learning rate rises from zero.
        clip_norm: Largest global norm of the gradient; 0 turns clipping off.
        ema: Momentum of an exponential moving average of the weights, below 1. Validation and the
            saved model use the average. 0 turns it off.
    """

    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    warmup_epochs: float = 1.0
    clip_norm: float = 1.0
    ema: float = 0.0

    def __post_init__(self):
        check(
            0 < self.learning_rate < 10,
            "optimizer.learning_rate must be positive and below 10",
            learning_rate=self.learning_rate,
        )
        check(0 <= self.ema < 1, "optimizer.ema must be from 0 to below 1", ema=self.ema)
        for name in ("weight_decay", "warmup_epochs", "clip_norm"):
            value = getattr(self, name)
            check(value >= 0, f"optimizer.{name} must not be negative", **{name: value})


@dataclass(frozen=True)
class RuntimeConfig:
    """Machine, precision and seed.

    Attributes:
        seed: Seed of weights, order, dropout and augmentation.
        precision: Number type of the training step and of augmented copies. "auto" is
            mixed_bfloat16 or mixed_float16 on GPUs that support it, mixed_bfloat16 on CPUs with
            AVX512_BF16 or AMX where it shortens the run, otherwise float32.
        device_strategy: "auto" uses all GPUs; "single" uses one device; "mirrored" copies the
            model to every GPU.
        xla: Whether XLA compiles the training step. "auto" compiles on GPUs only: on CPUs it was
            four times slower.
        deterministic: Whether the same seed gives the same numbers, at some cost in speed on GPUs.
        tensorboard: Whether TensorBoard logs are written into the run folder.
        checkpoint_seconds: Least number of seconds between checkpoints, which are written at the
            end of an epoch. A killed run loses at most this time and one epoch.
    """

    seed: int = 0
    precision: Literal["auto", "float32", "mixed_float16", "mixed_bfloat16"] = "auto"
    device_strategy: Literal["auto", "single", "mirrored"] = "auto"
    xla: bool | Literal["auto"] = "auto"
    deterministic: bool = True
    tensorboard: bool = True
    checkpoint_seconds: float = 10.0

    def __post_init__(self):
        check(
            self.checkpoint_seconds >= 0,
            "runtime.checkpoint_seconds must not be negative",
            checkpoint_seconds=self.checkpoint_seconds,
        )
        check(0 <= self.seed < 2**31, "runtime.seed must be from 0 to 2**31 - 1", seed=self.seed)


def check_training(config: Any) -> None:
    """Checks the options that both training configs have.

    Raises:
        ValueError: If one of them is out of its range.
    """
    for name in ("epochs", "batch_size", "patience"):
        if name in getattr(config, "may_be_zero", ()):
            continue
        value = getattr(config, name)
        check(value is None or value > 0, f"{name} must be positive", **{name: value})
    if config.name is not None:
        check(
            re.fullmatch(r"[\w][\w.+-]*", config.name) is not None,
            "name must be letters, digits, '_', '-', '+' and '.' (it names a folder)",
            name=config.name,
        )
    check(config.workers > 0, "workers must be positive", workers=config.workers)
    check(
        config.workers == 1 or (config.folds == config.seeds == 1 and config.cluster is None),
        "workers must be 1 with folds, seeds or a cluster, which train one run in each process",
        workers=config.workers,
    )
    check(
        config.workers <= config.batch_size,
        "workers must be at most batch_size: each computes a part of every batch",
        workers=config.workers,
        batch_size=config.batch_size,
    )
    _check_repeats(config)


def _check_repeats(config: Any) -> None:
    folds, seeds, split = config.folds, config.seeds, config.split
    check(folds in (1, 2, 4, 5, 10, 20), "folds must be 1, 2, 4, 5, 10 or 20", folds=folds)
    check(seeds > 0, "seeds must be positive", seeds=seeds)
    check(folds == 1 or seeds == 1, "folds or seeds must be 1", folds=folds, seeds=seeds)
    if folds > 1:
        check(split.offset == 0, "split.offset must be 0: folds rotate it", offset=split.offset)
        check(
            split.test_folds in (SplitConfig.test_folds, 20 // folds),
            f"split.test_folds must be left out, or 20 / folds = {20 // folds}",
            test_folds=split.test_folds,
            folds=folds,
        )
        replace(split, test_folds=20 // folds)  # raises if no fold is left for training
    check(
        config.runtime.seed + seeds <= 2**31,
        "runtime.seed must leave room for all seeds below 2**31",
        seed=config.runtime.seed,
        seeds=seeds,
    )
