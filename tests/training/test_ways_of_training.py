"""Each way of training the classifier runs from end to end."""

import pytest

import train_cls
from tests.support.small_runs import arguments, bright_and_dark


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("work")
    bright_and_dark(folder / "set")
    return folder


@pytest.mark.parametrize(
    "options",
    [
        ["--depth", "0", "--features", "false", "--monitor", "loss"],
        [
            *("--depth", "2", "--augmented_copies", "2", "--class_balance", "sampling"),
            *("--runtime.precision", "mixed_bfloat16", "--data.cache", "disk"),
        ],
        ["--depth", "all", "--label_smoothing", "0.1", "--class_balance", "weights"],
    ],
    ids=["images", "views", "all"],
)
def test_it_finishes(workplace, options, request):
    name = request.node.callspec.id
    argv = arguments(workplace, "--data.source", f"{workplace}/set", "--epochs", "1", *options)
    assert train_cls.main([*argv, "--name", name]) == 0
    assert (workplace / "runs" / "classification" / name / "DONE").exists()
