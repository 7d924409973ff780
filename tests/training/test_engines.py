"""What runs the frozen part: the same result whoever runs it, and a line where one cannot."""

import importlib.util

import keras
import numpy as np
import pytest

from kerascxr.data.pipeline import Images
from kerascxr.models.classifier import build_classifier, cut_at_depth
from kerascxr.models.layer_statistics import layer_statistics
from kerascxr.training import engines
from kerascxr.training.engines import (
    KerasEngine,
    OpenVINOEngine,
    build_bfloat16_engine,
    build_engine,
    likely_engine,
)
from kerascxr.training.feature_files import FeatureFolder
from kerascxr.training.features import BackboneFeatures

needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="pip install openvino to run this"
)


@pytest.fixture(scope="module", params=["shufflenetv2_x0_5", "efficientnetb0"])
def model(request):
    keras.utils.set_random_seed(0)
    return build_classifier(request.param, 3, image_size=(64, 64))


@pytest.fixture(scope="module")
def frozen(model):
    return keras.Model(model.input, [cut_at_depth(model, 2), layer_statistics(model).output])


@pytest.fixture(scope="module")
def ours(frozen):
    return KerasEngine(frozen)


@pytest.fixture(scope="module")
def theirs(ours):
    return OpenVINOEngine(ours)


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (23, 64, 64, 1)).astype(np.uint8)


def in_batches(pixels, size):
    return (
        pixels[begin : begin + size].astype(np.float32) for begin in range(0, len(pixels), size)
    )


@needs_openvino
def test_openvino_gives_what_keras_gives_in_the_same_order(ours, theirs, pixels):
    expected = list(map(np.concatenate, zip(*ours.run(in_batches(pixels, 32)), strict=True)))
    given = list(map(np.concatenate, zip(*theirs.run(in_batches(pixels, 4)), strict=True)))
    assert [values.ndim for values in expected] == [4, 2]
    for output, wanted in zip(given, expected, strict=True):
        scale = np.abs(wanted).max()
        np.testing.assert_allclose(output / scale, wanted / scale, atol=1e-4)


@needs_openvino
def test_openvino_is_taken_where_it_agrees(frozen, ours, theirs, pixels, monkeypatch, messages):
    monkeypatch.setattr(engines, "KerasEngine", lambda of, channels: ours)
    monkeypatch.setattr(engines, "OpenVINOEngine", lambda of: theirs)
    messages.clear()
    assert build_engine(frozen, "openvino", pixels[:2].astype(np.float32)) is theirs
    assert theirs.name == "openvino"
    assert messages() == []


@needs_openvino
def test_bfloat16_is_taken_where_the_cpu_has_it_and_it_only_rounds(theirs, pixels, messages):
    exact = theirs
    sample = pixels[:2].astype(np.float32)
    messages.clear()
    faster = build_bfloat16_engine(exact, sample)
    assert messages() == [] and exact.precision == "float32"
    if faster is exact:
        pytest.skip("needs a CPU on which OpenVINO computes in bfloat16")
    assert (faster.name, faster.precision) == ("openvino", "bfloat16")
    given, expected = next(faster.run([sample])), next(exact.run([sample]))
    for output, known in zip(given, expected, strict=True):
        difference = np.abs(output - known).max() / np.abs(known).max()
        assert 1e-4 < difference < 0.05


class Rounding(OpenVINOEngine):
    """An engine whose bfloat16 differs by a share of each value; 0 on a CPU without bfloat16."""

    def __init__(self, share):
        self.share, self.precision = share, "float32"

    def in_bfloat16(self):
        other = Rounding(self.share)
        other.precision = "bfloat16" if self.share else "float32"
        return other

    def run(self, batches):
        factor = 1 + self.share if self.precision == "bfloat16" else 1.0
        return ((factor * batch,) for batch in batches)


@pytest.mark.parametrize(
    ("share", "taken", "lines"),
    [(0.04, True, 0), (0.06, False, 1), (np.nan, False, 1), (0, False, 0)],
)
def test_bfloat16_that_does_more_than_round_is_not_taken(share, taken, lines, messages):
    exact = Rounding(share)
    messages.clear()
    found = build_bfloat16_engine(exact, np.ones((2, 4), np.float32))
    assert (found is not exact) is taken and len(messages()) == lines
    assert all("computed in float32 too" in line for line in messages())


def test_keras_has_no_bfloat16_engine(ours):
    assert build_bfloat16_engine(ours, None) is ours


class Wrong:
    """An engine whose last output is another."""

    name = "openvino"
    batch_size = 4

    def __init__(self, of):
        self._of = of

    def run(self, batches):
        return ((*others, 1.01 * last) for *others, last in self._of.run(batches))


class Broken:
    """An engine that cannot read the model."""

    def __init__(self, of):
        raise RuntimeError("no such\noperation")


@pytest.mark.parametrize("model", ["shufflenetv2_x0_5"], indirect=True)
@pytest.mark.parametrize(
    ("engine", "words"), [(Wrong, "differ from Keras' by 0.01"), (Broken, "no such operation")]
)
def test_keras_is_taken_where_openvino_differs_or_fails(
    model, pixels, tmp_path, monkeypatch, engine, words, messages
):
    monkeypatch.setattr(engines, "OpenVINOEngine", engine)
    ids = tuple(map(str, range(23)))
    images = Images(pixels, None, ids, ids, np.arange(23) % 3, ("a", "b", "c"))
    messages.clear()
    given = BackboneFeatures(model, 2, FeatureFolder(tmp_path), engine="openvino").of(images)
    assert words in messages()[0]
    assert messages()[1].endswith("with Keras.")
    assert len(messages()) == 2
    plain = BackboneFeatures(model, 2, FeatureFolder(tmp_path)).of(images)
    np.testing.assert_array_equal(given, plain)
    assert len(messages()) == 2, "they were not found under Keras' name"


def test_openvino_is_picked_up_by_itself_and_missed_when_asked_for(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert likely_engine("auto") == "keras"
    with pytest.raises(ValueError, match="pip install openvino"):
        likely_engine("openvino")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    assert likely_engine("auto") == likely_engine("openvino") == "openvino"
    assert likely_engine("keras") == "keras"
