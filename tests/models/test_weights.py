"""Weights from every kind of file, strictly; and what the record says of them."""

import dataclasses
import hashlib
import shutil
import zipfile
import zlib
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from kerascxr.models import weights as weights_module
from kerascxr.models.backbones import BACKBONES
from kerascxr.models.classifier import build_classifier
from kerascxr.models.layers import IMAGENET_MEAN, IMAGENET_STD
from kerascxr.models.weights import _is_imagenet_scaling as is_imagenet_scaling
from kerascxr.models.weights import load_weights
from tests.support.torch_files import name, sequence, state_file, text, zip_file

SIZE = (32, 32)
SHARED = Path(__file__).parents[2].parent / "shared"
X0_5 = BACKBONES["shufflenetv2_x0_5"]


def randomise(model, seed=0):
    """Gives every weight, statistics included, a value of its own."""
    rng = np.random.default_rng(seed)
    model.set_weights([rng.uniform(0.1, 1, w.shape).astype(np.float32) for w in model.weights])


def backbone_weights(model):
    return {
        layer.name: layer.get_weights()
        for layer in model.layers
        if layer.weights and not layer.name.startswith("head_")
    }


def assert_same(a, b):
    assert a.keys() == b.keys()
    for layer, values in a.items():
        for one, other in zip(values, b[layer], strict=True):
            np.testing.assert_array_equal(one, other, err_msg=layer)


def torch_state(model, backbone=X0_5):
    """The backbone's weights as torch would name and lay them out."""
    state = {}
    for layer in model.layers:
        if not layer.weights:
            continue
        module = backbone.torch_module_name(layer.name)
        values = layer.get_weights()
        if isinstance(layer, keras.layers.BatchNormalization):
            parts = ("weight", "bias", "running_mean", "running_var")
            state |= {f"{module}.{part}": v for part, v in zip(parts, values, strict=True)}
            state[f"{module}.num_batches_tracked"] = np.array(3, np.int64)
        elif isinstance(layer, keras.layers.DepthwiseConv2D):
            state[f"{module}.weight"] = values[0].transpose(2, 3, 0, 1)  # (C, 1, 3, 3)
        else:
            state[f"{module}.weight"] = values[0].transpose(3, 2, 0, 1)
    state["fc.weight"] = np.zeros((10, 1024), np.float32)
    return state


@pytest.fixture(scope="module")
def backbone():
    model = X0_5.build(SIZE)
    randomise(model)
    return model


@pytest.fixture(scope="module")
def donor(backbone):
    """A classifier of 4 classes, with the backbone's weights and statistics."""
    model = build_classifier(X0_5, 4, image_size=SIZE)
    randomise(model, seed=1)
    for layer, values in backbone_weights(backbone).items():
        model.get_layer(layer).set_weights(values)
    return model


@pytest.fixture(scope="module")
def receiver():
    return build_classifier(X0_5, 4, image_size=SIZE)


@pytest.fixture
def model(receiver):
    """A classifier of 4 classes that has none of the others' weights."""
    randomise(receiver, seed=2)
    return receiver


@pytest.fixture(scope="module")
def files(backbone, donor, tmp_path_factory):
    """One file of every kind with the same backbone in it."""
    folder = tmp_path_factory.mktemp("weights")
    backbone.save_weights(folder / "backbone.weights.h5")
    backbone.save(folder / "backbone.keras")
    backbone.save(folder / "backbone.h5")
    with h5py.File(folder / "backbone.h5") as whole, h5py.File(folder / "bare.h5", "w") as bare:
        for layer in whole["model_weights"]:  # as save_weights of older Keras wrote
            whole.copy(f"model_weights/{layer}", bare)
        bare.attrs.update(whole["model_weights"].attrs)
    donor.save_weights(folder / "classifier.weights.h5")
    donor.compile("adam", "mse")  # its optimizer's state is in the file as well
    donor.optimizer.build(donor.trainable_variables)
    donor.save(folder / "classifier.keras")
    donor.save(folder / "classifier.h5")
    (folder / "zip.pth").write_bytes(state_file(torch_state(backbone)))
    (folder / "legacy.pt").write_bytes(state_file(torch_state(backbone), legacy=True))
    return folder


