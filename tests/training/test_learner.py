"""When backbone features are used: by themselves where they hold, and a reason where not."""

import pytest

from kerascxr.config import ClassificationConfig, DataConfig
from kerascxr.training.learner import _why_not
from kerascxr.training.runtime import Runtime, _are_large

CPU = Runtime("float32", None, False, ("CPU",), False)
LARGE = Runtime("float32", None, True, ("GPU",), True, large_gpu=True)
SMALL = Runtime("float32", None, True, ("GPU",), True, large_gpu=False)


def config(tmp_path, **options):
    data = DataConfig(features=tmp_path / "not" / "there", features_gb=0.001)
    return ClassificationConfig(data=data, **options)


@pytest.mark.parametrize(
    ("features", "runtime", "size", "words"),
    [
        ("auto", CPU, 1000, ""),
        ("auto", SMALL, 1000, ""),
        ("auto", LARGE, 1000, "GPU is large"),
        (True, LARGE, 1000, ""),
        (False, CPU, 1000, "off"),
        ("auto", CPU, 1_500_000, "0.0015 GB, and --data.features_gb allows 0.001"),
    ],
)
def test_why_not(tmp_path, features, runtime, size, words):
    reason = _why_not(config(tmp_path, features=features), runtime, size)
    assert words in reason
    assert bool(reason) == bool(words)


def test_what_does_not_fit_is_refused_where_it_is_asked_for(tmp_path):
    with pytest.raises(ValueError, match="features_gb allows"):
        _why_not(config(tmp_path, features=True), CPU, 10**7)
    roomy = ClassificationConfig(data=DataConfig(features=tmp_path, features_gb=1e9), features=True)
    with pytest.raises(ValueError, match="has room for"):
        _why_not(roomy, CPU, 10**17)


def test_a_gpu_is_large_from_6_gb_on():
    assert [
        _are_large(memory) for memory in ([], [4 * 10**9], [8 * 10**9], [80 * 10**9, 10**9])
    ] == [
        False,
        False,
        True,
        False,
    ]
