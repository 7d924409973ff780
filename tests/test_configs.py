"""Every file of configs/ is one that its trainer takes, and says how to run it."""

from pathlib import Path

import pytest

from kerascxr.config import ClassificationConfig, SegmentationConfig, StudyConfig
from kerascxr.parsing import load_config

CONFIGS = sorted((Path(__file__).parent.parent / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_it_loads_and_its_header_gives_the_command(path):
    header = [line for line in path.read_text(encoding="utf-8").splitlines() if line[:1] == "#"]
    command, config_class = "train_cls.py", ClassificationConfig
    if path.stem.startswith("unet"):
        command, config_class = "train_seg.py", SegmentationConfig
    if path.stem == "study":
        command, config_class = "-m kerascxr study", StudyConfig
    assert any(f"python {command} --config configs/{path.name}" in line for line in header)
    config = load_config(config_class, path)
    assert config_class is StudyConfig or config.name


def test_the_six_runs_of_the_study_are_there():
    studied = {
        (config.backbone, config.depth, config.weights)
        for config in (
            load_config(ClassificationConfig, path)
            for path in CONFIGS
            if path.stem.startswith("study_")
        )
    }
    backbones = ("efficientnetb0", "shufflenetv2")
    assert studied == {(name, depth, "imagenet") for name in backbones for depth in (0, 1, 2)}
    whole = load_config(StudyConfig, next(path for path in CONFIGS if path.stem == "study"))
    assert {(name, depth) for name in whole.backbones for depth in whole.depths} == {
        (name, depth) for name, depth, _ in studied
    }
