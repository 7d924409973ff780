"""Where the lungs come from, and that a classifier learns from what it sees alone."""

import csv
import dataclasses
import hashlib
import importlib.metadata
import json
import shutil
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
import yaml
from PIL import Image

import train_cls
from kerascxr.__main__ import main
from kerascxr.audits import robustness
from kerascxr.audits.robustness import corrupt_images
from kerascxr.config import PACKAGED, AugmentConfig, ClassificationConfig, DataConfig
from kerascxr.data.corruptions import CORRUPTIONS
from kerascxr.data.images import resize_mask
from kerascxr.data.pipeline import Images, read_images, training_batches
from kerascxr.evaluation import lung_masks
from kerascxr.evaluation.lung_masks import MOST_IMPLAUSIBLE
from kerascxr.evaluation.robustness import CLEAN, by_severity, read_robustness
from kerascxr.models import lung_model
from kerascxr.models.segmenter import Segmenter
from kerascxr.models.unet import build_unet
from kerascxr.serving.predictors import load_predictor
from kerascxr.training import lungs as lungs_module
from kerascxr.training.feature_files import FeatureFolder
from kerascxr.training.inputs import open_data, read_folds
from kerascxr.training.lungs import choose_lungs, load_segmenter, read_lungs
from tests.support.lung_models import write_tiny_lung_model
from tests.support.no_figures import without_figures
from tests.support.small_runs import arguments, masked_classes

pytestmark = pytest.mark.usefixtures("any_lung_masks")  # of U-Nets trained for a moment
FOLDS = (3, 1, 17)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Classes in set/."""
    folder = tmp_path_factory.mktemp("rois")
    masked_classes(folder / "set")
    return folder


@pytest.fixture(scope="module")
def whole(folder):
    """The accuracy of a classifier of whole images, and its run."""
    return trained(folder, "none"), folder / "runs/classification/none"


@pytest.fixture(scope="module")
def by_masks(folder):
    """A run on crops to the lungs of its source's masks, of which one has one lung."""
    source = masked_classes(folder / "odd")
    one_lung = np.zeros((32, 32), np.uint8)
    one_lung[8:24, 3:13] = 255
    Image.fromarray(one_lung).save(f"{source}/COVID/masks/COVID-3.png")
    argv = arguments(folder, "--data.source", source, "--depth", "0", "--epochs", "1")
    assert train_cls.main([*argv, "--roi", "lung_crop", "--name", "by-masks"]) == 0
    return folder / "runs/classification/by-masks"


@pytest.fixture(scope="module")
def run(runs):
    return runs[1]


@pytest.fixture(scope="module")
def store(folder):
    return open_data(DataConfig(f"{folder}/set", folder / "stores"))


def trained(folder, name, *more):
    """A classifier's test accuracy."""
    argv = arguments(folder, "--data.source", f"{folder}/set", "--depth", "0", "--name", name)
    argv += ["--epochs", "6", *more]
    assert train_cls.main(argv) == 0
    metrics = folder / f"runs/classification/{name}/metrics.json"
    return json.loads(metrics.read_text())["test"]["accuracy"]


def test_the_sources_masks_come_in_the_order_of_the_images(folder, store):
    found = read_lungs(store, FOLDS, None, (24, 20), FeatureFolder(folder / "kept"))
    ids = read_images(store, FOLDS, (24, 20)).ids
    assert found.shape == (len(ids), 24, 20, 1) and found.dtype == np.uint8
    assert not (folder / "kept").exists()
    for name, mask in zip(ids, found, strict=True):
        kind, image = name.split("/")
        own = np.asarray(Image.open(folder / "set" / kind / "masks" / f"{image}.png").convert("L"))
        np.testing.assert_array_equal(mask, resize_mask(own[..., None], (24, 20)))


