"""When cached features are used: unless they are off, on every machine, and never silently not."""

import pytest

from kerascxr.config import ClassificationConfig, DataConfig
from kerascxr.training.learner import _uses_cached_features


def config(tmp_path, **options):
    data = DataConfig(features=tmp_path / "not" / "there", features_gb=0.001)
    return ClassificationConfig(data=data, **options)


@pytest.mark.parametrize(("features", "used"), [("auto", True), (True, True), (False, False)])
def test_auto_means_cached_features(tmp_path, features, used):
    assert _uses_cached_features(config(tmp_path, features=features), 1000) is used


@pytest.mark.parametrize("features", ["auto", True])
def test_features_that_do_not_fit_are_an_error_and_not_another_regime(tmp_path, features):
    with pytest.raises(ValueError, match="features_gb allows"):
        _uses_cached_features(config(tmp_path, features=features), 10**7)
    data = DataConfig(features=tmp_path, features_gb=1e9)
    with pytest.raises(ValueError, match="has room for"):
        _uses_cached_features(ClassificationConfig(data=data, features=features), 10**17)


def test_images_need_no_room(tmp_path):
    assert not _uses_cached_features(config(tmp_path, features=False), 10**17)
