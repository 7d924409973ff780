"""Backbone features: what the frozen part gives, kept, and never stale or half written."""

import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import psutil
import pytest

from kerascxr.config import AugmentConfig
from kerascxr.data.images import to_backbone_input
from kerascxr.data.order import WHOLE, Share
from kerascxr.data.pipeline import Images, training_batches
from kerascxr.models.backbones import BACKBONES
from kerascxr.models.classifier import build_classifier, fine_tune, split_at_depth
from kerascxr.models.layer_statistics import layer_statistics
from kerascxr.training import engines, runtime
from kerascxr.training import features as features_module
from kerascxr.training.engines import KerasEngine
from kerascxr.training.feature_batches import feature_batches
from kerascxr.training.feature_files import FeatureFolder
from kerascxr.training.features import BackboneFeatures
from tests.support.tiny_backbone import TINY

OFF = AugmentConfig(enabled=False)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return build_classifier("tiny", 3, image_size=(32, 32), dropout=0.0)


@pytest.fixture(scope="module")
def images():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 1)).astype(np.uint8)
    ids = tuple(map(str, range(40)))
    return Images(pixels, None, ids, ids, np.arange(40) % 3, ("a", "b", "c"), "set-1")


def _changed(layer):
    """Returns a copy of a layer; of an activation, another one."""
    more = {"max_value": 0.5} if isinstance(layer, keras.layers.ReLU) else {}
    return type(layer).from_config(layer.get_config() | more)


def test_other_layers_with_the_same_weights_are_another_file(model, images, tmp_path):
    folder = FeatureFolder(tmp_path)
    plain = BackboneFeatures(model, 2, folder).of(images)
    other = keras.models.clone_model(model, clone_function=_changed)
    other.set_weights(model.get_weights())
    assert plain.max() > 0.5 and BackboneFeatures(other, 2, folder).of(images).max() == 0.5


def test_a_model_built_again_finds_the_file(model, images, tmp_path, messages):
    BackboneFeatures(model, 2, FeatureFolder(tmp_path)).of(images)
    again = build_classifier("tiny", 3, image_size=(32, 32), dropout=0.2)
    fine_tune(again, "all")
    again.set_weights(model.get_weights())
    messages.clear()
    BackboneFeatures(again, 0, FeatureFolder(tmp_path)).of(images)
    assert messages() == []


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_they_are_what_the_frozen_part_gives(model, images, tmp_path, depth):
    features = BackboneFeatures(model, depth, FeatureFolder(tmp_path)).of(images)
    frozen, _ = split_at_depth(model, depth)
    expected = frozen.predict(np.repeat(images.pixels.astype(np.float32), 3, -1), verbose=0)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(features / scale, expected / scale, atol=2e-3)


def test_features_of_a_lower_depth_are_on_disk_where_memory_is_short(
    model, images, tmp_path, monkeypatch
):
    features = BackboneFeatures(model, 0, FeatureFolder(tmp_path))
    in_memory = features.of(images)
    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=0))
    on_disk = features.of(images)
    assert (type(in_memory), type(on_disk)) == (np.ndarray, np.memmap)
    np.testing.assert_array_equal(on_disk, in_memory)
    assert sorted(tmp_path.iterdir()) == before


def test_the_same_pass_gives_layer_statistics(model, images, tmp_path, messages):
    features = BackboneFeatures(model, 2, FeatureFolder(tmp_path), augment=AugmentConfig())
    found = layer_statistics(model)
    assert features.sizes == found.sizes
    given = features.statistics(images)
    expected = keras.Model(model.input, found.output).predict(
        np.repeat(images.pixels.astype(np.float32), 3, -1), verbose=0
    )
    np.testing.assert_allclose(given, expected, rtol=1e-3, atol=1e-3)
    assert (features.statistics(images, view=1) != given).any(axis=1).all()
    messages.clear()
    features.of(images)
    features.of(images, 1)
    assert messages() == []


def test_a_backbone_without_stages_has_features_alone(images, tmp_path, monkeypatch):
    plain = dataclasses.replace(BACKBONES["tiny"], stage_outputs=())
    monkeypatch.setitem(BACKBONES, "tiny", plain)
    model = build_classifier("tiny", 3, image_size=(32, 32))
    features = BackboneFeatures(model, 2, FeatureFolder(tmp_path))
    assert features.sizes is None and len(features.of(images)) == len(images)
    with pytest.raises(ValueError, match="tiny must name its stage_outputs"):
        features.statistics(images)


