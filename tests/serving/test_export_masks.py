"""An exported U-Net gives the run's masks, from bytes and from pixels, and predict takes it."""

import csv
import io
import json
import shutil
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kerascxr import __main__ as verbs
from kerascxr.config import SegmentationConfig
from kerascxr.data.images import resize_image
from kerascxr.data.ingest.folds import split_folds
from kerascxr.models.segmenter import Segmenter
from kerascxr.parsing import load_config
from kerascxr.runs.reading import read_predictions, read_run
from kerascxr.serving import export_masks
from kerascxr.serving.graph import masks_from_pixels
from kerascxr.serving.loaded_run import load_run
from kerascxr.serving.publishing import examples_of
from kerascxr.tables import csv_text
from kerascxr.training.inputs import open_run_store
from kerascxr.training.lungs import load_segmenter
from tests.support.ready_exports import take_loaded_model
from tests.support.recorded_server import answer_rest


@pytest.fixture(scope="module")
def exported(runs, tmp_path_factory):
    to = tmp_path_factory.mktemp("models") / "lungs"
    assert verbs.main(["export", str(runs[1]), "--to", str(to)]) == 0
    return to / "1"


@pytest.fixture(scope="module")
def loaded(exported):
    return tf.saved_model.load(str(exported))


@pytest.fixture
def ready(exported, loaded, monkeypatch):
    """Exports take the SavedModel that is there; it is compared with the run as ever."""
    take_loaded_model(monkeypatch, export_masks, exported, loaded)


@pytest.fixture(scope="module")
def files(served, tmp_path_factory):
    """Test images, one of them enlarged with a bright speck, and a flat one of an odd shape."""
    folder = tmp_path_factory.mktemp("images")
    for name in ("7", "9"):
        (folder / f"{name}.png").write_bytes((served / f"lungs/images/{name}.png").read_bytes())
    large = np.array(Image.open(folder / "7.png").resize((90, 70)))
    large[:12, :12] = 220
    Image.fromarray(large).save(folder / "large.png")
    Image.fromarray(np.full((20, 90), 90, np.uint8)).save(folder / "flat.png")
    return sorted(folder.iterdir())


def pixels_of(png):
    return np.asarray(Image.open(io.BytesIO(png)))


def test_bytes_give_the_runs_masks_at_each_images_own_size(loaded, runs, files):
    signature = loaded.signatures["serving_default"]
    given = signature(images=tf.constant([path.read_bytes() for path in files]))
    assert set(given) == {"mask_bytes", "lung_fraction", "components", "warnings"}
    assert {len(value) for value in given.values()} == {len(files)}
    expected = load_run(runs[1]).predict(files)
    for png, mask in zip(given["mask_bytes"].numpy(), expected.masks, strict=True):
        np.testing.assert_array_equal(pixels_of(png), np.where(mask, 255, 0))
    np.testing.assert_allclose(given["lung_fraction"], expected.lung_fractions, atol=1e-6)
    assert any(mask.any() for mask in expected.masks)
    flat = given["warnings"].numpy()[[path.stem for path in files].index("flat")]
    assert flat == b"nearly constant; unusual shape"


def test_pixels_give_probabilities_that_make_the_same_masks(loaded, runs, files):
    run = load_run(runs[1])
    grey = [np.asarray(Image.open(path).convert("L")) for path in files]
    small = tf.stack([resize_image(image[..., None], (32, 32)) for image in grey])
    given = loaded.signatures["pixels"](images=tf.cast(small, tf.float32))
    logits = run.model.predict_on_batch(small.numpy().astype(np.float32))
    probabilities = 1 / (1 + np.exp(-logits.astype(np.float64)))
    np.testing.assert_allclose(given["probabilities"], probabilities, atol=1e-5)
    lungs, all_components = (
        given[name].numpy() for name in ("lung_probabilities", "probabilities")
    )
    assert ((lungs == all_components) | (lungs == 0)).all()
    threshold = json.loads((runs[1] / "metrics.json").read_text())["threshold"]
    for one, image, mask in zip(lungs, grey, run.predict(files).masks, strict=True):
        resized = tf.image.resize(one, image.shape).numpy()[..., 0]
        np.testing.assert_array_equal(resized >= np.float32(threshold), mask)


def test_small_components_are_left_out_of_the_lungs_probabilities():
    model = keras.Sequential([keras.Input((64, 64, 1)), keras.layers.Identity()])
    logits = np.full((1, 64, 64, 1), -5, np.float32)
    logits[0, 8:48, 4:24] = logits[0, 8:48, 36:56] = logits[0, 56:60, 8:12] = 5
    given = masks_from_pixels(Segmenter(model, 0.5))(tf.constant(logits))
    assert given["components"].numpy() == [3]
    lungs, all_components = given["lung_probabilities"].numpy(), given["probabilities"].numpy()
    assert (all_components[0, 56:60, 8:12] > 0.9).all()
    assert (lungs[0, 56:60, 8:12] == 0).all()
    np.testing.assert_array_equal(lungs[0, :56], all_components[0, :56])


