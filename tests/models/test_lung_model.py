"""The lung model in the package: weights, config and card belong together."""

import dataclasses
import hashlib
import json

import keras
import numpy as np
import pytest
import yaml

from kerascxr.config import SegmentationConfig
from kerascxr.models import lung_model
from kerascxr.models.lung_model import (
    card_markdown,
    load_lung_segmenter,
    read_card,
    write_lung_model,
)
from kerascxr.models.unet import build_unet
from tests.support.lung_models import CONFIG, card, write_tiny_lung_model


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packed") / "lungs"
    return folder, write_tiny_lung_model(folder)


@pytest.fixture
def copied(packed, tmp_path):
    for path in packed[0].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def test_the_loaded_model_is_the_packed_one_up_to_rounding(packed):
    folder, model = packed
    loaded = load_lung_segmenter(folder).model
    assert loaded.input_shape == (None, 32, 48, 1)
    for known, weight in zip(model.weights, loaded.weights, strict=True):
        assert weight.path == known.path and weight.dtype == "float32"
        np.testing.assert_array_equal(weight.numpy(), known.numpy().astype(np.float16))
    images = np.random.default_rng(0).uniform(0, 255, (2, 32, 48, 1)).astype(np.float32)
    expected = model.predict_on_batch(images)
    assert 0 < np.abs(loaded.predict_on_batch(images) - expected).max() < 0.02
    segmenter = load_lung_segmenter(folder)
    assert segmenter.threshold == 0.35 and segmenter.size == (32, 48)


def test_the_loaded_model_is_float32_under_any_precision_policy(packed):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = load_lung_segmenter(packed[0]).model
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
    finally:
        keras.config.set_dtype_policy(before)
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}


def test_the_same_weights_give_the_same_file(packed, tmp_path):
    folder, model = packed
    write_lung_model(tmp_path, model, CONFIG, card())
    for path in folder.iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name


def test_the_card_names_the_files_and_says_what_people_need(packed):
    folder, _ = packed
    known = read_card(folder)
    for name, digest in known["sha256"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    page = (folder / "card.md").read_text()
    assert page == card_markdown(known)
    for words in (
        "Three drawings. Images: 1,200 train, 30 test.",
        "Licence: CC0",
        "- Drawings only.",
    ):
        assert words in page
    low, high = known["results"]["drawings"]["intervals"]["dice"]
    assert f"0.7500 [{low:.3f}, {high:.3f}]" in page
    assert "train_seg.py --base_filters 2" in page and "at least 0.35 and" in page


@pytest.mark.parametrize("name", ["lungs.weights.npz", "config.yaml", "card.json"])
def test_an_absent_file_is_named_in_a_line(copied, name):
    (copied / name).unlink()
    with pytest.raises(ValueError, match=f"must hold a lung model: it has no {name}") as raised:
        load_lung_segmenter(copied)
    assert str(copied) in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["lungs.weights.npz", "config.yaml"])
def test_an_altered_file_is_named_in_a_line(copied, name):
    data = bytearray((copied / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copied / name).write_bytes(data)
    with pytest.raises(ValueError, match=f"{name} is not the file that card.json describes"):
        load_lung_segmenter(copied)


@pytest.mark.parametrize("text", ["{", "[]", '{"sha256": {}}'])
def test_a_damaged_card_is_named_in_a_line(copied, text):
    (copied / "card.json").write_text(text)
    with pytest.raises(ValueError, match=r"card\.json is damaged"):
        load_lung_segmenter(copied)


def test_a_config_of_another_model_is_refused(copied):
    changed = yaml.safe_dump(CONFIG | {"upsampling": "transpose"})
    (copied / "config.yaml").write_text(changed)
    known = json.loads((copied / "card.json").read_text())
    known["sha256"]["config.yaml"] = hashlib.sha256(changed.encode()).hexdigest()
    (copied / "card.json").write_text(json.dumps(known))
    with pytest.raises(ValueError, match="describes another model than"):
        load_lung_segmenter(copied)


def test_the_packages_own_folder_is_the_default(copied, monkeypatch):
    monkeypatch.setattr(lung_model, "FOLDER", copied)
    assert load_lung_segmenter().model.input_shape == (None, 32, 48, 1)
    (copied / "lungs.weights.npz").unlink()
    words = r"the package's lung model cannot be used: it has no lungs.weights.npz .*--lungs RUN"
    with pytest.raises(ValueError, match=words):
        load_lung_segmenter()


def test_weights_that_float16_or_the_package_cannot_hold_are_refused(tmp_path, monkeypatch):
    model = build_unet((16, 16), 1)
    weights = model.get_weights()
    weights[0][...] = 1e6
    model.set_weights(weights)
    with pytest.raises(ValueError, match=r"must be in the range of float16\. Got .* up to 1e"):
        write_lung_model(tmp_path / "a", model, CONFIG, card())
    monkeypatch.setattr(lung_model, "MAX_BYTES", 1000)
    with pytest.raises(ValueError, match="the weights must take at most 0 MB"):
        write_lung_model(tmp_path / "b", build_unet((16, 16), 1), CONFIG, card())
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_the_packages_lung_model_is_whole():
    known = read_card()
    model = load_lung_segmenter().model
    assert (lung_model.FOLDER / "lungs.weights.npz").stat().st_size <= 8_000_000
    assert (lung_model.FOLDER / "card.md").read_text() == card_markdown(known)
    assert known["parameters"] == sum(int(np.prod(w.shape)) for w in model.trainable_weights)
    config = yaml.safe_load((lung_model.FOLDER / "config.yaml").read_text())
    fields = {item.name for item in dataclasses.fields(SegmentationConfig)}
    assert set(config) <= fields
    results = known["results"]
    assert results["the run's test"]["n"] == known["images"]["test"]
    assert results["the run's test"]["dice"] > 0.95
    folds = results["cross-validation, 5 folds (float32)"]
    assert folds["n"] == sum(known["images"].values())
    low, high = folds["intervals"]["dice"]
    assert 0.95 < low <= folds["dice"] <= high < 0.97
