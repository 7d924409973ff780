"""Options of a study: several classifiers and a U-Net."""

from dataclasses import dataclass, field
from pathlib import Path

from kerascxr.config.checks import check
from kerascxr.config.classification import ClassificationConfig, Depth
from kerascxr.config.data import DataConfig, SplitConfig
from kerascxr.config.segmentation import SegmentationConfig
from kerascxr.config.training import RuntimeConfig

_SET_BY_THE_STUDY = ("folds", "seeds", "name", "runs", "overwrite", "split", "runtime")


@dataclass(frozen=True)
class StudyConfig:
    """Train a classifier for each backbone and depth, and a U-Net; then write a report.

    Attributes:
        backbones: Backbones, each trained at each depth, as a,b.
        depths: Depths, as 0,1,2.
        weights: Starting weights of a backbone, as --weights.efficientnetb0 PATH; "auto" for the
            others.
        segmentation: Whether the U-Net is trained too.
        runs: Folder of the study: its run folders and report/.
        overwrite: Whether runs with other options are replaced. Finished runs with the same
            options are always kept.
        classifier: Options that the classifiers share.
        unet: Options of the U-Net; if its data.source is "auto", it uses the study's images.
        data: Images of the classifiers, and the folders of stores and features.
        split: Folds.
        runtime: Machine.
    """

    backbones: tuple[str, ...] = ("shufflenetv2", "efficientnetb0")
    depths: tuple[Depth, ...] = (0, 1, 2)
    weights: dict[str, str] = field(default_factory=dict)
    segmentation: bool = True
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
            check(
                len(values) > 0 and len(set(values)) == len(values),
                f"{name} must be different ones, at least one",
                **{name: values},
            )
        unknown = sorted(set(self.weights) - set(self.backbones))
        check(not unknown, "weights must be of the study's backbones", weights=unknown)
        for part, given, names in (
            (
                "classifier",
                self.classifier,
                ("backbone", "depth", "weights", "weights_sha256", "data"),
            ),
            ("unet", self.unet, ()),
        ):
            default = type(given)()
            for name in (*names, *_SET_BY_THE_STUDY):
                check(
                    getattr(given, name) == getattr(default, name),
                    f"{part}.{name} must be left out: the study sets it",
                    **{name: getattr(given, name)},
                )
