"""Mixed precision of the training step: chosen, checked, recorded, and kept on another CPU."""

import json
import random

import keras
import numpy as np
import pytest
import tensorflow as tf
import yaml

import kerascxr
import train_cls
import train_seg
from kerascxr.config import ClassificationConfig, RuntimeConfig, SegmentationConfig
from kerascxr.models.classifier import build_classifier
from kerascxr.models.unet import build_unet
from kerascxr.training import callbacks, learner, precision, processor
from kerascxr.training.features import BackboneFeatures
from kerascxr.training.fitting import Fitting
from kerascxr.training.precision import (
    FLOAT32,
    StepPrecision,
    bfloat16_pays,
    check_step,
    copies_precision,
)
from kerascxr.training.processor import computes_bfloat16
from kerascxr.training.runtime import set_up
from tests.support.small_runs import SMALL_UNET, arguments


@pytest.fixture(scope="module")
def workplace(served, tmp_path_factory):
    folder = tmp_path_factory.mktemp("work")
    for ours, shared in (("set", "set"), ("pairs", "lungs"), ("stores", "stores")):
        (folder / ours).symlink_to(served / shared)
    return folder


@pytest.fixture
def on_such_a_cpu(monkeypatch):
    """A CPU that computes in bfloat16, and a backbone with which that pays."""
    monkeypatch.setattr(processor, "computes_bfloat16", lambda: True)
    monkeypatch.setattr(precision, "_BACKBONES", {("tiny", 2)})


def build():
    return build_classifier("tiny", 3, image_size=(32, 32))


def test_layers_take_the_policy_in_a_step_alone_but_those_of_a_type_of_their_own():
    model = build()
    found = StepPrecision.of(model, build, "mixed_bfloat16")
    kept = {"head_pool", "head_standardization", "head_logits", "rescaling"}
    names = {layer.name for layer in found.layers}
    assert {"head_dense1", "head_dense2"} < names and not names & kept
    assert keras.config.dtype_policy().name == "float32"

    def types():
        return {layer.compute_dtype for layer in found.layers}, model.dtype_policy.name

    assert types() == ({"float32"}, "float32")
    with found.step(model):
        assert types() == ({"bfloat16"}, "mixed_bfloat16")
        with found.paused():
            assert types()[0] == {"float32"}
        assert types()[0] == {"bfloat16"}
        assert model.get_layer("head_logits").compute_dtype == "float32"
    assert types() == ({"float32"}, "float32")
    assert StepPrecision.of(model, build, "float32") is FLOAT32


def test_a_unet_standardises_and_answers_in_float32():
    def unet():
        return build_unet((32, 32), 2)

    found = StepPrecision.of(unet(), unet, "mixed_float16")
    names = {layer.name for layer in found.layers}
    assert "encoder1_conv1" in names and not names & {"standardize", "logits"}
    smaller = build_unet((16, 16), 2)
    with found.of_like(smaller).step(smaller):
        halves = {layer.name for layer in smaller.layers if layer.compute_dtype == "float16"}
    assert halves == names
    assert FLOAT32.of_like(smaller) == FLOAT32


def test_other_random_numbers_do_not_depend_on_the_precision():
    model = build()
    random.seed(3)
    expected = random.random()
    random.seed(3)
    StepPrecision.of(model, build, "mixed_bfloat16")
    assert random.random() == expected


def test_float16_scales_its_loss():
    model = build()
    with StepPrecision.of(model, build, "mixed_float16").step(model):
        model.compile("adam", "mse")
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)


def test_validation_is_in_float32_within_a_step():
    model = build()
    found = StepPrecision.of(model, build, "mixed_bfloat16")
    layer = model.get_layer("head_dense1")
    seen = []
    fitting = Fitting(
        model, None, 1, lambda: seen.append(layer.compute_dtype) or {}, "f1", None, [], (), found
    )
    with found.step(model):
        fitting.validate_in_float32()
        assert layer.compute_dtype == "bfloat16"
    assert seen == ["float32"]


