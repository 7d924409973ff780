"""Runs that the tests of serving share."""

import json

import numpy as np
import pytest
from small_runs import arguments, bright_and_dark, pairs

import train_cls
import train_seg
from kerascxr.evaluation.calibration import apply_temperature


@pytest.fixture(scope="session")
def served(tmp_path_factory):
    """A folder with images in set/, a classification and a segmentation run in runs/."""
    folder = tmp_path_factory.mktemp("served")
    bright_and_dark(folder / "set")
    argv = arguments(folder, "--data.source", f"{folder}/set", "--depth", "0")
    assert train_cls.main([*argv, "--epochs", "2", "--name", "first"]) == 0
    places = ["--runs", f"{folder}/runs", "--data.stores", f"{folder}/stores"]
    small = ["--base_filters", "2", "--image_size", "[32,32]", "--epochs", "1"]
    small += ["--coarse_epochs", "0", "--runtime.tensorboard", "false", "--name", "lungs"]
    lungs = ["--data.source", pairs(folder / "lungs")]
    assert train_seg.main([*places, *small, *lungs]) == 0
    return folder


@pytest.fixture(scope="session")
def at_temperature():
    """Gives the test's probabilities, from its raw ones, as a run's predictions and exports do."""

    def apply(run, probabilities):
        found = json.loads((run / "metrics.json").read_text())["calibration"]["temperature"]
        return apply_temperature(np.asarray(probabilities), found)

    return apply


@pytest.fixture(scope="session")
def runs(served):
    """The two runs' folders."""
    return served / "runs/classification/first", served / "runs/segmentation/lungs"
