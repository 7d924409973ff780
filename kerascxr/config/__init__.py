"""Options as frozen dataclasses: every value is checked, and the docstrings are the help texts."""

from kerascxr.config.classification import PACKAGED, ClassificationConfig, Depth
from kerascxr.config.cluster import ResourcesConfig
from kerascxr.config.data import DataConfig, SplitConfig
from kerascxr.config.pretraining import PretrainingConfig
from kerascxr.config.segmentation import SegmentationConfig
from kerascxr.config.study import StudyConfig
from kerascxr.config.training import AugmentConfig, OptimizerConfig, RuntimeConfig

TrainingConfig = ClassificationConfig | SegmentationConfig

__all__ = [
    "PACKAGED",
    "AugmentConfig",
    "ClassificationConfig",
    "DataConfig",
    "Depth",
    "OptimizerConfig",
    "PretrainingConfig",
    "ResourcesConfig",
    "RuntimeConfig",
    "SegmentationConfig",
    "SplitConfig",
    "StudyConfig",
    "TrainingConfig",
]