@pytest.mark.parametrize(
    "file_name",
    [
        "backbone.weights.h5",
        "backbone.keras",
        "backbone.h5",
        "bare.h5",
        "classifier.weights.h5",
        "classifier.keras",
        "classifier.h5",
        "zip.pth",
        "legacy.pt",
    ],
)
def test_every_kind_of_file(files, backbone, donor, model, file_name):
    path = files / file_name
    head = model.get_layer("head_dense1").get_weights()
    used = load_weights(model, "shufflenetv2_x0_5", str(path))
    assert_same(backbone_weights(model), backbone_weights(backbone))
    assert (used.kind, used.source) == ("file", str(path))
    assert used.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    with_head = file_name.startswith("classifier")
    expected = donor.get_layer("head_dense1").get_weights() if with_head else head
    assert np.array_equal(model.get_layer("head_dense1").get_weights()[0], expected[0])
    assert used.description == file_name + ", with its head" * with_head


def test_a_head_of_other_classes_is_set_aside(files):
    model = build_classifier(X0_5, 3, image_size=SIZE)
    before = model.get_layer("head_dense1").get_weights()
    used = load_weights(model, X0_5, str(files / "classifier.weights.h5"))
    assert "its head not loaded" in used.description
    assert np.array_equal(model.get_layer("head_dense1").get_weights()[0], before[0])


def test_a_bare_backbone_takes_a_classifiers_weights(files, backbone):
    model = X0_5.build(SIZE)
    used = load_weights(model, X0_5, str(files / "classifier.keras"))
    assert_same(backbone_weights(model), backbone_weights(backbone))
    assert used.description == "classifier.keras"


def test_states_of_random_generators_are_passed_over(files, backbone, model, tmp_path):
    """Some versions of Keras keep them in a layer's group, or among its weights."""
    for file_name in ("backbone.weights.h5", "bare.h5"):
        shutil.copy(files / file_name, tmp_path / file_name)
    with h5py.File(tmp_path / "backbone.weights.h5", "a") as root:
        state = root.create_group("layers/dropout/seed_generator/vars")
        state.attrs["name"], state["0"] = "seed_generator", np.zeros(2, np.uint32)
    with h5py.File(tmp_path / "bare.h5", "a") as root:
        layer = root["conv5_conv"]
        layer["seed_generator_state"] = np.zeros(2, np.uint32)
        names = [*layer.attrs["weight_names"], "seed_generator_state"]
        layer.attrs["weight_names"] = np.array(names, "S")
    for file_name in ("backbone.weights.h5", "bare.h5"):
        randomise(model, seed=2)
        load_weights(model, X0_5, tmp_path / file_name)
        assert_same(backbone_weights(model), backbone_weights(backbone))


def test_a_layers_arrays_keep_their_order(tmp_path):
    with h5py.File(tmp_path / "many.weights.h5", "w") as root:
        group = root.create_group("layers/one/vars")
        group.attrs["name"] = "one"
        for number in range(12):
            group[str(number)] = number
        found = weights_module._datasets(root)["one"]
        assert [int(item[()]) for item in found] == list(range(12))


@pytest.mark.parametrize("file_name", ["backbone.keras", "backbone.h5"])
def test_files_of_too_many_bytes_are_refused(files, model, monkeypatch, file_name):
    monkeypatch.setattr(weights_module, "_MAX_BYTES", 1 << 20)
    monkeypatch.setattr(zipfile.ZipFile, "read", None)  # nothing is unpacked
    refused(model, X0_5, files / file_name, "must hold at most 1 MiB of weights")


def test_none_leaves_the_model_alone(model):
    before = model.get_weights()
    used = load_weights(model, X0_5, "none")
    assert (used.kind, used.source, used.sha256) == ("none", "", "")
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def refused(model, backbone, path, match):
    """Asserts one line, and that nothing moved."""
    before = model.get_weights()
    with pytest.raises(ValueError, match=match) as caught:
        load_weights(model, backbone, str(path))
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_another_width_is_refused(files):
    wide = BACKBONES["shufflenetv2"].build(SIZE)
    for file_name, first in (
        ("backbone.weights.h5", r"stage2_block0_branch2_conv1 with \[\(1, 1, 24, 24\)\] for"),
        ("zip.pth", r"stage2\.0\.branch2\.0\.weight with \(24, 24, 1, 1\) for \(58, 24, 1, 1\)"),
    ):
        match = rf"of shufflenetv2_x1_0\. Got .*\d+ have another shape, first {first}"
        refused(wide, "shufflenetv2", files / file_name, match)