@pytest.mark.parametrize(("scale", "kept"), [(1.0, True), (1e6, False)])
def test_a_first_batch_that_overflows_is_trained_in_float32(scale, kept, messages):
    def dense():
        inputs = keras.Input((4,))
        hidden = keras.layers.Dense(3, kernel_initializer="ones", name="hidden")(inputs)
        logits = keras.layers.Dense(2, kernel_initializer="ones", dtype="float32")(hidden)
        return keras.Model(inputs, logits)

    model = dense()
    wanted = StepPrecision.of(model, dense, "mixed_float16")
    x = np.full((2, 4), scale, np.float32)
    batches = tf.data.Dataset.from_tensors((x, np.eye(2, dtype=np.float32)))
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    assert check_step(wanted, model, lambda epoch: batches, loss) is (wanted if kept else FLOAT32)
    assert ("training in float32" in messages()[-1]) is not kept
    assert model.get_layer("hidden").compute_dtype == "float32"


def test_bfloat16_is_taken_where_it_pays_and_the_cpu_computes_in_it(monkeypatch):
    assert bfloat16_pays(SegmentationConfig())
    assert bfloat16_pays(ClassificationConfig(backbone="efficientnetb0", depth=2))
    assert bfloat16_pays(ClassificationConfig(backbone="efficientnetb0", depth=0))
    assert not bfloat16_pays(ClassificationConfig(backbone="shufflenetv2", depth=0))
    assert not bfloat16_pays(ClassificationConfig(depth=2, features=False))
    assert not bfloat16_pays(ClassificationConfig(backbone="shufflenetv2", depth=2))
    for computes in (False, True):
        monkeypatch.setattr(processor, "computes_bfloat16", lambda computes=computes: computes)
        chosen = "mixed_bfloat16" if computes else "float32"
        assert set_up(RuntimeConfig(), bfloat16_pays=True).precision == chosen
        assert set_up(RuntimeConfig(), bfloat16_pays=False).precision == "float32"
        given = RuntimeConfig(precision="float32")
        assert set_up(given, bfloat16_pays=True).precision == "float32"


def test_copies_are_in_bfloat16_where_steps_are_and_the_backbone_gains_by_it():
    config = ClassificationConfig(backbone="efficientnetb0", depth=1)
    assert copies_precision(config, "mixed_bfloat16") == "bfloat16"
    assert copies_precision(config, "float32") == "float32"
    assert copies_precision(config, "mixed_float16") == "float32"
    shuffle_net = ClassificationConfig(backbone="shufflenetv2", depth=1)
    assert copies_precision(shuffle_net, "mixed_bfloat16") == "float32"


def test_a_training_says_in_what_its_copies_were_computed_and_falls_back_with_its_steps(
    workplace, tmp_path, monkeypatch, on_such_a_cpu
):
    asked = []

    def build(*given, copies_precision, **options):
        asked.append(copies_precision)
        features = BackboneFeatures(*given, **options)
        features.copies_precision = copies_precision
        return features

    monkeypatch.setattr(learner, "BackboneFeatures", build)
    monkeypatch.setattr(
        BackboneFeatures, "_engine_of", lambda self, images, view: self._running_engine(images)
    )
    monkeypatch.setattr(precision, "_COPIES", {"tiny"})
    argv = arguments(workplace, "--data.source", f"{workplace}/set", "--depth", "2")
    argv += ["--epochs", "1", "--augmented_copies", "2"]

    def regime(name):
        assert train_cls.main([*argv, "--runs", str(tmp_path), "--name", name]) == 0
        return json.loads((tmp_path / f"classification/{name}/metrics.json").read_text())["regime"]

    found = regime("rounded")
    assert (found["precision"], found["copies_precision"]) == ("mixed_bfloat16", "bfloat16")
    monkeypatch.setattr(precision, "TOLERANCE", -1.0)
    found = regime("fallen-back")
    assert (found["precision"], found["copies_precision"]) == ("float32", "float32")
    assert asked == ["bfloat16", "bfloat16", "float32"]


