"""Options of a classification run."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from kerascxr.config.checks import check
from kerascxr.config.cluster import ResourcesConfig
from kerascxr.config.data import DataConfig, SplitConfig
from kerascxr.config.training import AugmentConfig, OptimizerConfig, RuntimeConfig, check_training

Depth = Literal[0, 1, 2, "all"]

PACKAGED = Path("package")
"""What ``lungs`` holds for the lung model that comes with the package."""


@dataclass(frozen=True)
class ClassificationConfig:
    """Fine-tune a pretrained backbone to classify chest X-rays.

    Attributes:
        backbone: efficientnetb0, shufflenetv2 (x1.0) or shufflenetv2_x0_5.
        depth: How much is trained: 0 the head, 1 and 2 more, "all" everything. 1 is also the last
            convolution, 2 also the last stage.
        weights: Starting weights of the backbone: "imagenet", "drawn", "none", a file, or "auto".
            "drawn" comes with the package, pretrained on drawn X-rays; "none" is random; a file is
            a .weights.h5, .keras or .pth; "auto" is imagenet if it can be downloaded, otherwise
            drawn.
        weights_sha256: SHA-256 that the file of starting weights must have. A run's config.yaml has
            it, so that a run is repeated with the same weights or not at all.
        image_size: Height and width of the model's input, in pixels, as 224,224.
        roi: Part of each image that the model gets, as "lung_crop". "none" is the full image,
            "lung_crop" the box around the lungs, "lungs_only" the lungs with the rest black,
            "lungs_equalized" also without what differs between hospitals in sharpness and grey,
            "lung_channel" the full image with the lung mask as a channel. The others are input
            ablations, which measure what a model learns from the rest: "without_lungs",
            "border_only", "without_corners", "thumbnail" (8x8), "lung_outline".
        lungs: A finished segmentation run that finds the lungs for the roi. By default the
            source's own masks are used, or the lung model that comes with kerascxr where an image
            has none. "package" is that model.
        control_marker: Plants a marker that reveals the class into each image, to measure whether a
            model can learn it: "corner_bar" or, into the lung mask, "mask_corner_bar".
        epochs: Largest number of epochs.
        batch_size: Images per step.
        dropout: Dropout rate after each hidden layer of the head.
        label_smoothing: Share of the target that is spread over all classes.
        class_balance: "none", "weights" (loss weighted by inverse class frequency) or "sampling"
            (every class equally often).
        monitor: Validation metric that selects the best epoch: "f1" (macro) or "loss". With
            augmented copies cached, its mean over the validation images and a copy of each.
        patience: Stop after this number of epochs without improvement.
        update_statistics: Whether BatchNorm statistics of trained layers are updated. Those of
            frozen layers never are.
        features: Whether the output of the frozen layers is computed once and cached, instead of
            in every epoch. "auto" caches it at depth 0, 1 and 2. Cached features are not augmented
            anew in every epoch: see augmented_copies.
        augmented_copies: With cached features: number of versions of each training image. The first
            is not augmented and is half of each epoch; the others are used in turn. 1 turns
            augmentation off.
        linear_probe: Whether the answer is the mean of the head's and of a linear probe's. That is
            a softmax regression of the statistics of all frozen stages. "auto" adds one where
            features are cached.
        feature_engine: What computes features: "keras", "openvino" (faster on CPUs; pip install
            openvino), or "auto" (openvino if it is installed and there is no GPU).
        folds: Number of cross-validation runs: 2, 4, 5, 10 or 20. Together they test every image
            once; each run tests 20 / folds of the 20 folds, and test_folds is left out.
        seeds: Number of runs that differ only in their seed. It is counted up from runtime.seed.
        cluster: Runs folds or seeds at once: "local" on this machine, an address on a Ray cluster.
            It needs pip install 'kerascxr[cluster]'.
        workers: Number of processes on this machine that train one run together, each a part of
            every batch. Workers on several machines are started with TF_CONFIG instead.
        name: Name of the run. By default backbone, depth and roi.
        runs: Folder of run folders.
        overwrite: Whether a run of the same name with other options is replaced.
        data: Images.
        split: Folds.
        augment: Augmentation.
        optimizer: Optimizer.
        runtime: Machine.
        resources: What each run takes on a cluster.
    """

    backbone: str = "efficientnetb0"
    depth: Depth = 1
    weights: str = "auto"
    weights_sha256: str | None = None
    image_size: tuple[int, int] = (224, 224)
    roi: str = "none"
    lungs: Path | None = None
    control_marker: str | None = None
    epochs: int = 30
    batch_size: int = 32
    dropout: float = 0.3
    label_smoothing: float = 0.0
    class_balance: Literal["none", "weights", "sampling"] = "none"
    monitor: Literal["f1", "loss"] = "f1"
    patience: int = 15
    update_statistics: bool = True
    features: bool | Literal["auto"] = "auto"
    augmented_copies: int = 5
    linear_probe: bool | Literal["auto"] = "auto"
    feature_engine: Literal["auto", "keras", "openvino"] = "auto"
    folds: int = 1
    seeds: int = 1
    cluster: str | None = None
    workers: int = 1
    name: str | None = None
    runs: Path = Path("runs")
    overwrite: bool = False
    data: DataConfig = field(default_factory=DataConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    augment: AugmentConfig = field(
        default_factory=lambda: AugmentConfig(
            probability=0.3,
            rotation_degrees=10.0,
            shift=0.0,
            zoom=0.0,
            brightness=0.0,
            contrast=0.75,
            gamma=1.2,
            noise=0.08,
            blur=3.5,
            resolution=0.65,
            sharpen=1.5,
            jpeg=12,
        )
    )
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    resources: ResourcesConfig = field(default_factory=ResourcesConfig)

    def __post_init__(self):
        check_training(self)
        check(
            all(32 <= side <= 4096 for side in self.image_size),
            "image_size must be from 32 to 4096",
            image_size=self.image_size,
        )
        check(0 <= self.dropout < 1, "dropout must be from 0 to below 1", dropout=self.dropout)
        check(
            0 <= self.label_smoothing < 1,
            "label_smoothing must be from 0 to below 1",
            label_smoothing=self.label_smoothing,
        )
        check(
            self.augmented_copies > 0,
            "augmented_copies must be positive",
            augmented_copies=self.augmented_copies,
        )
        check(
            self.features is not True or self.depth != "all",
            "features must be false or auto at depth all, where no layer is frozen",
            features=self.features,
            depth=self.depth,
        )
        cached = self.depth != "all" and self.features is not False
        check(
            self.linear_probe is not True or cached,
            "linear_probe must be false or auto at depth all and with features false, where no "
            "layer statistics are cached",
            linear_probe=self.linear_probe,
        )
