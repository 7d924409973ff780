"""An exported model answers as the run did, from bytes, wherever TensorFlow runs."""

import base64
import csv
import importlib
import io
import json
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import tensorflow as tf
import yaml
from PIL import Image
from tensorflow_serving.apis import predict_pb2

from kerascxr import __main__ as verbs
from kerascxr.config import DataConfig
from kerascxr.runs.reading import read_predictions
from kerascxr.serving import export, publishing, read_back
from kerascxr.tables import csv_text
from kerascxr.training.inputs import open_data
from tests.support.c_api import run_in_c
from tests.support.ready_exports import take_ready_model
from tests.support.recorded_server import answer_grpc, answer_rest

pytestmark = pytest.mark.usefixtures("any_lung_masks")  # of U-Nets trained for a moment
CLASSES = ["bright", "dark", "middle"]


@pytest.fixture(scope="module")
def exported(chest, tmp_path_factory):
    return shutil.copytree(chest, tmp_path_factory.mktemp("models") / "chest") / "1"


@pytest.fixture(scope="module")
def loaded(exported):
    return tf.saved_model.load(str(exported))


@pytest.fixture(scope="module")
def signature(loaded):
    return loaded.signatures["serving_default"]


@pytest.fixture(scope="module")
def known(served, runs, at_temperature):
    """Test images' bytes and the run's probabilities, at its temperature."""
    with (runs[0] / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    files = [(served / "set" / f"{row['id']}.png").read_bytes() for row in rows]
    raw = [[float(row[f"uncalibrated probability {name}"]) for name in CLASSES] for row in rows]
    return files, at_temperature(runs[0], raw)


def test_it_answers_as_the_run_did(signature, known, runs):
    files, expected = known
    given = signature(images=tf.constant(files))
    np.testing.assert_allclose(given["probabilities"], expected, atol=1e-5)
    with (runs[0] / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for name in ("decision", "prediction_set", "warnings"):
        assert [text.decode() for text in given[name].numpy()] == [row[name] for row in rows]
    scores = [float(row["ood_score"]) for row in rows]
    np.testing.assert_allclose(given["ood_score"], scores, atol=1e-2)
    assert given["labels"].numpy().tolist() == [[name.encode() for name in CLASSES]] * len(files)
    labels = [CLASSES[index].encode() for index in expected.argmax(1)]
    assert given["label"].numpy().tolist() == labels
    # REST's row format needs a row of each output for each image.
    assert {len(value) for value in given.values()} == {len(files)}


def test_a_fresh_process_with_tensorflow_alone_gives_the_same(exported, known, runs, tmp_path):
    """And Keras, imported before this package, then reads the runs' models there."""
    files, expected = known
    np.save(tmp_path / "expected.npy", expected)
    for index, data in enumerate(files):
        (tmp_path / f"{index}.png").write_bytes(data)
    code = (
        "import sys, numpy as np, tensorflow as tf\n"
        "from pathlib import Path\n"
        "model, folder = sys.argv[1:]\n"
        "expected = np.load(f'{folder}/expected.npy')\n"
        "files = [Path(f'{folder}/{i}.png').read_bytes() for i in range(len(expected))]\n"
        "serve = tf.saved_model.load(model).signatures['serving_default']\n"
        "given = serve(images=tf.constant(files))['probabilities'].numpy()\n"
        "assert np.abs(given - expected).max() < 1e-5\n"
        "assert 'kerascxr' not in sys.modules\n"
        "import keras\n"
        f"sys.path.insert(0, {str(Path(__file__).parents[2])!r})\n"
        "import kerascxr\n"
        f"for path in {[str(run / 'model.keras') for run in runs]}:\n"
        "    print(keras.models.load_model(path).output.shape)\n"
    )
    command = [sys.executable, "-I", "-c", code, str(exported), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines() == ["(None, 3)", "(None, 32, 32, 1)"]


def test_the_file_format_makes_no_difference(signature, known):
    files, expected = known
    image = Image.open(io.BytesIO(files[0]))
    grey = np.asarray(image)

    def file_of(picture, kind):
        data = io.BytesIO()
        picture.save(data, kind)
        return data.getvalue()

    batch = [
        file_of(image.convert("RGB"), "PNG"),
        file_of(image.convert("RGBA"), "PNG"),
        file_of(Image.fromarray(grey.astype(np.uint16) * 257), "PNG"),
        file_of(image, "BMP"),
    ]
    given = signature(images=tf.constant(batch))["probabilities"]
    np.testing.assert_allclose(given, np.tile(expected[:1], (4, 1)), atol=1e-5)


def test_pixels_can_be_sent_instead(loaded, known):
    files, expected = known
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(data)), np.float32) for data in files])
    given = loaded.signatures["pixels"](images=tf.constant(pixels[..., None]))["probabilities"]
    np.testing.assert_allclose(given, expected, atol=1e-5)