def test_a_classifier_killed_in_bfloat16_goes_on_in_it_on_another_cpu(
    workplace, tmp_path, monkeypatch, on_such_a_cpu
):
    argv = arguments(workplace, "--data.source", f"{workplace}/set", "--depth", "2")
    argv += ["--epochs", "3", "--name", "first", "--linear_probe", "false"]
    assert train_cls.main([*argv, "--runs", f"{tmp_path}/whole"]) == 0
    on_epoch_end, calls = callbacks.Validate.on_epoch_end, []

    def die(self, epoch, logs=None):
        calls.append(epoch)
        if len(calls) == 2:
            raise KeyboardInterrupt
        on_epoch_end(self, epoch, logs)

    with monkeypatch.context() as patched:
        patched.setattr(callbacks.Validate, "on_epoch_end", die)
        assert train_cls.main([*argv, "--runs", f"{tmp_path}/killed"]) == 130
    monkeypatch.setattr(processor, "computes_bfloat16", lambda: False)
    assert train_cls.main([*argv, "--runs", f"{tmp_path}/killed"]) == 0
    whole, killed = (tmp_path / name / "classification/first" for name in ("whole", "killed"))
    assert (killed / "metrics.json").read_text() == (whole / "metrics.json").read_text()
    for run in (whole, killed):
        config = yaml.safe_load((run / "config.yaml").read_text())
        assert config["runtime"]["precision"] == "mixed_bfloat16"
        environment = json.loads((run / "environment.json").read_text())
        assert environment["regime"]["precision"] == "mixed_bfloat16"
        assert "cores" in environment["processor"]
    loaded = kerascxr.load_run(whole)
    assert {layer.dtype_policy.name for layer in loaded.model.layers} == {"float32"}
    assert loaded.predict(f"{workplace}/set/bright/0.png").probabilities.shape == (1, 3)
    # Another training of it on this CPU, by the same options, is in float32: its numbers differ.
    assert train_cls.main([*argv, "--runs", f"{tmp_path}/plain"]) == 0
    plain = json.loads((tmp_path / "plain/classification/first/metrics.json").read_text())
    assert plain["regime"]["precision"] == "float32"
    assert plain["validation"] != json.loads((whole / "metrics.json").read_text())["validation"]


def test_a_unet_is_trained_in_bfloat16_and_saved_in_float32(workplace, tmp_path, on_such_a_cpu):
    argv = [*SMALL_UNET, "--data.source", f"{workplace}/pairs", "--name", "lungs"]
    argv += ["--runs", str(tmp_path), "--data.stores", f"{workplace}/stores"]
    assert train_seg.main([*argv, "--coarse_epochs", "1"]) == 0
    loaded = kerascxr.load_run(tmp_path / "segmentation/lungs")
    assert loaded.metrics["regime"]["precision"] == "mixed_bfloat16"
    assert {layer.dtype_policy.name for layer in loaded.model.layers} == {"float32"}


def test_a_processor_has_a_name_and_its_number_types(tmp_path, monkeypatch):
    info = tmp_path / "cpuinfo"
    for flags, computes in (
        ("avx2 avx512f", False),
        ("avx2 avx512_bf16", True),
        ("amx_bf16", True),
    ):
        info.write_text(f"processor\t: 0\nmodel name\t: Some CPU 9\nflags\t\t: fpu {flags}\n")
        name, cores, *types = processor.processor_name(info).split(", ")
        assert name == "Some CPU 9" and cores.endswith(" cores") and types == flags.split()
        monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "1")
        assert computes_bfloat16(info) is computes
        monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")  # without its kernels
        assert not computes_bfloat16(info)
    assert " cores" in processor.processor_name(tmp_path / "none")
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "1")
    assert not computes_bfloat16(tmp_path / "none")
