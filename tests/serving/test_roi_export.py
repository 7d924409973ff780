"""What sees a part of each image: its export finds that part as training did."""

import csv
import hashlib
import json

import numpy as np
import pytest
import tensorflow as tf

import train_cls
from kerascxr import __main__ as verbs
from kerascxr.config import PACKAGED
from kerascxr.data.roi import ROIS
from kerascxr.models import lung_model
from kerascxr.serving import export
from kerascxr.serving.web_model import read_page_model
from tests.support.lung_models import write_tiny_lung_model
from tests.support.ready_exports import load_once
from tests.support.small_runs import arguments, masked_classes

pytestmark = pytest.mark.usefixtures("any_lung_masks")  # of U-Nets trained for a moment


@pytest.fixture(scope="module", autouse=True)
def exports_loaded_once():
    with pytest.MonkeyPatch.context() as patched:
        load_once(patched)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("crops")


@pytest.fixture(scope="module")
def seers(folder, runs):
    """Runs that see the lungs' box: "found" by the U-Net, "given" by the source's masks."""
    source = masked_classes(folder / "masked")
    argv = arguments(folder, "--data.source", source, "--depth", "0", "--epochs", "1")
    argv += ["--roi", "lung_crop"]
    found = ["--lungs", str(runs[1]), "--name", "found"]
    assert train_cls.main([*argv, *found]) == 0
    assert train_cls.main([*argv, "--name", "given"]) == 0
    return folder / "runs/classification/found", folder / "runs/classification/given"


@pytest.fixture(scope="module")
def known(folder, seers, at_temperature):
    """Test images' paths, and the probabilities of the run that finds the lungs."""
    with (seers[0] / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = [row["id"].split("/") for row in rows]
    paths = [folder / "masked" / kind / "images" / f"{name}.png" for kind, name in names]
    columns = ("uncalibrated probability COVID", "uncalibrated probability Normal")
    raw = [[float(row[column]) for column in columns] for row in rows]
    return paths, at_temperature(seers[0], raw)


@pytest.fixture(scope="module")
def exported(folder, seers):
    to = folder / "models" / "crop"
    assert verbs.main(["export", str(seers[0]), "--to", str(to)]) == 0
    return to


def test_a_training_records_the_unet_that_found_its_lungs(seers, runs):
    known = json.loads((seers[0] / "metrics.json").read_text())["data"]["lungs_sha256"]
    assert known == hashlib.sha256((runs[1] / "model.keras").read_bytes()).hexdigest()


def test_bytes_are_answered_as_the_run_did(exported, known, runs):
    paths, expected = known
    files = [path.read_bytes() for path in paths]
    serve = tf.saved_model.load(str(exported / "1")).signatures["serving_default"]
    given = serve(images=tf.constant(files))
    np.testing.assert_allclose(given["probabilities"], expected, atol=1e-5)
    assert "lung_mask_bytes" in given
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"counted from 0\)\] \[2\]"):
        serve(images=tf.constant([*files[:2], files[2][:60]]))
    told = json.loads((exported / "1" / "metadata.json").read_text())
    assert told["input_region"] == ROIS["lung_crop"].description and told["segmentation"] == str(
        runs[1]
    )


@pytest.fixture
def packaged(tmp_path, monkeypatch):
    """The line that says that the package's lung model is used; here a tiny one is there."""
    write_tiny_lung_model(tmp_path / "lungs", (32, 32))
    monkeypatch.setattr(lung_model, "FOLDER", tmp_path / "lungs")
    return "Lung masks: by the lung model that comes with kerascxr (U-Net, 2 base filters)."


def test_a_run_on_the_sources_masks_predicts_with_the_packages_lung_model(
    packaged, seers, known, tmp_path, messages
):
    command = ["predict", str(seers[1]), str(known[0][0]), "--to", str(tmp_path / "table.csv")]
    assert verbs.main(command) == 0
    assert messages().count(packaged) == 1
    assert len((tmp_path / "table.csv").read_text().splitlines()) == 2


@pytest.mark.parametrize("kind", ["run", "export"])
def test_predict_computes_the_part_as_training_did(kind, exported, seers, known, tmp_path):
    paths, expected = known
    to = tmp_path / "table.csv"
    files = [*map(str, paths), "--to", str(to)]
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\xff" * 60)
    model = exported if kind == "export" else seers[0]
    assert verbs.main(["predict", str(model), str(tmp_path / "broken.png"), *files]) == 1
    with to.open(newline="") as file:
        rows = {row["path"]: row for row in csv.DictReader(file)}
    assert list(rows) == [str(path) for path in paths]
    given = [
        [float(row[f"probability {name}"]) for name in ("COVID", "Normal")] for row in rows.values()
    ]
    np.testing.assert_allclose(given, expected, atol=1e-5)


@pytest.mark.parametrize("given", [True, False])
def test_a_run_on_the_sources_masks_is_exported_with_another_lung_model(
    given, packaged, seers, runs, tmp_path, monkeypatch, messages
):
    command = ["export", str(seers[1]), "--to", str(tmp_path / "a")]
    command += ["--segmentation", str(runs[1])] if given else []
    for slow in ("write_model", "write_warm_up"):
        monkeypatch.setattr(export, slow, lambda *given: None)
    monkeypatch.setattr(export, "compare_reloaded", lambda *given: 0.0)
    monkeypatch.setattr(export, "publish", lambda run, to, fill: to.mkdir() or fill(to))
    assert verbs.main(command) == 0
    assert messages().count(packaged) == (0 if given else 1)
    assert any("came from another source" in message for message in messages())
    note = json.loads((tmp_path / "a" / "metadata.json").read_text())["test_metrics_note"]
    assert note in messages() and note.startswith(
        "Lung masks of the test: the source's masks. Lung masks of this model: "
        + (str(runs[1]) if given else "the lung model that comes with kerascxr")
    )


def test_a_page_answers_as_the_run_or_with_another_lung_model_as_keras(packaged, seers, known):
    page = read_page_model([seers[0]], None)
    assert page.lungs.segmenter.size == (32, 32) and page.note == ""
    names = [f"{path.parents[1].name}/{path.stem}" for path in known[0]]
    places = [names.index(name) for name in page.expected.ids]
    np.testing.assert_allclose(page.expected.probabilities, known[1][places], atol=1e-9)
    other = read_page_model([seers[1]], None)
    assert other.lungs.path == PACKAGED
    assert other.note.startswith("Lung masks of the test: the source's masks.")


def test_the_same_run_by_another_path_is_the_same(runs):
    other = runs[1].parent / ".." / runs[1].parent.name / runs[1].name
    assert export.same_folder(runs[1], other)
    assert not export.same_folder(runs[1], runs[0]) and not export.same_folder(runs[1], None)


def test_other_formats_refuse(seers, tmp_path, capsys):
    command = ["export", str(seers[0]), "--to", str(tmp_path / "b"), "--format", "[openvino]"]
    assert verbs.main(command) == 2
    assert "these formats hold a classifier alone" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()
