"""Options of a study: several classifiers and a U-Net."""

from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

from kerascxr.config.checks import check
from kerascxr.config.classification import ClassificationConfig, Depth
from kerascxr.config.cluster import ResourcesConfig
from kerascxr.config.data import DataConfig, SplitConfig
from kerascxr.config.segmentation import SegmentationConfig
from kerascxr.config.training import RuntimeConfig

_SET_BY_THE_STUDY = (
    *("folds", "seeds", "cluster", "workers", "name", "runs", "overwrite"),
    *("split", "runtime", "resources"),
)
_IMAGES_OF_THE_UNET = ("phantom_images", "source", "phantom_seed")  # with a source of its own, all
_OPTIONS = {"backbone": "backbones", "depth": "depths"}


@dataclass(frozen=True)
class StudyConfig:
    """Train a classifier for each backbone and depth, and a U-Net; then write a report.

    Attributes:
        backbones: Backbones, each trained at each depth, as a,b.
        depths: Depths, as 0,1,2.
        weights: Starting weights of a backbone, as --weights.efficientnetb0 PATH; "auto" for the
            others.
        segmentation: Whether the U-Net is trained too.
        cluster: Trains several runs at once: "local" on this machine, an address on a Ray cluster.
            It needs pip install 'kerascxr[cluster]'.
        runs: Folder of the study: its run folders and report/.
        overwrite: Whether runs with other options are replaced. Finished runs with the same
            options are always kept.
        classifier: Options that the classifiers share.
        unet: Options of the U-Net; if its data.source is "auto", it uses the study's images, of a
            phantom unet.data.phantom_images of them. Folders and caches are the study's.
        data: Images of the classifiers, and the folders of stores and features.
        split: Folds.
        runtime: Machine.
        resources: What each run takes on a cluster.
    """

    backbones: tuple[str, ...] = ("shufflenetv2", "efficientnetb0")
    depths: tuple[Depth, ...] = (0, 1, 2)
    weights: dict[str, str] = field(default_factory=dict)
    segmentation: bool = True
    cluster: str | None = None
    runs: Path = Path("runs/study")
    overwrite: bool = False
    classifier: ClassificationConfig = field(default_factory=ClassificationConfig)
    unet: SegmentationConfig = field(default_factory=SegmentationConfig)
    data: DataConfig = field(default_factory=DataConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    resources: ResourcesConfig = field(default_factory=ResourcesConfig)

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
                _check_left_out(part, name, getattr(given, name), getattr(default, name))
        own, usual = self.unet.data, SegmentationConfig().data
        taken = _IMAGES_OF_THE_UNET[: None if own.source != "auto" else 1]
        for item in fields(own):
            if item.name not in taken:
                values = (getattr(own, item.name), getattr(usual, item.name))
                _check_left_out("unet", f"data.{item.name}", *values)


def _check_left_out(part: str, name: str, given: Any, default: Any) -> None:
    """Checks that an option of a part has its default; the message names the study's own option.

    Raises:
        ValueError: If it has another value.
    """
    if is_dataclass(given):
        for item in fields(given):
            values = (getattr(given, item.name), getattr(default, item.name))
            _check_left_out(part, f"{name}.{item.name}", *values)
        return
    own = _OPTIONS.get(name, name)
    known = {item.name for item in fields(StudyConfig)}
    by = f" by --{own}" if own.partition(".")[0] in known else ""
    check(
        given == default, f"{part}.{name} must be left out: the study sets it{by}", **{name: given}
    )
