"""Each way of training the classifier runs from end to end."""

import json
import shutil
import zipfile
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import yaml

import train_cls
from kerascxr.models.decision_rule import FILE
from kerascxr.training import classification, decisions, features, runtime
from tests.support.small_runs import arguments


@pytest.fixture(scope="module")
def workplace(served, tmp_path_factory):
    folder = tmp_path_factory.mktemp("work")
    (folder / "set").symlink_to(served / "set")
    (folder / "stores").symlink_to(served / "stores")
    return folder


class Enough(BaseException):
    """Ends a training where the test has seen enough of it."""


@pytest.mark.parametrize(
    ("options", "regime"),
    [
        (
            ["--depth", "0", "--features", "false", "--monitor", "loss"],
            {"trained_on": "images", "augmentation": True, "feature_engine": None},
        ),
        (
            [
                *("--depth", "2", "--augmented_copies", "2", "--class_balance", "sampling"),
                *("--runtime.precision", "mixed_bfloat16", "--data.cache", "disk"),
            ],
            {
                "trained_on": "cached augmented copies",
                "augmentation": True,
                "augmented_copies": 2,
                "feature_engine": "keras",
                "precision": "mixed_bfloat16",
            },
        ),
        (
            ["--depth", "all", "--label_smoothing", "0.1", "--class_balance", "weights"],
            {"trained_on": "images", "augmented_copies": None, "precision": "float32"},
        ),
    ],
    ids=["images", "views", "all"],
)
def test_it_finishes_and_its_config_gives_the_same_regime_on_another_machine(
    workplace, options, regime, request, monkeypatch
):
    name = request.node.callspec.id
    passes = []
    of = decisions.Statistics.of
    monkeypatch.setattr(
        decisions.Statistics, "of", lambda self, pixels: passes.append(pixels) or of(self, pixels)
    )
    argv = arguments(workplace, "--data.source", f"{workplace}/set", "--epochs", "1", *options)
    assert train_cls.main([*argv, "--name", name]) == 0
    run = workplace / "runs" / "classification" / name
    assert (run / "DONE").exists()
    recorded = json.loads((run / "metrics.json").read_text())["regime"]
    assert recorded == recorded | regime
    # Layer statistics of images as they are come with features: they take no pass of their own.
    parts = json.loads((run / "metrics.json").read_text())["data"]["images"]
    expected = [parts["train"]] * 4  # altered in four ways
    if regime["trained_on"] == "images":
        expected = [parts["train"], parts["validation"], *expected, parts["test"]]
    assert [len(pixels) for pixels in passes] == expected
    assert recorded["device_strategy"] == "single" and recorded["xla"] is False
    assert "CPU" in recorded["devices"][0]
    assert json.loads((run / "environment.json").read_text())["regime"] == recorded
    with zipfile.ZipFile(
        run / "model.keras"
    ) as archive:  # read by Keras without the trainer's code
        assert not json.loads(archive.read("config.json")).get("compile_config")
    assert "auto" not in (run / "config.yaml").read_text().split()

    def stop(*arguments):
        raise Enough

    monkeypatch.setattr(classification, "fit", stop)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=0))
    monkeypatch.setattr(runtime, "_best_precision", lambda capabilities: "mixed_float16")
    with pytest.raises(Enough):
        train_cls.main(["--config", f"{run}/config.yaml", "--name", f"{name}-again"])
    again = run.with_name(f"{name}-again")
    assert json.loads((again / "environment.json").read_text())["regime"] == recorded
    one, other = (yaml.safe_load((at / "config.yaml").read_text()) for at in (run, again))
    assert other == one | {"name": f"{name}-again"}


def test_killed_while_its_rule_is_fitted_it_ends_with_the_same_rule(
    workplace, tmp_path, monkeypatch
):
    argv = arguments(workplace, "--data.source", f"{workplace}/set", "--depth", "all")
    argv += ["--epochs", "1", "--augment.enabled", "false", "--name", "whole"]
    fit_decider = classification.fit_decider

    def copied(*given):
        shutil.copytree(workplace / "runs/classification/whole", tmp_path / "classification/whole")
        return fit_decider(*given)

    with monkeypatch.context() as patched:
        patched.setattr(classification, "fit_decider", copied)
        assert train_cls.main(argv) == 0
    assert train_cls.main([*argv, "--runs", str(tmp_path)]) == 0  # as after a kill at that moment
    whole, resumed = workplace / "runs/classification/whole", tmp_path / "classification/whole"
    assert (resumed / "history.csv").read_text() == (whole / "history.csv").read_text()
    assert (resumed / "predictions.csv").read_text() == (whole / "predictions.csv").read_text()
    with np.load(whole / FILE) as one, np.load(resumed / FILE) as other:
        assert all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("options", "patched"),
    [
        (["--depth", "0"], (features.BackboneFeatures, "statistics")),
        (["--depth", "0", "--linear_probe", "false"], (features.BackboneFeatures, "statistics")),
        (["--depth", "all"], (decisions.Statistics, "of")),
    ],
    ids=["probe", "rule", "whole"],
)
def test_a_frozen_stage_that_overflows_is_one_line(
    workplace, options, patched, tmp_path, monkeypatch, capsys
):
    compute = getattr(*patched)

    def overflowing(*given):
        values = np.array(compute(*given))
        values[-1, 1] = np.inf
        return values

    monkeypatch.setattr(*patched, overflowing)
    argv = arguments(workplace, "--data.source", f"{workplace}/set", "--epochs", "1", *options)
    assert train_cls.main([*argv, "--runs", str(tmp_path)]) == 1
    [line] = capsys.readouterr().err.strip().splitlines()
    assert "layer statistics must be finite. Got NaN or infinity for 1 of" in line
    assert "training images, first in stem_relu; try --runtime.precision float32" in line