def test_what_stands_beside_the_model_describes_it(exported, loaded, runs):
    told = json.loads((exported / "metadata.json").read_text())
    metrics = json.loads((runs[1] / "metrics.json").read_text())
    assert told["task"] == "segmentation" and told["threshold"] == metrics["threshold"]
    assert told["test_metrics"]["dice"] == metrics["test"]["dice"] and told["size"] == [32, 32]
    assert "not diagnosis" in told["intended_use"]
    for name, described in told["signatures"].items():
        given = loaded.signatures[name].structured_outputs
        assert set(described["outputs"]) == set(given)
        for output, tensor in described["outputs"].items():
            assert tensor["type"] == given[output].dtype.name, output
            assert len(tensor["shape"]) == len(given[output].shape), output


def test_the_warm_up_requests_are_ones_that_it_answers(exported, loaded):
    from tensorflow_serving.apis import prediction_log_pb2

    path = exported / "assets.extra" / "tf_serving_warmup_requests"
    sizes = []
    for record in tf.data.TFRecordDataset(str(path)):
        log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
        request = log.predict_log.request
        assert request.model_spec.name == "lungs"
        batch = tf.constant(tf.make_ndarray(request.inputs["images"]))
        given = loaded.signatures["serving_default"](images=batch)
        sizes.append(len(given["mask_bytes"]))
        assert all(len(np.unique(pixels_of(file))) > 2 for file in batch.numpy())  # no masks
    assert sizes == [1, 8]


@pytest.mark.parametrize("command", ["export", "predict", "lungs", "segmentation"])
@pytest.mark.parametrize("dice", [0.62, float("nan"), 0.97])
def test_a_poor_unet_is_called_one(runs, files, tmp_path, capsys, monkeypatch, command, dice):
    run = tmp_path / "run"
    run.mkdir()
    for path in runs[1].iterdir():
        (run / path.name).symlink_to(path)
    (run / "metrics.json").unlink()
    known = json.loads((runs[1] / "metrics.json").read_text())
    known["test"]["dice"] = dice
    (run / "metrics.json").write_text(json.dumps(known))
    argv = {
        "export": ["export", str(run)],
        "predict": ["predict", str(run), str(files[0])],
        "lungs": ["lungs", str(files[0]), "--lungs", str(run)],
        "segmentation": ["export", str(runs[0]), "--segmentation", str(run)],
    }[command]
    for module in ("kerascxr.cli.export", "kerascxr.cli.lungs"):
        monkeypatch.setattr(f"{module}.start_tensorflow", lambda: sys.exit("it begins"))
    with pytest.raises(SystemExit, match="it begins"):
        verbs.main([*argv, "--to", str(tmp_path / "to"), "--quiet"])
    shown = capsys.readouterr().out
    assert (f"The U-Net of {run} is poor: its test Dice is {dice:.3f}." in shown) == (dice != 0.97)


@pytest.mark.parametrize("most", [-1.0, 1.0])
def test_an_export_says_how_many_of_its_masks_are_plausible(
    ready, runs, tmp_path, capsys, monkeypatch, most
):
    monkeypatch.setattr("kerascxr.evaluation.lung_masks.MOST_IMPLAUSIBLE", most)
    argv = ["export", str(runs[1]), "--to", str(tmp_path / "models")]
    assert verbs.main([*argv, "--quiet"]) == 0
    found = json.loads((tmp_path / "models/1/metadata.json").read_text())["lung_masks"]
    assert found["images"] == len(read_predictions(runs[1] / "predictions.csv"))
    assert ("Of the test images: " in capsys.readouterr().out) == (most < 0)


def test_other_masks_than_the_runs_are_not_published(ready, runs, tmp_path, capsys):
    run = tmp_path / "run"
    run.mkdir()
    for path in runs[1].iterdir():
        (run / path.name).symlink_to(path)
    (run / "metrics.json").unlink()
    known = json.loads((runs[1] / "metrics.json").read_text())
    changed = known | {"threshold": 0.95 if known["threshold"] < 0.5 else 0.05}
    (run / "metrics.json").write_text(json.dumps(changed))
    assert verbs.main(["export", str(run), "--to", str(tmp_path / "models")]) == 2
    message = capsys.readouterr().err
    assert "must reproduce the run's masks to 0.001" in message
    assert message.rstrip().count("\n") == 0
    assert not [path for path in (tmp_path / "models").iterdir() if path.suffix != ".lock"]


class Turned(Segmenter):
    """Its masks at the images' own size are upside down, those at its input's size as they were."""

    def mask_at(self, probabilities, size):
        return super().mask_at(probabilities, size)[::-1]


class Empty(Segmenter):
    """It finds no component that is lung."""

    def of_lungs(self, probabilities):
        return 0 * probabilities


