"""What runs of one process share, and that their numbers are those of runs alone."""

import pytest

import train_cls
from kerascxr import __main__ as verbs
from kerascxr.models.classifier import build_classifier
from kerascxr.training import decisions, features, inputs, linear_probe
from kerascxr.training.sharing import shared, sharing
from tests.support.small_runs import SMALL, arguments

FILES = ("metrics.json", "predictions.csv", "validation_predictions.csv")


def test_a_result_is_computed_once_within_the_block_and_each_time_outside():
    made = []

    def compute():
        made.append(None)
        return len(made)

    assert [shared("a", 1, compute), shared("a", 1, compute)] == [1, 2]
    with sharing():
        assert [shared("a", 1, compute), shared("a", 1, compute)] == [3, 3]
        assert shared("b", 1, compute) == 4  # of another kind
        assert shared("a", 2, compute) == 5  # which leaves no room for the first
        assert shared("a", 1, compute) == 6
        assert shared("c", 1, compute, most=2) == 7
        assert shared("c", 2, compute, most=2) == 8
        assert shared("c", 1, compute, most=2) == 7  # now the last used
        assert shared("c", 3, compute, most=2) == 9
        assert shared("c", 1, compute, most=2) == 7
        with pytest.raises(ZeroDivisionError):
            shared("a", 3, lambda: 1 // 0)
        assert shared("a", 3, compute) == 10  # a failure is not kept
    with sharing():
        assert shared("a", 3, compute) == 11
    assert shared("a", 3, compute) == 12


@pytest.fixture
def counted(monkeypatch):
    """How often is done what the runs of a study have in common."""
    counts = dict.fromkeys(("read", "engine", "checks", "probe"), 0)

    def count(module, name, what):
        plain = getattr(module, name)

        def call(*given, **options):
            counts[what] += 1
            return plain(*given, **options)

        monkeypatch.setattr(module, name, call)

    count(inputs, "read_parts", "read")
    count(features, "build_engine", "engine")
    count(decisions, "_fit_checks", "checks")
    count(linear_probe.StatisticsRegression, "fit", "probe")
    return counts


def test_a_studys_depths_share_what_does_not_depend_on_them_and_have_the_numbers_of_runs_alone(
    served, tmp_path, counted
):
    options = ["--epochs", "2", "--augmented_copies", "2", "--feature_engine", "keras"]
    places = ["--data.source", f"{served}/set", "--data.stores", f"{served}/stores"]
    for depth in ("1", "2"):
        own = ["--runs", f"{tmp_path}/alone", "--data.features", f"{tmp_path}/alone-features"]
        argv = [*arguments(tmp_path), *options, *places, *own, "--depth", depth]
        assert train_cls.main([*argv, "--name", f"tiny-depth{depth}"]) == 0
    assert counted == {"read": 2, "engine": 2, "checks": 2, "probe": 2}
    counted.update(dict.fromkeys(counted, 0))
    study = ["--runs", f"{tmp_path}/alone", "--data.features", f"{tmp_path}/features"]
    study = [item.replace("/alone", "/study") for item in study]
    study += ["--backbones", "tiny", "--depths", "1,2", "--segmentation", "false"]
    study += ["--weights.tiny", "none", "--runtime.tensorboard", "false"]
    study += ["--runtime.checkpoint_seconds", "0", "--classifier.image_size", "32,32"]
    study += ["--classifier.batch_size", SMALL[SMALL.index("--batch_size") + 1]]
    study += [item.replace("--", "--classifier.") for item in options]
    assert verbs.main(["study", *places, *study]) == 0
    assert counted == {"read": 1, "engine": 1, "checks": 1, "probe": 1}
    for depth in ("1", "2"):
        one, other = (
            tmp_path / name / "classification" / f"tiny-depth{depth}" for name in ("alone", "study")
        )
        for file in FILES:
            assert (one / file).read_bytes() == (other / file).read_bytes(), (depth, file)


@pytest.mark.parametrize("copies", [1, 2])
def test_seeds_share_what_does_not_depend_on_the_seed(served, tmp_path, counted, copies):
    argv = arguments(tmp_path, "--data.source", f"{served}/set", "--depth", "1")
    argv += ["--data.stores", f"{served}/stores", "--epochs", "1"]
    argv += ["--augmented_copies", str(copies)]
    start = tmp_path / "start.weights.h5"
    build_classifier("tiny", 3, image_size=(32, 32)).save_weights(start)
    assert train_cls.main([*argv, "--seeds", "2", "--name", "a", "--weights", str(start)]) == 0
    # The checks are fitted to copies that the seed alters; so is the probe, if there are any.
    assert counted == {"read": 1, "engine": 1, "checks": 2, "probe": copies}
    if copies == 1:  # and random weights are others for each seed
        counted.update(dict.fromkeys(counted, 0))
        assert train_cls.main([*argv, "--seeds", "2", "--name", "b"]) == 0
        assert counted == {"read": 1, "engine": 2, "checks": 2, "probe": 2}
