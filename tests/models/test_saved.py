"""Saved models: what they compute with."""

import keras
import pytest

from kerascxr.models.classifier import build_classifier
from kerascxr.models.saved import computes_in_16_bits
from tests.support.tiny_backbone import TINY


@pytest.fixture
def policy():
    before = keras.config.dtype_policy()
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy(before)


@pytest.mark.parametrize(
    ("name", "short"), [("float32", False), ("mixed_bfloat16", True), ("mixed_float16", True)]
)
def test_16_bits_are_those_of_the_layers_not_of_the_training(policy, name, short):
    policy(name)
    model = build_classifier(TINY, 3, image_size=(32, 32))
    policy("float32")
    assert computes_in_16_bits(model) is short