@pytest.mark.parametrize("stages", [("stage4_relu",), ("stem_relu", "conv5_conv")])
def test_statistics_of_what_is_trained_are_refused(tmp_path, monkeypatch, stages):
    """They would be those from before the training, and the same for other weights behind."""
    monkeypatch.setitem(BACKBONES, "tiny", dataclasses.replace(TINY, stage_outputs=stages))
    model = build_classifier("tiny", 3, image_size=(32, 32))
    with pytest.raises(ValueError, match=f"before its last_stage.* Got {stages[-1]}"):
        BackboneFeatures(model, 0, FeatureFolder(tmp_path))


def test_one_pass_serves_all_depths_and_later_runs(model, images, tmp_path, messages):
    messages.clear()
    for depth in (2, 1, 0, 2):
        BackboneFeatures(model, depth, FeatureFolder(tmp_path)).of(images)
    assert len(messages()) == 1
    assert "40 images" in messages()[0]
    (entry,) = FeatureFolder(tmp_path).entries()
    assert entry.about == "tiny, set-1, 40 images, 32x32"


class Doubled:
    """An engine that gives twice what another one gives, as if in bfloat16."""

    name, precision, batch_size = "openvino", "bfloat16", 4

    def __init__(self, of):
        self._of = of

    def run(self, batches):
        return (tuple(2 * output for output in outputs) for outputs in self._of.run(batches))


def test_augmented_copies_alone_are_computed_in_bfloat16_and_are_files_of_their_own(
    model, images, tmp_path, monkeypatch, messages
):
    def plain_engine(*given):
        engine = KerasEngine(given[0])
        engine.name = "openvino"
        return engine

    monkeypatch.setattr(features_module, "build_engine", plain_engine)
    monkeypatch.setattr(features_module, "build_bfloat16_engine", lambda of, sample: Doubled(of))

    def compute(precision, view, engine="openvino"):
        folder, augment = FeatureFolder(tmp_path), AugmentConfig()
        features = BackboneFeatures(
            model, 2, folder, augment=augment, engine=engine, copies_precision=precision
        )
        found = np.array(features.of(images, view), np.float32)
        statistics = np.array(features.statistics(images, view))
        assert features.missing_bytes(images, view + 1) <= view * features.bytes_for(len(images))
        return found, statistics, features.copies_precision

    exact, of_exact, named = compute("float32", 1)
    assert named == "float32"
    for _ in range(2):  # the second time from the file
        rounded, of_rounded, named = compute("bfloat16", 1)
        assert named == "bfloat16"
        np.testing.assert_allclose(rounded, 2 * exact, rtol=2e-3, atol=1e-6)
        np.testing.assert_allclose(of_rounded, 2 * of_exact, rtol=1e-6)
    np.testing.assert_array_equal(compute("float32", 1)[0], exact)
    as_is = compute("bfloat16", 0)[0]
    elsewhere = BackboneFeatures(model, 2, FeatureFolder(tmp_path / "elsewhere"))
    np.testing.assert_array_equal(as_is, elsewhere.of(images))
    messages.clear()
    np.testing.assert_array_equal(compute("float32", 0)[0], as_is)
    assert messages() == []  # one file serves both
    # Where bfloat16 is refused, and in Keras, copies are those of float32.
    monkeypatch.setattr(features_module, "build_bfloat16_engine", lambda of, sample: of)
    again, _, named = compute("bfloat16", 2)
    assert named == "float32"
    np.testing.assert_array_equal(again, compute("float32", 2)[0])
    assert compute("bfloat16", 1, engine="keras")[2] == "float32"


def test_the_engine_of_the_copies_is_built_once(model, images, tmp_path, monkeypatch):
    built = []

    def build(engine, sample):
        built.append(engine)
        return Doubled(engine)

    features = BackboneFeatures(
        model,
        2,
        FeatureFolder(tmp_path),
        augment=AugmentConfig(),
        engine="openvino",
        copies_precision="bfloat16",
    )
    monkeypatch.setattr(features_module, "build_engine", lambda *given: KerasEngine(given[0]))
    monkeypatch.setattr(features_module, "build_bfloat16_engine", build)
    for view in (0, 1, 2, 3):
        features.of(images, view)
    assert len(built) == 1


def test_only_features_that_are_not_kept_need_room(model, images, tmp_path):
    features = BackboneFeatures(model, 2, FeatureFolder(tmp_path), augment=AugmentConfig())
    one = features.bytes_for(len(images))
    assert one > 0 and features.missing_bytes(images, 3) == 3 * one
    features.of(images)
    features.of(images, 2)
    assert features.missing_bytes(images, 3) == one
    assert features.missing_bytes(images) == 0


