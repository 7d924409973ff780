"""The study: goes on after a failure, skips what is finished, and reports what is there."""

import contextlib
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from kerascxr import __main__ as verbs
from kerascxr.cli import study_runs
from kerascxr.config import DataConfig, SegmentationConfig, StudyConfig
from kerascxr.training import classification
from tests.support.at_once import Busy, call_twice_at_once
from tests.support.small_runs import bright_and_dark


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("work")
    bright_and_dark(folder / "set")
    return folder


def study(workplace, *more):
    return verbs.main(
        [
            *("study", "--backbones", "[tiny]", "--depths", "[0,1]"),
            *("--weights.tiny", "none", "--classifier.image_size", "[32,32]"),
            *("--classifier.epochs", "1", "--classifier.augmented_copies", "1"),
            *("--runtime.tensorboard", "false"),
            *("--data.source", f"{workplace}/set", "--data.stores", f"{workplace}/stores"),
            *("--data.features", f"{workplace}/features", "--runs", f"{workplace}/study", *more),
        ]
    )


def test_a_failure_loses_nothing_and_the_same_command_completes_it(workplace, monkeypatch, capsys):
    train = classification.train
    trained = []

    def broken(config, folder):
        trained.append(config.depth)
        if config.depth == 0 and len(trained) == 1:
            raise RuntimeError("the disk is on fire")
        return train(config, folder)

    monkeypatch.setattr(classification, "train", broken)
    assert study(workplace) == 1
    shown = capsys.readouterr().out
    assert "tiny-depth0  failed: the disk is on fire" in shown
    assert "left out: no lung masks" in shown
    report = workplace / "study" / "report" / "report.md"
    text = report.read_text(encoding="utf-8")
    assert "Tiny, depth 1" in text and "depth 0" not in text
    log = workplace / "study" / "classification" / "tiny-depth0" / "log.txt"
    assert "Traceback" in log.read_text(encoding="utf-8")

    assert study(workplace) == 0
    assert trained == [0, 1, 0]
    assert "tiny-depth1  done before" in capsys.readouterr().out
    assert "Tiny, depth 0" in report.read_text(encoding="utf-8")

    # Before any training, so that no report mixes two studies.
    assert study(workplace, "--depths", "[2,1]", "--classifier.dropout", "0.5") == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "tiny-depth1 holds a run with other settings (dropout: " in line
    assert line.endswith(
        "Give the study another --runs, or replace such runs with --overwrite true."
    )
    assert trained == [0, 1, 0]
    assert study(workplace, "--overwrite", "true") == 0
    assert trained == [0, 1, 0], "a finished run of the same settings was trained again"
    shown = capsys.readouterr().out
    assert shown.count("minutes") == 1, "the table is to come once where nothing was trained"
    assert shown.count("done before") == 2

    # Images of now would stand beside scores of those of before. A file alone that is written again
    # is no other image.
    (workplace / "set/dark/0.png").touch()
    assert study(workplace) == 0
    capsys.readouterr()
    shutil.copy(workplace / "set/dark/0.png", workplace / "set/dark/new.png")
    assert study(workplace, "--depths", "[2,1]") == 2
    assert "tiny-depth1 holds a run on other images" in capsys.readouterr().err.splitlines()[-1]
    assert trained == [0, 1, 0]
    monkeypatch.setattr(classification, "train", lambda config, _: trained.append(config.depth))
    study(workplace, "--overwrite", "true")
    assert trained == [0, 1, 0, 0, 1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"backbones": ()}, "at least one"),
        ({"depths": (1, 1)}, "different ones"),
        ({"weights": {"resnet": "none"}}, "weights must be of the study's backbones"),
    ],
)
def test_wrong_studies_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        StudyConfig(**options)


def test_the_unet_uses_the_studys_phantom_unless_it_has_images_of_its_own(monkeypatch):
    monkeypatch.setattr(study_runs, "_has_masks", lambda config: True)
    data = DataConfig(source="phantom", phantom_seed=5)
    own = DataConfig(source="phantom", phantom_seed=7)
    for unet, seed in ((SegmentationConfig(), 5), (SegmentationConfig(data=own), 7)):
        part = study_runs._parts(StudyConfig(data=data, unet=unet))[-1]
        assert (part.task, part.config.data.source) == ("segmentation", "phantom")
        assert part.config.data.phantom_seed == seed


@pytest.mark.parametrize(
    ("option", "refused"),
    [
        ({"phantom_seed": 7}, True),
        ({"phantom_images": 7}, False),
        ({"source": "phantom", "phantom_seed": 7}, False),
        ({"source": "phantom", "cache": "disk"}, True),
        ({"stores": Path("elsewhere")}, True),
    ],
)
def test_options_of_the_unets_images_are_used_or_refused(option, refused):
    unet = SegmentationConfig(data=replace(SegmentationConfig().data, **option))
    expected = contextlib.nullcontext()
    if refused:
        name = list(option)[-1]
        match = f"unet.data.{name} must be left out: the study sets it by --data.{name}"
        expected = pytest.raises(ValueError, match=match)
    with expected:
        StudyConfig(unet=unet)


def test_of_two_studies_in_one_folder_one_waits(tmp_path, monkeypatch):
    busy, config = Busy(), StudyConfig(runs=tmp_path / "study")
    monkeypatch.setattr(study_runs, "_parts", busy)
    call_twice_at_once(lambda: study_runs.run_study(config))
    assert (busy.calls, busy.most) == (2, 1)


def test_what_the_study_sets_itself_is_refused(capsys):
    with pytest.raises(SystemExit) as ended:
        verbs.main(["study", "--classifier.depth", "2"])
    assert ended.value.code == 2
    assert "classifier.depth must be left out" in capsys.readouterr().err