def test_a_unets_lungs_are_kept_for_the_same_run_threshold_and_folds(
    folder, run, store, tmp_path, monkeypatch
):
    size, kept = (24, 24), tmp_path / "kept"
    segmenter = load_segmenter(run)
    first = read_lungs(store, FOLDS, run, size, FeatureFolder(kept))
    images = read_images(store, FOLDS, segmenter.size)
    np.testing.assert_array_equal(first, segmenter.masks(images.pixels))
    assert 0 < (first > 0).mean() < 1 and len(np.unique(first)) == 2
    (file,) = kept.glob("*.npz")

    def fail(*given):
        raise AssertionError("computed again")

    with monkeypatch.context() as patched:
        patched.setattr(lungs_module, "_from_unet", fail)
        again = read_lungs(store, tuple(sorted(FOLDS)), run, size, FeatureFolder(kept))
        np.testing.assert_array_equal(first, again)
        with pytest.raises(AssertionError):
            read_lungs(store, (1, 3), run, size, FeatureFolder(kept))
    file.write_bytes(bytes(file.stat().st_size))
    np.testing.assert_array_equal(read_lungs(store, FOLDS, run, size, FeatureFolder(kept)), first)
    other = tmp_path / "other"
    other.mkdir()
    for path in run.iterdir():
        (other / path.name).symlink_to(path)
    (other / "metrics.json").unlink()
    known = json.loads((run / "metrics.json").read_text())
    values = segmenter.probabilities(images.pixels).numpy()
    middle = float(np.median(values))
    expected = dataclasses.replace(segmenter, threshold=middle).masks(images.pixels)
    (other / "metrics.json").write_text(json.dumps(known | {"threshold": middle}))
    second = read_lungs(store, FOLDS, other, size, FeatureFolder(kept))
    np.testing.assert_array_equal(second, expected)
    assert (second != first).any()
    assert len(list(kept.glob("*.npz"))) == 2
    with pytest.raises(ValueError, match="no DONE"):
        read_lungs(store, FOLDS, tmp_path, size, FeatureFolder(kept))


def test_lungs_of_a_store_that_changed_meanwhile_are_not_kept(tmp_path, monkeypatch):
    def changed():
        raise ValueError("the store must stay as it is.")

    unet = Segmenter(SimpleNamespace(input_shape=(None, 8, 8, 1)), 0.5)
    monkeypatch.setattr(lungs_module, "load_segmenter", lambda run: unet)
    monkeypatch.setattr(lungs_module, "lungs_digest", str)
    monkeypatch.setattr(lungs_module, "_from_unet", lambda *given: np.zeros((3, 8, 8, 1), np.uint8))
    store = SimpleNamespace(fingerprint={"digest": "first"}, require_unchanged=changed)
    with pytest.raises(ValueError, match="must stay"):
        read_lungs(store, FOLDS, tmp_path / "run", (8, 8), FeatureFolder(tmp_path))
    assert not list(tmp_path.glob("*.npz"))


@pytest.mark.parametrize(
    ("where", "name", "value"),
    [
        (importlib.metadata, "version", lambda package: "99"),
        (tf.config, "list_physical_devices", lambda kind: [SimpleNamespace(device_type=kind)]),
    ],
)
def test_lungs_of_another_version_or_device_are_computed_again(
    tmp_path, monkeypatch, where, name, value
):
    unet = Segmenter(SimpleNamespace(input_shape=(None, 8, 8, 1)), 0.5)
    store = SimpleNamespace(fingerprint={"digest": "first"}, require_unchanged=lambda: None)
    monkeypatch.setattr(lungs_module, "load_segmenter", lambda run: unet)
    monkeypatch.setattr(lungs_module, "lungs_digest", str)
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: {})
    for grey in (0, 255):
        made = np.full((3, 8, 8, 1), grey, np.uint8)
        monkeypatch.setattr(lungs_module, "_from_unet", lambda *given, made=made: made)
        found = read_lungs(store, FOLDS, tmp_path / "run", (8, 8), FeatureFolder(tmp_path))
        assert (found == grey).all()
        monkeypatch.setattr(where, name, value)


@pytest.mark.parametrize("limit_gb", [1e-9, 1.0])
def test_new_lungs_push_out_the_least_recently_used(tmp_path, monkeypatch, limit_gb):
    unet = Segmenter(SimpleNamespace(input_shape=(None, 8, 8, 1)), 0.5)
    monkeypatch.setattr(lungs_module, "load_segmenter", lambda run: unet)
    monkeypatch.setattr(lungs_module, "lungs_digest", str)
    monkeypatch.setattr(lungs_module, "_from_unet", lambda *given: np.zeros((3, 8, 8, 1), np.uint8))
    store = SimpleNamespace(fingerprint={"digest": "first"}, require_unchanged=lambda: None)
    old = tmp_path / "lungs-old.npz"
    old.write_bytes(bytes(1000))
    read_lungs(store, FOLDS, tmp_path / "run", (8, 8), FeatureFolder(tmp_path, limit_gb))
    assert old.exists() == (limit_gb == 1.0)
    assert len([path for path in tmp_path.glob("lungs-*.npz") if path != old]) == 1