def test_the_lung_mask_has_the_images_own_size(signature):
    random = np.random.default_rng(0)
    sizes, batch = [(50, 70), (33, 20)], []
    for size in sizes:
        data = io.BytesIO()
        Image.fromarray(random.integers(0, 256, size).astype(np.uint8)).save(data, "PNG")
        batch.append(data.getvalue())
    given = signature(images=tf.constant(batch))
    for mask, size, share in zip(
        given["lung_mask_bytes"].numpy(), sizes, given["lung_fraction"].numpy(), strict=True
    ):
        pixels = np.asarray(Image.open(io.BytesIO(mask)))
        assert pixels.shape == size
        assert set(np.unique(pixels)) <= {0, 255}
        assert share == pytest.approx((pixels == 255).mean())


def test_one_broken_item_is_named_and_the_next_request_is_answered(signature, known):
    files, expected = known
    for broken in (files[5][:60], b"", b"<html>", b"\x89PNG\r\n\x1a\n" + b"\xff" * 60):
        batch = [*files[:5], broken, *files[5:7]]
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"counted from 0\)\] \[5\]"):
            signature(images=tf.constant(batch))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"at least one file\. Got none"):
        signature(images=tf.constant([], tf.string))
    given = signature(images=tf.constant(files[:1]))["probabilities"]
    np.testing.assert_allclose(given, expected[:1], atol=1e-5)


def test_the_warm_up_requests_are_ones_that_it_answers(exported, signature):
    from tensorflow_serving.apis import prediction_log_pb2

    path = exported / "assets.extra" / "tf_serving_warmup_requests"
    logs = [
        prediction_log_pb2.PredictionLog.FromString(record.numpy())
        for record in tf.data.TFRecordDataset(str(path))
    ]
    assert len(logs) == 2
    for log in logs:
        request = log.predict_log.request
        assert request.model_spec.name == "chest"
        batch = tf.make_ndarray(request.inputs["images"])
        assert len(signature(images=tf.constant(batch))["label"]) == len(batch)


def test_what_stands_beside_the_model_describes_it(exported, signature, runs):
    assert (exported / "labels.txt").read_text().splitlines() == CLASSES
    told = json.loads((exported / "metadata.json").read_text())
    test = json.loads((runs[0] / "metrics.json").read_text())["test"]
    assert told["test_metrics"]["accuracy"] == test["accuracy"]
    assert "not diagnosis" in told["intended_use"]
    outputs = told["signatures"]["serving_default"]["outputs"]
    given = signature.structured_outputs
    assert set(outputs) == set(given)
    for name, output in outputs.items():
        assert output["type"] == given[name].dtype.name, name
        assert len(output["shape"]) == len(given[name].shape), name