@pytest.mark.parametrize("legacy", [False, True])
def test_missing_and_surplus_parameters_are_refused(backbone, model, tmp_path, legacy):
    state = torch_state(backbone)
    state["conv6.weight"] = state.pop("conv5.0.weight")
    path = tmp_path / "changed.pth"
    path.write_bytes(state_file(state, legacy=legacy))
    match = r"1 are missing, first conv5\.0\.weight; 1 have no place in it, first conv6\.weight"
    refused(model, X0_5, path, match)


def test_another_network_is_refused(model, tmp_path):
    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="one")])
    other.save_weights(tmp_path / "other.weights.h5")
    match = r"112 are missing, first conv1_conv; 1 have no place in it, first one"
    refused(model, X0_5, tmp_path / "other.weights.h5", match)


@pytest.mark.parametrize(
    "file_name", ["backbone.weights.h5", "backbone.keras", "backbone.h5", "zip.pth", "legacy.pt"]
)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_truncated_files_are_refused(files, model, tmp_path, file_name, share):
    data = (files / file_name).read_bytes()
    path = tmp_path / file_name
    path.write_bytes(data[: int(len(data) * share)])
    refused(model, X0_5, path, "truncated, damaged or another kind")


def test_a_keras_file_without_weights_is_refused(model, tmp_path):
    path = tmp_path / "empty.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
    refused(model, X0_5, path, "no item named 'model.weights.h5'")


def test_hostile_checkpoints_are_refused(model, tmp_path):
    call = name("os", "system") + sequence(text(f"touch {tmp_path / 'ran'}")) + b"R"
    path = tmp_path / "hostile.pth"
    path.write_bytes(zip_file(call, {}))
    refused(model, X0_5, path, "not a plain checkpoint of tensors: it refers to os.system")
    assert not (tmp_path / "ran").exists()


def test_paths_that_cannot_be_are_refused(model, tmp_path):
    with pytest.raises(FileNotFoundError, match="must be auto, imagenet, drawn, none or the path"):
        load_weights(model, X0_5, "imagnet")
    (tmp_path / "weights.npz").touch()
    refused(model, X0_5, tmp_path / "weights.npz", r"must end in .weights.h5, .h5, .keras, .pth")
    with pytest.raises(ValueError, match="unknown backbone 'shuffle'"):
        load_weights(model, "shuffle", "none")