def test_another_pixel_weight_or_view_is_another_file(model, images, tmp_path, messages):
    messages.clear()

    def compute(view=0, pixels=images.pixels, seed=0):
        augment = AugmentConfig()
        features = BackboneFeatures(model, 2, FeatureFolder(tmp_path), augment=augment, seed=seed)
        return np.array(features.of(dataclasses.replace(images, pixels=pixels), view))

    plain = compute()
    changed = compute(view=1)
    assert (compute(view=2) != changed).any()
    assert (compute(view=1, seed=3) != changed).any()
    pixels = images.pixels.copy()
    pixels[7, 5, 5] ^= 255
    other = compute(pixels=pixels)
    assert (other[7] != plain[7]).any()
    np.testing.assert_array_equal(np.delete(other, 7, 0), np.delete(plain, 7, 0))
    weight = model.weights[0]
    kept = weight.numpy()
    weight.assign(kept * 1.5)
    assert (compute() != plain).any()
    weight.assign(kept)
    assert len(messages()) == 6
    np.testing.assert_array_equal(compute(), plain)
    assert len(messages()) == 6


def test_another_number_type_or_version_is_another_file(
    model, images, tmp_path, messages, monkeypatch
):
    def compute(of):
        return np.array(BackboneFeatures(of, 2, FeatureFolder(tmp_path)).of(images), np.float32)

    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        half = build_classifier("tiny", 3, image_size=(32, 32))
    finally:
        keras.config.set_dtype_policy("float32")
    half.set_weights(model.get_weights())
    rounded = compute(half)
    messages.clear()
    assert (compute(model) != rounded).any()
    monkeypatch.setattr(runtime.importlib.metadata, "version", lambda package: "99")
    compute(model)
    assert len(messages()) == 2
    name = "A100"  # a GPU rounds the factors of products
    monkeypatch.setattr(engines.tf.config, "list_physical_devices", lambda kind: [kind])
    details = engines.tf.config.experimental
    monkeypatch.setattr(details, "get_device_details", lambda gpu: {"device_name": name})
    compute(model)
    compute(model)
    name = "T4"
    compute(model)
    assert len(messages()) == 4


def test_a_damaged_file_is_computed_again(model, images, tmp_path, messages):
    messages.clear()

    def compute():
        return np.array(BackboneFeatures(model, 2, FeatureFolder(tmp_path)).of(images))

    whole = compute()
    (path,) = tmp_path.glob("*.f16")
    for damage in (lambda data: data[:-100], lambda data: b"\x01" + data[1:], lambda data: b""):
        path.write_bytes(damage(path.read_bytes()))
        np.testing.assert_array_equal(compute(), whole)
    path.with_suffix(".json").write_bytes(bytes(100))
    np.testing.assert_array_equal(compute(), whole)
    assert len(messages()) == 5
    (statistics,) = tmp_path.glob("*.statistics")
    for damage in (lambda data: data[:-4], lambda data: b"\x01" + data[1:]):
        statistics.write_bytes(damage(statistics.read_bytes()))
        compute()
    statistics.unlink()
    np.testing.assert_array_equal(compute(), whole)
    assert len(messages()) == 8