class Small(Segmenter):
    """Its masks are all of one pixel."""

    def mask_at(self, probabilities, size):
        return super().mask_at(probabilities, size)[:1, :1]


@pytest.fixture(scope="module")
def two(runs):
    """The run's U-Net, two of its test images, and the Dice of all."""
    config = load_config(SegmentationConfig, runs[1] / "config.yaml")
    store = open_run_store(read_run(runs[1], "segmentation"), config.data)
    rows = read_predictions(runs[1] / "predictions.csv")
    dice = {row["id"]: float(row["dice"]) for row in rows}
    samples = examples_of(store, split_folds(config.split)["test"], set(list(dice)[:2]))
    return load_segmenter(runs[1]), samples, dice


@pytest.mark.parametrize(
    ("kind", "change", "words"),
    [
        (Segmenter, 0.0, None),
        (Segmenter, 0.002, "a difference of 0.002 in Dice and of 0 in pixels"),
        (Segmenter, -0.002, "a difference of 0.002 in Dice and of 0 in pixels"),
        (Segmenter, np.nan, "a difference of nan in Dice"),
        (Turned, 0.0, r"a difference of [0-9.e-]+ in Dice and of 0\.\d+ in pixels"),
        (Small, 0.0, "and of 1 in pixels"),
        (Empty, 0.0, r"a difference of [0-9.e-]+ in Dice and of 0\.\d+ in pixels"),
    ],
)
def test_dice_and_masks_are_compared_each(loaded, two, monkeypatch, kind, change, words):
    monkeypatch.setattr(tf.saved_model, "load", lambda folder: loaded)
    of_run, samples, dice = two
    dice = {name: value + change for name, value in dice.items()}
    segmenter = kind(of_run.model, of_run.threshold)
    if words is None:
        assert export_masks._compare(Path("any"), segmenter, samples, dice, 1e-3) <= 1e-3
        return
    with pytest.raises(ValueError, match=words):
        export_masks._compare(Path("any"), segmenter, samples, dice, 1e-3)


def test_predict_gives_the_same_with_the_export_as_with_the_run(exported, runs, files, tmp_path):
    folders = []
    for model in (exported.parent, runs[1]):
        to = tmp_path / model.name
        command = ["predict", str(model), *map(str, files), "--to", str(to)]
        assert verbs.main(command) == 0
        folders.append(to)
    tables = [(folder / "lungs.csv").read_text() for folder in folders]
    assert tables[0] == tables[1]
    for row in csv.DictReader(io.StringIO(tables[0])):
        masks = [(folder / row["mask"]).read_bytes() for folder in folders]
        assert masks[0] == masks[1]


def test_a_classifiers_commands_refuse_it(exported, files, tmp_path, capsys):
    from kerascxr.serving.predictors import load_predictor

    with pytest.raises(ValueError, match="must be a classifier"):
        load_predictor(exported)
    command = ["predict", str(exported), str(files[0]), "--to", str(tmp_path / "table.csv")]
    assert verbs.main(command) == 2
    assert "--to must be a folder" in capsys.readouterr().err


def test_the_example_client_writes_the_masks(loaded, files, tmp_path, monkeypatch, capsys):
    sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "serving"))
    try:
        import lungs as client
    finally:
        sys.path.pop(0)
    signature = loaded.signatures["serving_default"]

    def serve(request, timeout):
        assert request.full_url == "http://localhost:8501/v1/models/lungs:predict"
        return io.BytesIO(answer_rest(signature, request.data))

    monkeypatch.setattr(client.urllib.request, "urlopen", serve)
    monkeypatch.setattr(sys, "argv", ["lungs.py", *map(str, files), "--to", str(tmp_path / "to")])
    client.main()
    given = signature(images=tf.constant([path.read_bytes() for path in files]))
    lines = capsys.readouterr().out.splitlines()
    for number, (path, png) in enumerate(zip(files, given["mask_bytes"].numpy(), strict=True)):
        assert (tmp_path / f"to/{number}-{path.stem}.png").read_bytes() == png
        assert lines[number].startswith(f"{path}: lung ")
    assert "WARNING: nearly constant" in "".join(lines)


def test_a_float32_model_has_the_small_tolerance_however_it_was_trained(
    ready, runs, tmp_path, capsys
):
    run = shutil.copytree(runs[1], tmp_path / "run")
    metrics = json.loads((run / "metrics.json").read_text())
    metrics["regime"]["precision"] = "mixed_bfloat16"
    (run / "metrics.json").write_text(json.dumps(metrics))
    rows = read_predictions(run / "predictions.csv")
    rows = [row | {"dice": float(row["dice"]) + 0.005} for row in rows]
    (run / "predictions.csv").write_text(csv_text(rows))
    assert verbs.main(["export", str(run), "--to", str(tmp_path / "model")]) == 2
    assert "must reproduce the run's masks to 0.001. Got" in capsys.readouterr().err