@pytest.fixture
def published(files, tmp_path, monkeypatch):
    """A backbone whose published file lies in a folder of this machine."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    digest = hashlib.sha256((files / "zip.pth").read_bytes()).hexdigest()[:10]
    imagenet = dataclasses.replace(X0_5.imagenet, url="http://127.0.0.1:9/zip.pth", digest=digest)
    return dataclasses.replace(X0_5, imagenet=imagenet)


@pytest.mark.parametrize("weights", ["auto", "imagenet"])
def test_published_weights(published, files, backbone, model, weights):
    used = load_weights(model, published, weights, mirror=f"{files.as_uri()}/")
    assert_same(backbone_weights(model), backbone_weights(backbone))
    assert used.kind == "imagenet" and used.source == f"{files.as_uri()}/zip.pth"
    assert used.sha256.startswith(published.imagenet.digest)
    assert used.description == f"{published.imagenet.description} (zip.pth)"
    # From the cache the second time, reachable or not.
    assert load_weights(model, published, weights).kind == "imagenet"


def test_auto_says_loudly_that_it_found_nothing(published, model):
    used = load_weights(model, published, "auto")
    assert used.kind == "none"
    assert used.description.startswith("RANDOM WEIGHTS, not torchvision's ImageNet-1k weights")
    with pytest.raises(ConnectionError, match="use weights 'none'"):
        load_weights(model, published, "imagenet")


def test_a_backbone_without_published_weights_starts_at_random(model):
    backbone = dataclasses.replace(X0_5, imagenet=None)
    used = load_weights(model, backbone, "auto")
    assert used.kind == "none" and "has no published weights" in used.description
    with pytest.raises(ValueError, match=r"no published weights\. Got weights=imagenet"):
        load_weights(model, backbone, "imagenet")


def test_a_wrong_digest_is_an_error_but_for_auto(published, files, model):
    wrong = dataclasses.replace(published.imagenet, digest="0123456789")
    backbone = dataclasses.replace(published, imagenet=wrong)
    with pytest.raises(ValueError, match="must have the sha256 digest 0123456789"):
        load_weights(model, backbone, "imagenet", mirror=files.as_uri())
    assert "digest" in load_weights(model, backbone, "auto", mirror=files.as_uri()).description


@pytest.fixture(scope="module")
def efficientnet():
    return build_classifier("efficientnetb0", 4, image_size=SIZE)


# Keras' ImageNet file has standard deviations where its layer expects variances.
@pytest.mark.parametrize(("ending", "power"), [(".weights.h5", 2), (".h5", 1)])
def test_efficientnet_from_keras_own_backbone(
    keras_efficientnet, efficientnet, tmp_path, ending, power
):
    randomise(efficientnet, seed=3)
    randomise(keras_efficientnet)
    variance = np.power([0.229, 0.224, 0.225], power)
    mean = np.array([0.485, 0.456, 0.406])
    keras_efficientnet.get_layer(index=2).set_weights([mean, variance, np.array(0)])
    path = tmp_path / f"backbone{ending}"
    save = keras_efficientnet.save_weights if ending == ".weights.h5" else keras_efficientnet.save
    save(path)
    used = load_weights(efficientnet, "efficientnetb0", str(path))
    expected = backbone_weights(keras_efficientnet)
    del expected[keras_efficientnet.get_layer(index=2).name]
    assert_same(backbone_weights(efficientnet), expected)
    assert used.description == path.name


def test_another_scaling_in_the_file_is_mentioned(keras_efficientnet, efficientnet, tmp_path):
    keras_efficientnet.get_layer(index=2).set_weights([np.zeros(3), np.ones(3), np.array(0)])
    keras_efficientnet.save_weights(tmp_path / "backbone.weights.h5")
    used = load_weights(efficientnet, "efficientnetb0", str(tmp_path / "backbone.weights.h5"))
    assert "ITS INPUT SCALING" in used.description


def test_imagenets_scaling_is_known_by_its_means_and_deviations():
    means, deviations = np.array(IMAGENET_MEAN), np.array(IMAGENET_STD)
    assert is_imagenet_scaling(means, deviations) and is_imagenet_scaling(means, deviations**2)
    for scale in (deviations, deviations**2):
        assert not is_imagenet_scaling(means + 0.01, scale)
        assert not is_imagenet_scaling(means, scale + 0.01)


def test_a_torch_file_for_efficientnet_is_refused(files, efficientnet):
    refused(efficientnet, "efficientnetb0", files / "zip.pth", "must be a Keras file for eff")


def test_shared_efficientnet_weights(efficientnet):
    path = SHARED / "weights" / "efficientnetb0_notop.weights.h5"
    if not path.exists():
        pytest.skip(f"needs {path.name} in ../shared/weights")
    assert load_weights(efficientnet, "efficientnetb0", str(path)).description == path.name
    # Trained filters, not drawn ones: the first layer's norm is far from the initialiser's.
    assert efficientnet.get_layer("stem_bn").moving_mean.numpy().std() > 0.1


@pytest.mark.parametrize("ending", ["", "_legacy"])
def test_shared_shufflenet_checkpoints(model, ending):
    path = SHARED / "golden" / f"shufflenet_v2_x0_5{ending}.pth"
    if not path.exists():
        pytest.skip(f"needs {path.name} in ../shared/golden")
    load_weights(model, X0_5, str(path))
    rng = np.random.default_rng(zlib.crc32(b"conv5.1.bias"))
    expected = rng.normal(0, 0.1, 1024).astype(np.float32)
    assert np.array_equal(model.get_layer("conv5_conv_bn").beta.numpy(), expected)