def test_a_difference_writes_nothing(exported, plain, runs, monkeypatch, capsys):
    take_ready_model(monkeypatch, export, plain / "2")
    monkeypatch.setattr(read_back, "TOLERANCE", -1.0)
    assert verbs.main(["export", str(runs[0]), "--to", str(exported.parent)]) == 2
    message = capsys.readouterr().err
    assert "must reproduce the run's probabilities" in message
    assert message.rstrip().count("\n") == 0
    assert [path.name for path in exported.parent.iterdir() if path.is_dir()] == ["1"]


def test_another_rule_than_that_of_the_test_writes_nothing(
    plain, runs, tmp_path, capsys, monkeypatch
):
    run = shutil.copytree(runs[0], tmp_path / "run")
    rows = read_predictions(run / "predictions.csv")
    rows = [row | {"prediction_set": row["prediction_set"] + "; other"} for row in rows]
    (run / "predictions.csv").write_text(csv_text(rows))
    take_ready_model(monkeypatch, export, plain / "2")
    assert verbs.main(["export", str(run), "--to", str(tmp_path / "model")]) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert re.search(
        "reproduce the run's prediction_set. Got '[a-z; ]+' instead of '.*other'", line
    )
    assert not list((tmp_path / "model").glob("[0-9]*"))


def test_a_second_export_is_the_next_version(plain):
    assert sorted(path.name for path in plain.iterdir() if path.is_dir()) == ["1", "2"]
    loaded = tf.saved_model.load(str(plain / "2"))
    outputs = loaded.signatures["serving_default"].structured_outputs
    deciding = {"decision", "prediction_set", "ood_score", "warnings"}
    assert set(outputs) == {"probabilities", "label", "labels"} | deciding


def test_wrong_runs_are_refused(runs, tmp_path, capsys):
    for command, words in (
        (
            ["export", str(runs[1]), "--to", str(tmp_path), "--segmentation", str(runs[1])],
            "--segmentation must be left out for a U-Net",
        ),
        (["export", str(tmp_path), "--to", str(tmp_path)], "no DONE"),
    ):
        assert verbs.main(command) == 2
        assert words in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_c_library_loads_and_runs_it(exported, known):
    """What TF Serving does: TF_LoadSessionFromSavedModel, then a session run on string tensors."""
    files, expected = known
    np.testing.assert_allclose(run_in_c(exported, files), expected, atol=1e-5)


@pytest.fixture
def client(monkeypatch):
    """The example's client."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "examples" / "serving"))
    return importlib.import_module("client")


def test_a_client_without_a_server_says_so_in_one_line(client, monkeypatch):
    with pytest.raises(SystemExit, match=r"^No server answers at localhost:1 \(.*refused"):
        client.ask_rest("localhost:1", [b""])
    refusal = client.urllib.error.HTTPError("", 400, "", {}, io.BytesIO(b'{"error": "no image"}'))
    monkeypatch.setattr(client.urllib.request, "urlopen", Mock(side_effect=refusal))
    with pytest.raises(SystemExit, match=r'^localhost:1 answered 400: {"error": "no image"}$'):
        client.ask_rest("localhost:1", [b""])


def test_the_clients_requests_and_answers_fit(client, signature, known, monkeypatch):
    """The forms of TF Serving's two interfaces, the server played by the signature itself."""
    files, expected = known

    def serve_rest(request, timeout):
        return io.BytesIO(answer_rest(signature, request.data))

    monkeypatch.setattr(client.urllib.request, "urlopen", serve_rest)
    flat = io.BytesIO()
    Image.fromarray(np.full((32, 32), 90, np.uint8)).save(flat, "PNG")
    batch = [*files[:3], flat.getvalue()]
    given = {name: value.numpy() for name, value in signature(images=tf.constant(batch)).items()}
    request = client.grpc_request(batch)
    response = predict_pb2.PredictResponse.FromString(
        answer_grpc(signature, request.SerializeToString())
    )
    for answers in (client.ask_rest("localhost:1", batch), client.grpc_answers(response)):
        assert len(answers) == 4
        for answer, row in zip(answers, expected[:3], strict=False):
            assert list(answer.probabilities) == CLASSES
            assert answer.label == CLASSES[row.argmax()]
            np.testing.assert_allclose(list(answer.probabilities.values()), row, atol=1e-5)
        for name in ("decision", "prediction_set", "warnings"):
            texts = [getattr(answer, name).encode() for answer in answers]
            assert texts == given[name].tolist()
        scores = [answer.ood_score for answer in answers]
        np.testing.assert_allclose(scores, given["ood_score"], rtol=1e-4, atol=1e-4)
        fractions = [answer.lung_fraction for answer in answers]
        np.testing.assert_allclose(fractions, given["lung_fraction"], atol=1e-6)
        line = client.describe(answers[3])
        assert line.startswith("not decided") and "nearly constant" in line.split("WARNING: ")[1]
        assert (
            f"possible: {answers[3].prediction_set}" in line and f"lung {fractions[3]:.0%}" in line
        )
        assert "WARNING" not in client.describe(answers[0]._replace(warnings=""))