def test_a_killed_computation_leaves_nothing_that_looks_whole(model, images, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    run = KerasEngine.run

    def die(self, batches):
        yield from run(self, [next(batches)])
        raise Killed

    features = BackboneFeatures(model, 2, FeatureFolder(tmp_path))
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(KerasEngine, "run", die)
        features.of(images)
    assert not list(tmp_path.glob("*.f16"))
    assert features.of(images).shape[0] == 40


def test_two_at_once_compute_once(model, images, tmp_path, messages, monkeypatch):
    run, begun, go_on, runs = KerasEngine.run, threading.Event(), threading.Event(), []

    def wait_midway(self, batches):
        runs.append(self)
        for values in run(self, batches):
            begun.set()
            assert go_on.wait(60)
            yield values

    monkeypatch.setattr(KerasEngine, "run", wait_midway)
    messages.clear()
    first, second = (BackboneFeatures(model, depth, FeatureFolder(tmp_path)) for depth in (2, 1))
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(first.of, images)
        assert begun.wait(60)
        other = pool.submit(second.of, images)
        while len(messages()) < 2 and not other.done():
            threading.Event().wait(0.01)
        go_on.set()
        assert one.result(60).shape[0] == other.result(60).shape[0] == 40
    assert len(runs) == 1
    assert messages()[1] == "Another process is computing the same features; waiting for it."
    assert len(messages()) == 2
    assert not list(tmp_path.glob(".partial-*"))


def test_zeros_in_place_of_what_was_computed_are_not_trusted(model, images, tmp_path, monkeypatch):
    replace = Path.replace

    def lose(self, target):
        if Path(target).suffix == ".f16":
            with self.open("r+b") as file:
                file.write(bytes(self.stat().st_size))
        return replace(self, target)

    features = BackboneFeatures(model, 2, FeatureFolder(tmp_path))
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", lose)
        with pytest.raises(OSError, match="check the disk"):
            features.of(images)
    (path,) = tmp_path.glob("*.f16")
    assert not any(path.read_bytes())
    assert features.of(images).any()


def test_a_killed_process_leaves_no_partial_file_for_ever(model, images, tmp_path):
    features = BackboneFeatures(model, 2, FeatureFolder(tmp_path))
    features.of(images)
    (path,) = tmp_path.glob("*.f16")
    path.unlink()
    (tmp_path / f".partial-{path.stem}-killed.f16").write_bytes(bytes(100))
    other = tmp_path / ".partial-of-other-features-running.f16"
    other.touch()
    features.of(images)
    assert list(tmp_path.glob(".partial-*")) == [other]


def test_a_small_limit_keeps_what_this_object_gave(model, images, tmp_path):
    features = BackboneFeatures(model, 2, FeatureFolder(tmp_path, limit_gb=1e-9))
    FeatureFolder(tmp_path).write("old", [(np.zeros(9, np.float16),)], (9,), {})
    given = features.of(images)
    assert features.missing_bytes(images) == 0
    assert features.missing_bytes(images.only(range(9))) == features.bytes_for(9)
    assert given.any() and len(list(tmp_path.glob("*.f16"))) == 1


@pytest.mark.parametrize("balanced", [False, True])
def test_they_come_in_the_order_of_the_images(images, balanced):
    numbers = np.arange(40, dtype=np.float16)[:, None]
    options = {"seed": 3, "first_epoch": 1, "balanced": balanced}
    ours = feature_batches([numbers], images.labels, 16, **options)
    plain = training_batches(images, 16, augment=OFF, **options)
    for one, other in zip(ours.take(7), plain.take(7), strict=True):
        np.testing.assert_array_equal(one["features"][:, 0], other["index"])
        np.testing.assert_array_equal(one["label"], other["label"])


def test_workers_shares_of_features_are_the_whole_batch(images):
    views = [np.arange(first, first + 40, dtype=np.float16)[:, None] for first in (0, 100)]

    def batches(share):
        return feature_batches(views, images.labels, 16, seed=3, share=share).take(3)

    for whole, *parts in zip(*map(batches, (WHOLE, *(Share(i, 3) for i in range(3)))), strict=True):
        assert [len(part["label"]) for part in parts] in ([5, 5, 6], [2, 3, 3])
        for name, values in whole.items():
            np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), values)


def test_half_of_each_batch_is_as_it_is_and_each_image_takes_its_copies_in_turn(images):
    views = [
        np.stack([np.full(40, view), np.arange(40)], 1).astype(np.float16) for view in range(3)
    ]
    seen = {index: [] for index in range(40)}
    for batch in feature_batches(views, images.labels, 40, seed=0).take(8):
        values = batch["features"].numpy().astype(int)
        assert (values[:, 0] == 0).sum() == 20
        assert set(values[:, 0]) == {0, 1, 2}
        for view, index in values:
            seen[index].append(view)
        np.testing.assert_array_equal(batch["label"], images.labels[values[:, 1]])
    for taken in seen.values():
        assert sorted(taken[:4]) == sorted(taken[4:]) == [0, 0, 1, 2]


def test_training_on_features_equals_training_on_images(images, tmp_path):
    """The same order and seed, to the rounding of features to float16."""

    def trained(on_features):
        keras.utils.set_random_seed(1)
        model = build_classifier("tiny", 3, image_size=(32, 32), dropout=0.0)
        fine_tune(model, 1, update_statistics=True)
        _, rest = split_at_depth(model, 1)
        fitted = rest if on_features else model
        fitted.compile(
            keras.optimizers.SGD(0.05),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=False,
        )
        if on_features:
            features = BackboneFeatures(model, 1, FeatureFolder(tmp_path)).of(images)
            batches = feature_batches([features], images.labels, 16, seed=0)
            pairs = batches.map(lambda batch: (batch["features"], batch["label"]))
        else:
            batches = training_batches(images, 16, seed=0, augment=OFF)
            pairs = batches.map(lambda batch: (to_backbone_input(batch["image"]), batch["label"]))
        history = fitted.fit(pairs, epochs=2, steps_per_epoch=3, shuffle=False, verbose=0)
        return history.history["loss"], model.get_weights()

    losses, weights = trained(True)
    plain_losses, plain_weights = trained(False)
    np.testing.assert_allclose(losses, plain_losses, rtol=5e-3)
    for one, other in zip(weights, plain_weights, strict=True):
        assert np.linalg.norm(one - other) <= 0.005 * np.linalg.norm(other) + 4e-3