def test_images_without_masks_and_lungs_without_use_are_one_line(
    by_masks, run, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(lung_model, "FOLDER", tmp_path / "not installed")
    masked_classes(tmp_path / "bare", masks=False)
    argv = arguments(tmp_path, "--data.source", f"{tmp_path}/bare", "--depth", "0")
    assert train_cls.main([*argv, "--roi", "lung_crop"]) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert "the package's lung model cannot be used: it has no card.json" in line
    assert "--lungs RUN" in line
    with pytest.raises(ValueError, match=r"must have a lung mask .* 40 of 40"):
        bare = open_data(DataConfig(f"{tmp_path}/bare", tmp_path / "stores"))
        read_lungs(bare, FOLDS, None, (24, 24), FeatureFolder(tmp_path))
    assert train_cls.main([*argv, "--roi", "border_only", "--lungs", str(run)]) == 2
    assert "lungs must be left out" in capsys.readouterr().err.strip().splitlines()[-1]
    assert train_cls.main([*argv, "--roi", "lung_corp"]) == 2
    assert "did you mean 'lung_crop'?" in capsys.readouterr().err.strip().splitlines()[-1]
    # A run by its source's masks meets images without any: evaluate finds their lungs.
    command = ["evaluate", str(by_masks), "--data.source"]
    command += [f"{tmp_path}/bare", "--data.stores", f"{tmp_path}/stores"]
    command += ["--data.features", f"{tmp_path}/features"]
    assert main(command) == 2
    assert "--lungs RUN" in capsys.readouterr().err
    assert main([*command, "--lungs", str(run)]) == 0
    write_tiny_lung_model(tmp_path / "lungs", (32, 32))
    monkeypatch.setattr(lung_model, "FOLDER", tmp_path / "lungs")
    (tested,) = (by_masks / "external").glob("*/metrics.json")
    assert json.loads(tested.read_text())["data"]["lungs"] == str(run)
    assert main(command) == 0
    packaged = "the lung model that comes with kerascxr"
    assert json.loads(tested.read_text())["data"]["lungs"] == packaged
    assert main(["evaluate", str(run), "--lungs", str(run)]) == 2
    assert "must be left out for a U-Net" in capsys.readouterr().err


def test_the_packages_model_finds_lungs_where_masks_are_missing_and_is_named(
    folder, run, store, tmp_path, monkeypatch, messages
):
    write_tiny_lung_model(tmp_path / "lungs", (32, 32))
    monkeypatch.setattr(lung_model, "FOLDER", tmp_path / "lungs")
    masked_classes(tmp_path / "bare", masks=False)
    bare = open_data(DataConfig(f"{tmp_path}/bare", tmp_path / "stores"))
    messages.clear()
    assert choose_lungs(None, store) is None and choose_lungs(run, bare) == run
    assert not messages()
    assert choose_lungs(None, bare) == choose_lungs(PACKAGED, store) == PACKAGED
    line = "Lung masks: by the lung model that comes with kerascxr (U-Net, 2 base filters)."
    assert messages() == [line, line]
    segmenter = load_segmenter(PACKAGED)
    found = read_lungs(bare, FOLDS, PACKAGED, (24, 24), FeatureFolder(tmp_path / "kept"))
    pixels = read_images(bare, FOLDS, segmenter.size).pixels
    np.testing.assert_array_equal(found, segmenter.masks(pixels))
    again = read_lungs(bare, FOLDS, PACKAGED, (24, 24), FeatureFolder(tmp_path / "kept"))
    np.testing.assert_array_equal(again, found)
    # A training by it says so, and is served by it.
    argv = arguments(tmp_path, "--data.source", f"{tmp_path}/bare", "--depth", "0")
    argv += ["--roi", "lungs_only", "--name", "packaged"]
    assert train_cls.main([*argv, "--epochs", "1"]) == 0
    trained_run = tmp_path / "runs/classification/packaged"
    config = yaml.safe_load((trained_run / "config.yaml").read_text())
    assert config["lungs"] == "package" and line in (trained_run / "log.txt").read_text()
    messages.clear()
    predictor = load_predictor(trained_run)
    assert messages() == [line]
    with (trained_run / "predictions.csv").open(newline="") as file:
        row = next(csv.DictReader(file))
    image = (tmp_path / "bare" / f"{row['id'].replace('/', '/images/')}.png").read_bytes()
    (served,) = predictor.answer(tf.constant([image]), tf.constant([[1, 1]]))["probabilities"]
    known = [float(row[f"probability {name}"]) for name in predictor.classes]
    np.testing.assert_allclose(served, known, atol=2e-4)


def test_a_class_that_only_the_surroundings_tell_is_learnt_only_where_they_are_seen(folder, whole):
    assert whole[0] > 0.95
    assert trained(folder, "mask", "--roi", "lungs_only") < 0.85
    metrics = json.loads((folder / "runs/classification/mask/metrics.json").read_text())
    assert metrics["title"].endswith("depth 0, roi lungs_only")


@pytest.mark.figures
def test_channel_trains_on_features_and_on_images_and_stands_corruptions(folder, monkeypatch):
    on_images = ["--features", "false", "--augment.enabled", "true", "--epochs", "1"]
    with without_figures():
        trained(folder, "channel-images", "--roi", "lung_channel", *on_images)
    clean = trained(folder, "channel", "--roi", "lung_channel", "--features", "true")
    assert clean > 0.95
    run = folder / "runs/classification/channel"
    for name in ("data_samples", "sample_predictions", "grad_cam"):
        assert (run / f"figures/{name}.png").stat().st_size > 5000
    few = {name: CORRUPTIONS[name] for name in ("brightness", "rotation")}
    monkeypatch.setattr(robustness, "CORRUPTIONS", few)
    with without_figures():
        assert main(["robustness", str(run)]) == 0
    found, scores = by_severity(read_robustness(run), "accuracy")
    assert found == pytest.approx(clean) and set(scores) == set(few)


def test_the_lungs_channel_stays_a_mask_and_moves_with_its_image(store):
    config = ClassificationConfig(roi="lung_channel", image_size=(32, 32))
    images = read_folds(config, store, FOLDS)
    # The image is its own mask, so that they can be compared after every change.
    twins = Images(
        images.pixels[..., 1:].repeat(2, axis=-1),
        None,
        images.ids,
        images.groups,
        images.labels,
        (),
    )
    moves = AugmentConfig(brightness=0, contrast=0, rotation_degrees=20, shift=0.2)
    batch = next(iter(training_batches(twins, len(twins), seed=1, augment=moves)))
    grey, inside = np.split(batch["image"].numpy(), 2, axis=-1)
    before = twins.pixels[batch["index"].numpy()][..., :1]
    assert set(np.unique(inside)) == {0, 255}
    assert ((inside > 0) != (before > 0)).mean() > 0.02
    np.testing.assert_array_equal(inside > 0, grey >= 127.5)
    noisy = next(iter(training_batches(images, 8, seed=1, augment=AugmentConfig(noise=0.5))))
    assert set(np.unique(noisy["image"][..., 1])) == {0, 255}


def test_what_is_hidden_stays_so_when_images_are_made_worse(store):
    config = ClassificationConfig(roi="lung_channel", image_size=(32, 32))
    images = read_folds(config, store, FOLDS)
    inside = images.pixels[..., 1:] > 0
    masked = read_folds(ClassificationConfig(roi="lungs_only", image_size=(32, 32)), store, FOLDS)
    np.testing.assert_array_equal(
        corrupt_images(images, CLEAN, 0, 0, "lungs_only").pixels, masked.pixels
    )
    bright = corrupt_images(images, "brightness", 5, 0, "lungs_only").pixels
    assert not bright[~inside].any() and (bright[inside] >= 100).all()
    channel = corrupt_images(images, "brightness", 5, 0, "lung_channel").pixels
    np.testing.assert_array_equal(channel[..., 1:] > 0, inside)
    shifted = corrupt_images(images, "shift", 3, 0, "lung_channel").pixels
    both = corrupt_images(images, "shift", 3, 0, "lungs_only").pixels
    assert ((shifted[..., 1:] > 0) != inside).any()
    np.testing.assert_array_equal(both, np.where(shifted[..., 1:] > 0, shifted[..., :1], 0))
    crop = read_folds(ClassificationConfig(roi="lung_crop", image_size=(32, 32)), store, FOLDS)
    np.testing.assert_array_equal(
        corrupt_images(crop, CLEAN, 0, 0, "lung_crop").pixels, crop.pixels
    )
    whole = read_folds(ClassificationConfig(image_size=(32, 32)), store, FOLDS)
    border = corrupt_images(whole, "brightness", 5, 0, "border_only").pixels
    assert not border[:, 8:24, 8:24].any() and border[:, 0].all()


def test_a_poor_unet_stops_what_leans_on_its_masks_in_one_line(
    folder, run, whole, tmp_path, monkeypatch, capsys
):
    random = tmp_path / "random"
    shutil.copytree(run, random)
    keras.utils.set_random_seed(3)
    build_unet((32, 32), base_filters=2).save(random / "model.keras")
    monkeypatch.setattr(lung_masks, "MOST_IMPLAUSIBLE", MOST_IMPLAUSIBLE)
    argv = arguments(folder, "--data.source", f"{folder}/set", "--depth", "0", "--epochs", "1")
    assert train_cls.main([*argv, "--roi", "lung_crop", "--lungs", str(random)]) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert "of the lung masks may be implausible" in line and f"from {random}" in line
    assert "of 40 (" in line and "--lungs RUN" in line  # of all images, not those of one split
    assert main(["audit", str(whole[1]), "--lungs", str(random)]) == 2
    assert "of 40 (" in capsys.readouterr().err
    assert not list((whole[1] / "audit").glob("*/DONE"))  # stopped before the first ablation
    command = ["export", str(whole[1]), "--segmentation", str(random)]
    assert main([*command, "--to", str(tmp_path / "models")]) == 2
    assert "--segmentation RUN" in capsys.readouterr().err
    assert not (tmp_path / "models").exists()


def test_a_run_is_not_used_with_another_lung_model_than_it_was_trained_with(
    folder, by_masks, run, tmp_path, capsys
):
    """The run is as if trained with a U-Net; that trainings record it, test_roi_export has."""
    used, trained_run = tmp_path / "unet", tmp_path / "crop"
    shutil.copytree(run, used)
    shutil.copytree(by_masks, trained_run)
    model = used / "model.keras"
    config = yaml.safe_load((trained_run / "config.yaml").read_text()) | {"lungs": str(used)}
    (trained_run / "config.yaml").write_text(yaml.safe_dump(config))
    metrics = json.loads((trained_run / "metrics.json").read_text())
    metrics["data"]["lungs_sha256"] = hashlib.sha256(model.read_bytes()).hexdigest()
    (trained_run / "metrics.json").write_text(json.dumps(metrics))
    load_predictor(trained_run)
    image = next((folder / "set/COVID/images").iterdir())
    places = ["--data.stores", f"{tmp_path}/stores", "--data.features", f"{tmp_path}/features"]
    commands = (
        ["robustness", str(trained_run)],
        ["audit", str(trained_run)],
        ["export", str(trained_run), "--to", f"{tmp_path}/models"],
        ["predict", str(trained_run), str(image), "--to", f"{tmp_path}/table.csv"],
        ["evaluate", str(trained_run), "--data.source", f"{folder}/set", *places],
    )
    build_unet((32, 32), base_filters=2).save(model)
    for change in ("altered", "missing"):
        capsys.readouterr()
        for command in commands:
            assert main(command) == 2, (change, command)
            line = capsys.readouterr().err.strip().splitlines()[-1]
            assert f"the lung model {used} is missing or has changed since {trained_run}" in line
        model.unlink(missing_ok=True)


def test_a_run_whose_roi_another_script_added_is_one_line(whole, tmp_path, capsys):
    run = shutil.copytree(whole[1], tmp_path / "run")
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace("roi: none", "roi: upper_half"))
    for command in (
        ["robustness", str(run)],
        ["audit", str(run)],
        ["export", str(run), "--to", f"{tmp_path}/models"],
        ["predict", str(run), str(tmp_path), "--to", f"{tmp_path}/table.csv"],
        ["evaluate", str(run), "--data.source", "phantom"],
    ):
        capsys.readouterr()
        assert main(command) == 2, command
        line = capsys.readouterr().err.strip().splitlines()[-1]
        ours = "Got roi='upper_half'; start the command from the script that adds it." in line
        assert ours or (command[0] == "evaluate" and "unknown roi 'upper_half'" in line)


def test_the_count_of_implausible_masks_is_recorded(by_masks):
    found = json.loads((by_masks / "metrics.json").read_text())["data"]["lung_masks"]
    assert (found["images"], found["implausible"]) == (40, 1)
    assert found["reasons"]["does not have two lungs side by side"] == 1
    log = (by_masks / "log.txt").read_text()
    assert log.count("1 of 40 lung masks are implausible") == 1