def test_the_column_format_of_rest_gives_the_same(signature, known):
    files, expected = known
    encoded = [{"b64": base64.b64encode(data).decode()} for data in files[:3]]
    body = json.dumps({"inputs": {"images": encoded}}).encode()
    outputs = json.loads(answer_rest(signature, body))["outputs"]
    assert {len(column) for column in outputs.values()} == {3}
    np.testing.assert_allclose(outputs["probabilities"], expected[:3], atol=1e-5)
    masks = [base64.b64decode(mask["b64"]) for mask in outputs["lung_mask_bytes"]]
    assert all(Image.open(io.BytesIO(mask)).size == (32, 32) for mask in masks)


def test_a_run_whose_source_changed_its_split_is_refused(
    served, runs, tmp_path, capsys, monkeypatch
):
    """With train and test swapped in its CSV, a run would be checked on what it was trained on."""
    source = tmp_path / "list.csv"

    def write(splits):
        rows = [
            f"{served}/set/{name}/{index}.png,{name},{splits[index % 3]}"
            for name in CLASSES
            for index in range(30)
        ]
        source.write_text("\n".join(["path,label,split", *rows]) + "\n")

    write(("train", "validation", "test"))
    run = shutil.copytree(runs[0], tmp_path / "run")  # as if trained on this source
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["data"] |= {"source": str(source), "stores": f"{tmp_path}/stores"}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    metrics = json.loads((run / "metrics.json").read_text())
    store = open_data(DataConfig(str(source), tmp_path / "stores"))
    metrics["data"]["fingerprint"] = store.fingerprint["digest"]
    (run / "metrics.json").write_text(json.dumps(metrics))
    write(("test", "validation", "train"))
    capsys.readouterr()
    assert verbs.main(["export", str(run), "--to", str(tmp_path / "model")]) == 2
    assert "has changed since" in capsys.readouterr().err
    assert not (tmp_path / "model").exists()
    write(("train", "validation", "test"))
    monkeypatch.setattr(export, "publish", lambda run, to, fill: to)  # refused before
    monkeypatch.setattr(export, "expected_of_test", lambda *given: None)  # of other images
    assert verbs.main(["export", str(run), "--to", str(tmp_path / "model")]) == 0


def test_two_exports_at_once_get_versions_of_their_own(tmp_path, messages):
    given, begun, go_on = [], threading.Event(), threading.Event()

    def first():
        with publishing.next_version(tmp_path) as place:
            begun.set()
            assert go_on.wait(10)
            place.mkdir()
            given.append(place.name)

    def second():
        with publishing.next_version(tmp_path) as place:
            given.append(place.name)

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    threads[0].start()
    assert begun.wait(10)
    threads[1].start()
    threads[1].join(0.2)
    assert not given
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert given == ["1", "2"]
    assert messages() == [f"Another process is exporting to {tmp_path}; waiting for it."]
