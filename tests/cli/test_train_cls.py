"""The classification command, from flags to the run folder."""

import csv
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from sklearn import metrics
from tensorflow.python.autograph.pyct import transpiler

import train_cls
from kerascxr import __main__ as verbs
from kerascxr.audits import external as external_tests
from kerascxr.audits.external import config_elsewhere
from kerascxr.config import ClassificationConfig, DataConfig
from kerascxr.data.ingest import store as store_module
from kerascxr.evaluation.calibration import apply_temperature, calibrate
from kerascxr.models.classifier import build_classifier
from kerascxr.models.ood_detector import limit_for
from kerascxr.parsing import identity, load_config
from kerascxr.training import callbacks, learner, runtime
from kerascxr.training.engines import engine_version
from tests.support.small_runs import arguments, bright_and_dark

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("work")
    bright_and_dark(folder / "set")
    return folder


@pytest.fixture(scope="module")
def converted():
    """The package's functions that AutoGraph has rewritten, by name."""
    names = []
    convert = transpiler.PyToPy.transform_function

    def recorded(self, function, context):
        names.append(f"{function.__module__}.{function.__qualname__}")
        return convert(self, function, context)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(transpiler.PyToPy, "transform_function", recorded)
        yield names


@pytest.fixture(scope="module")
def finished(workplace, converted):
    """A run that has learned to tell the three classes apart."""
    argv = arguments(workplace, "--data.source", f"{workplace}/set", "--depth", "0")
    argv += ["--epochs", "6", "--name", "first", "--feature_engine", "auto"]
    assert train_cls.main(argv) == 0
    return workplace / "runs" / "classification" / "first", argv


def read_predictions(run, name="predictions.csv"):
    with (run / name).open(newline="") as file:
        return list(csv.DictReader(file))


def test_no_function_is_rewritten_for_its_graph(finished, converted):
    """That takes two seconds of a first training, and no branch hangs on a tensor."""
    assert not [name for name in converted if name.startswith("kerascxr.")]


@pytest.mark.figures
def test_the_run_folder_is_complete(finished):
    run, _ = finished
    names = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    figures = ("accuracy", "loss", "confusion_matrix", "roc_and_precision_recall")
    figures += ("data_samples", "grad_cam", "reliability")
    assert names == {
        "DONE",
        "config.yaml",
        "decision_rule.npz",
        "request.yaml",
        "environment.json",
        "history.csv",
        "history.json",
        "history.md",
        "log.txt",
        ".kerascxr",
        "metrics.json",
        "metrics.md",
        "model.keras",
        "predictions.csv",
        "validation_predictions.csv",
        "timing.json",
        "training_images.csv",
        "figures/sample_predictions.png",
        *(f"figures/{name}.png" for name in figures),
    }
    environment = json.loads((run / "environment.json").read_text())
    assert environment["weights"]["kind"] == "none"
    assert environment["seed"] == 0
    assert environment["regime"]["trained_on"] == "cached features"
    by_openvino = environment["regime"]["feature_engine"] == "openvino"
    assert ("openvino" in environment["packages"]) == by_openvino
    assert environment["regime"]["augmentation"] is False
    assert json.loads((run / "metrics.json").read_text())["regime"] == environment["regime"]
    assert environment["data_fingerprint"]["images"] == 90


def test_it_learns_and_labels_are_in_order(finished):
    run, _ = finished
    test = json.loads((run / "metrics.json").read_text())["test"]
    assert test["classes"] == ["bright", "dark", "middle"]
    assert test["accuracy"] > 0.9  # wrong label order would give a third or less


def test_the_metrics_are_those_of_the_predictions_file(finished):
    run, _ = finished
    rows = read_predictions(run)
    test = json.loads((run / "metrics.json").read_text())["test"]
    names = test["classes"]
    truth = [row["truth"] for row in rows]
    probabilities = np.array(
        [[float(row[f"uncalibrated probability {name}"]) for name in names] for row in rows]
    )
    predicted = [names[index] for index in probabilities.argmax(axis=1)]
    assert [row["predicted"] for row in rows] == predicted
    assert test["accuracy"] == metrics.accuracy_score(truth, predicted)
    assert test["f1"] == pytest.approx(metrics.f1_score(truth, predicted, average="macro"))
    low, high = test["intervals"]["accuracy"]
    assert low < test["accuracy"] <= high
    assert test["intervals"]["groups"] == len({row["group"] for row in rows})
    assert f"[{low:.3f}, {high:.3f}]" in (run / "metrics.md").read_text()
    auc = metrics.roc_auc_score(truth, probabilities, multi_class="ovr", labels=names)
    assert test["auc"] == pytest.approx(auc)


def test_the_calibration_is_that_of_the_predictions_files(finished):
    run, _ = finished
    found = json.loads((run / "metrics.json").read_text())
    names = found["test"]["classes"]
    read, groups = {}, []
    for kind in ("validation_predictions.csv", "predictions.csv"):
        rows = read_predictions(run, kind)
        truth = np.array([names.index(row["truth"]) for row in rows])
        given = [[float(row[f"uncalibrated probability {name}"]) for name in names] for row in rows]
        read[kind] = truth, np.array(given)
        groups = [row["group"] for row in rows]
    assert found["calibration"] == calibrate(*read.values(), names, groups)
    text = (run / "metrics.md").read_text()
    for words in (
        f"## Calibration: temperature {found['calibration']['temperature']:.3f}",
        "## Operating points",
        f"{found['calibration']['after']['brier']:.4f}",
        found["calibration"]["fitted_on"],
    ):
        assert words in text


def test_validation_images_have_the_scores_that_the_limit_was_fitted_to(finished):
    run, _ = finished
    rows = read_predictions(run, "validation_predictions.csv")
    found = json.loads((run / "metrics.json").read_text())
    scores = np.array([float(row["ood_score"]) for row in rows])
    assert limit_for(scores) == pytest.approx(found["abstention"]["ood_limit"], abs=1e-3)
    far = ["unlike the training images" in row["warnings"] for row in rows]
    assert far == (scores > found["abstention"]["ood_limit"]).tolist()


def test_calibration_and_operating_points_follow_from_the_probability_columns(finished):
    run, _ = finished
    found = json.loads((run / "metrics.json").read_text())
    names = found["test"]["classes"]
    for kind in ("validation_predictions.csv", "predictions.csv"):
        rows = read_predictions(run, kind)
        raw, calibrated = (
            np.array([[float(row[f"{column} {name}"]) for name in names] for row in rows])
            for column in ("uncalibrated probability", "probability")
        )
        expected = apply_temperature(raw, found["calibration"]["temperature"])
        np.testing.assert_allclose(calibrated, expected, rtol=1e-12)
    truth = np.array([row["truth"] for row in rows])
    for index, (name, point) in enumerate(found["calibration"]["operating_points"].items()):
        above = calibrated[:, index] >= point["threshold"]
        assert point["sensitivity"] == pytest.approx(above[truth == name].mean())
        assert point["specificity"] == pytest.approx(1 - above[truth != name].mean())


def test_the_abstention_is_that_of_the_predictions_file(finished):
    run, _ = finished
    rows = read_predictions(run)
    told = json.loads((run / "metrics.json").read_text())["abstention"]
    decided = [row for row in rows if row["decision"] != "not decided"]
    assert all(row["decision"] == row["predicted"] and not row["warnings"] for row in decided)
    assert told["n"] == len(rows)
    assert told["not_decided"]["value"] == pytest.approx(1 - len(decided) / len(rows))
    inside = [row["truth"] in row["prediction_set"].split("; ") for row in rows]
    assert told["coverage"]["all"]["value"] == pytest.approx(np.mean(inside))
    far = [float(row["ood_score"]) > told["ood_limit"] for row in rows]
    assert far == ["unlike the training images" in row["warnings"] for row in rows]
    text = (run / "metrics.md").read_text()
    assert "## Decisions" in text and "## Prediction sets" in text
    # The validation images are too few to exclude a class, and the run says so.
    assert told["set_thresholds"] == [0, 0, 0] and told["least_probability"] == 0
    count = told["validation_images"][0]
    note = "In every prediction set, also beside a decision for another class: bright "
    note += f"({count} validation images)"
    for told_in in (text, (run / "log.txt").read_text()):
        assert note in told_in and "to exclude them; 19 of a class would do." in told_in


def test_predictions_hold_the_test_folds_and_nothing_else(finished, workplace):
    run, _ = finished
    (examples,) = (workplace / "stores").glob("set-*/examples.csv")
    with examples.open(newline="") as file:
        wanted = {row["id"]: row["label"] for row in csv.DictReader(file) if int(row["fold"]) > 16}
    assert {row["id"]: row["truth"] for row in read_predictions(run)} == wanted


def test_the_saved_model_gives_the_same_probabilities(finished, workplace):
    run, _ = finished
    model = keras.saving.load_model(run / "model.keras")
    row = read_predictions(run)[0]
    pixels = np.asarray(Image.open(workplace / "set" / f"{row['id']}.png"), np.float32)
    logits = model.predict(np.repeat(pixels[None, ..., None], 3, -1), verbose=0)[0]
    expected = float(row[f"uncalibrated probability {row['predicted']}"])
    assert keras.ops.softmax(logits).numpy().max() == pytest.approx(expected, abs=1e-5)


def test_the_linear_probe_is_part_of_the_model_and_is_said(finished):
    run, _ = finished
    model = keras.saving.load_model(run / "model.keras")
    assert model.layers[-1].name == "linear_probe"
    about = json.loads((run / "metrics.json").read_text())["linear_probe"]
    kernel = model.layers[-1].kernel
    assert about["statistics"] == kernel.shape[0]
    assert about["parameters"] == (kernel.shape[0] + 1) * kernel.shape[1]
    np.testing.assert_allclose(
        model.layers[-1].temperatures, list(about["temperatures"].values()), rtol=1e-6
    )
    rows = read_predictions(run, "validation_predictions.csv")
    right = [row["truth"] == row["predicted"] for row in rows]
    assert about["validation"]["both"]["accuracy"] == pytest.approx(np.mean(right))
    assert "a linear probe's" in (run / "metrics.md").read_text()
    assert load_config(ClassificationConfig, run / "config.yaml").linear_probe is True


def test_the_same_command_again_shows_the_results_and_trains_nothing(finished, capsys):
    run, argv = finished
    before = (run / "DONE").stat().st_mtime_ns
    assert train_cls.main(argv) == 0
    shown = capsys.readouterr()
    assert "finished" in shown.out and "of other images" not in shown.out + shown.err
    assert (run / "DONE").stat().st_mtime_ns == before


def test_the_results_of_a_finished_run_may_be_of_other_images(finished, workplace, capsys):
    _, argv = finished
    added = workplace / "set" / "dark" / "added.png"
    shutil.copy(workplace / "set" / "dark" / "0.png", added)
    try:
        assert train_cls.main(argv) == 0
    finally:
        added.unlink()
    shown = capsys.readouterr()
    assert "results above may be of other images" in shown.out + shown.err


def test_other_settings_under_the_same_name_are_refused(finished, capsys):
    run, argv = finished
    assert train_cls.main([*argv, "--runtime.seed", "5"]) == 2
    message = capsys.readouterr().err
    assert "runtime.seed: 0 -> 5" in message
    assert "--overwrite" in message
    assert message.count("\n") == 1
    assert (run / "DONE").exists()


@pytest.mark.figures
def test_it_is_tested_on_a_set_with_fewer_classes(finished, workplace, tmp_path, capsys):
    run, _ = finished
    places = ["--data.stores", f"{tmp_path}/stores"]
    # dark and middle are classes 0 and 1 there, 1 and 2 here.
    fewer = bright_and_dark(tmp_path / "fewer", names=("dark", "middle"), seed=1)
    assert verbs.main(["evaluate", str(run), "--data.source", fewer, *places]) == 0
    (external,) = (run / "external").glob("[!.]*")
    metrics, own = (json.loads((at / "metrics.json").read_text()) for at in (external, run))
    test, calibration = metrics["test"], metrics["calibration"]
    assert test["accuracy"] > 0.9
    assert test["absent_classes"] == ["bright"]
    # The temperature and the thresholds stay the run's; what they are worth is measured here.
    assert calibration["temperature"] == pytest.approx(own["calibration"]["temperature"])
    for name, point in calibration["operating_points"].items():
        assert point["threshold"] == own["calibration"]["operating_points"][name]["threshold"]
    assert calibration["operating_points"]["dark"]["positives"] == 30
    assert calibration["operating_points"]["bright"]["positives"] == 0
    assert sum(group["images"] for group in calibration["after"]["bins"]) == 60
    assert "## Calibration" in (external / "metrics.md").read_text()
    of_both = [row for row in read_predictions(run) if row["truth"] != "bright"]
    right = sum(row["predicted"] == row["truth"] for row in of_both) / len(of_both)
    assert metrics["internal_of_common_classes"]["n"] == len(of_both) < own["test"]["n"]
    assert metrics["against_internal"]["accuracy"]["difference"] == pytest.approx(
        test["accuracy"] - right
    )
    assert own["leak"]["test_images"] == own["test"]["n"]
    assert own["leak"]["verdict"] == "none"
    assert test["intervals"]["f1"][0] < test["f1"]
    assert test["intervals"]["per_class"]["bright"]["recall"] is None
    assert len(read_predictions(external)) == 60
    assert metrics["abstention"]["n"] == 60
    assert metrics["abstention"]["coverage"]["classes"]["bright"] is None
    shutil.rmtree(run / "external")


@pytest.mark.parametrize("column", ["", ",split"])
def test_a_set_too_small_to_train_on_is_tested(finished, workplace, tmp_path, capsys, column):
    run, _ = finished
    bright_and_dark(tmp_path, each=3, names=("dark", "middle"), seed=1)
    source = tmp_path / "small.csv"
    rows = [f"{label}/{n}.png,{label}" for label in ("dark", "middle") for n in range(3)]
    lines = [f"path,label{column}", *(f"{row}{column and ',test'}" for row in rows)]
    source.write_text("\n".join(lines), encoding="utf-8")
    places = ["--data.source", str(source), "--data.stores", f"{tmp_path}/stores"]
    assert verbs.main(["evaluate", str(run), *places]) == 0
    (external,) = (run / "external").glob("[!.]*")
    rows = read_predictions(external)
    assert sorted(row["truth"] for row in rows) == ["dark"] * 3 + ["middle"] * 3
    shutil.rmtree(run / "external")
    reason = "must name 'train' images" if column else "'dark' with 3 images in 3 groups"
    capsys.readouterr()
    assert verbs.main(["data", str(source), "--stores", f"{tmp_path}/stores"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("Enough for evaluate, not for a training: ") and reason in last
    assert train_cls.main(arguments(workplace, *places, "--name", "small")) == 2
    assert reason in capsys.readouterr().err
    audit = ["data", "audit", str(source), "--stores", f"{tmp_path}/stores"]
    assert verbs.main([*audit, "--to", f"{tmp_path}/audit"]) == 2
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize("layout", ["strange", "plain"])
def test_on_other_classes_it_says_what_the_model_answers(finished, tmp_path, capsys, layout):
    run, _ = finished
    names = ("dark", "strange")
    for name, level in zip(names, (30, 220), strict=True):
        bright_and_dark(tmp_path / "made", names=(name,), levels={name: level}, seed=level)
    source = tmp_path / "made"
    if layout == "plain":
        source = tmp_path / "plain"
        source.mkdir()
        for file in (tmp_path / "made").rglob("*.png"):
            shutil.copy(file, source / f"{file.parent.name}-{file.name}")
    places = ["--data.stores", f"{tmp_path}/stores"]
    assert verbs.main(["evaluate", str(run), "--data.source", str(source), *places]) == 0
    shown = capsys.readouterr().out
    (external,) = (run / "external").glob("[!.]*")
    assert not (external / "metrics.json").exists()
    told = json.loads((external / "answers.json").read_text())
    answers, rows = told["answers"], read_predictions(external)
    assert answers["n"] == len(rows) == 60
    for name in ("bright", "dark", "middle"):
        share = np.mean([row["predicted"] == name for row in rows])
        assert answers["answers"][name]["predicted"]["value"] == pytest.approx(share)
    assert answers["answers"]["bright"]["predicted"]["value"] == pytest.approx(0.5, abs=0.1)
    confident = [max(float(row[f"probability {name}"]) for name in told["classes"]) for row in rows]
    assert answers["mean_confidence"] == pytest.approx(np.mean(confident))
    undecided = np.mean([row["decision"] == "not decided" for row in rows])
    assert answers["not_decided"]["value"] == pytest.approx(undecided)
    assert "own test images" in shown and "bright at 0.9 or more and decided" in shown
    assert "own test images" in (external / "answers.md").read_text()
    shutil.rmtree(run / "external")


def test_a_killed_test_on_another_set_leaves_the_earlier_one_whole(
    finished, tmp_path, monkeypatch, capsys
):
    run, _ = finished
    fewer = bright_and_dark(tmp_path / "fewer", each=21, names=("dark", "middle"), seed=1)
    command = ["evaluate", str(run), "--data.stores", f"{tmp_path}/stores", "--data.source", fewer]
    assert verbs.main(command) == 0
    (external,) = (run / "external").glob("[!.]*")
    assert f"Written to {external}\n" in capsys.readouterr().out

    def files():
        return {path: path.read_bytes() for path in external.rglob("*") if path.is_file()}

    before = files()
    (tmp_path / "fewer" / "dark" / "0.png").unlink()
    draw_test = external_tests.draw_test

    def die(*arguments):
        draw_test(*arguments)
        raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(external_tests, "draw_test", die)
        verbs.main(command)
    assert files() == before
    assert verbs.main(command) == 0
    assert json.loads((external / "metrics.json").read_text())["test"]["n"] == 41
    shutil.rmtree(run / "external")


def test_images_that_the_model_was_trained_on_are_left_out_of_another_set(
    finished, workplace, tmp_path, capsys
):
    run, _ = finished
    shutil.copytree(workplace / "set", tmp_path / "copy")
    command = ["evaluate", str(run), "--data.stores", f"{tmp_path}/stores", "--data.source"]
    command.append(f"{tmp_path}/copy")
    own = json.loads((run / "metrics.json").read_text())
    seen = own["data"]["images"]["train"] + own["data"]["images"]["validation"]
    assert verbs.main(command) == 0
    assert f"Left out: {seen} of 90 images, which the model" in capsys.readouterr().out
    (external,) = (run / "external").glob("[!.]*")
    metrics = json.loads((external / "metrics.json").read_text())
    assert metrics["data"]["left_out"] == seen
    tested = {row["id"] for row in read_predictions(run)}
    assert {row["id"] for row in read_predictions(external)} == tested
    assert metrics["test"]["accuracy"] == own["test"]["accuracy"]
    shutil.rmtree(run / "external")
    for image in tested:
        (tmp_path / "copy" / f"{image}.png").unlink()
    assert verbs.main(command) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert f"trained or validated on all {seen}" in message
    assert not (run / "external").exists()


def test_what_the_starting_weights_were_trained_on_leaks(finished, workplace, tmp_path, capsys):
    """Another split of the same images has trained on this one's test images."""
    run, argv = finished
    more = ["--weights", f"{run}/model.keras", "--epochs", "1", "--split.offset", "1"]
    assert train_cls.main([*argv, *more, "--name", "second"]) == 0
    second = run.with_name("second")
    seen = {row["id"] for row in read_predictions(run, "training_images.csv")}
    rows = read_predictions(second, "training_images.csv")
    own = {row["id"] for row in rows if not row["split"].startswith("earlier ")}
    assert own == {row["id"] for row in rows if row["split"] in ("train", "validation")}
    assert seen == {row["id"] for row in rows} - (own - seen)
    tested = {row["id"] for row in read_predictions(second)}
    leaked = len(tested & seen)
    assert 0 < leaked < len(tested)
    shown = capsys.readouterr().out
    text = f"was trained or validated on {leaked} of the {len(tested)} test images"
    assert f"{run}/model.keras {text}" in shown
    leak = json.loads((second / "metrics.json").read_text())["leak"]
    assert leak["leaked_test_images"] == leak["through_starting_weights"] == leaked
    assert leak["accuracy_of_leaked"]["value"] is not None and leak["verdict"] != "none"
    # Of another set, what either of them was trained on is left out.
    shutil.copytree(workplace / "set", tmp_path / "copy")
    command = ["evaluate", str(second), "--data.stores", f"{tmp_path}/stores", "--data.source"]
    assert verbs.main([*command, f"{tmp_path}/copy"]) == 0
    (external,) = (second / "external").glob("[!.]*")
    assert {row["id"] for row in read_predictions(external)} == tested - seen
    about = json.loads((external / "metrics.json").read_text())["data"]
    assert about["near_duplicates_checked"] is True
    shutil.rmtree(second)


def test_resized_and_brighter_copies_of_training_images_are_left_out_of_another_set(
    finished, workplace, tmp_path, capsys
):
    run, _ = finished
    fitted = read_predictions(run, "training_images.csv")
    for row in [*fitted, *read_predictions(run)]:
        image = Image.open(workplace / "set" / f"{row['id']}.png").resize((90, 80))
        place = tmp_path / "copy" / f"{row['id']}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        image.point(lambda grey: min(255, grey + 9)).save(place, quality=95)
    command = ["evaluate", str(run), "--data.source", f"{tmp_path}/copy"]
    command += ["--data.stores", f"{tmp_path}/stores"]
    assert verbs.main(command) == 0
    shown = capsys.readouterr().out
    assert f"Left out: {len(fitted)} of 90 images, near-duplicates of images that" in shown
    (external,) = (run / "external").glob("[!.]*")
    tested = {row["id"] for row in read_predictions(run)}
    assert {row["id"] for row in read_predictions(external)} == tested
    assert json.loads((external / "metrics.json").read_text())["data"]["near_duplicates_checked"]
    shutil.rmtree(run / "external")
    # Without the training's store they cannot be found, which a line says.
    config = (run / "config.yaml").read_text(encoding="utf-8")
    (run / "config.yaml").write_text(config.replace(f"{workplace}/stores", f"{tmp_path}/none"))
    assert verbs.main(command) == 0
    shown = capsys.readouterr().out
    assert "were not looked for: their store is not in" in shown and "Left out" not in shown
    known = json.loads((external / "metrics.json").read_text())["data"]
    assert known["near_duplicates_checked"] is False and known["left_out"] == 0
    (run / "config.yaml").write_text(config, encoding="utf-8")
    shutil.rmtree(run / "external")


def listed(path, folder, group_of):
    """Writes a list of the images of class folders, with a group each; returns its path."""
    images = sorted(folder.rglob("*.png"))
    rows = [f"{image},{image.parent.name},{group_of(image)}" for image in images]
    path.write_text("\n".join(["path,label,group", *rows]), encoding="utf-8")
    return str(path)


def test_no_marker_is_planted_into_another_set(finished, tmp_path):
    run = shutil.copytree(finished[0], tmp_path / "marked")
    config = (run / "config.yaml").read_text(encoding="utf-8")
    marked = config.replace("control_marker: null", "control_marker: corner_bar")
    (run / "config.yaml").write_text(marked, encoding="utf-8")
    assert load_config(ClassificationConfig, run / "config.yaml").control_marker == "corner_bar"
    assert config_elsewhere(run, DataConfig(), None).control_marker is None


def test_new_images_of_a_patient_of_the_training_are_left_out_of_another_set(
    workplace, tmp_path, capsys
):
    def named(kind, number):
        return f"patient {kind}{number // 2 if number < 10 else number}"

    def patient(image):
        return named(image.parent.name, int(image.stem))

    source = listed(tmp_path / "own.csv", workplace / "set", patient)
    argv = arguments(tmp_path, "--data.source", source, "--depth", "0", "--epochs", "1")
    assert train_cls.main([*argv, "--name", "patients"]) == 0
    run = tmp_path / "runs/classification/patients"
    seen = read_predictions(run, "training_images.csv")
    fitted = {row["given_group"] for row in seen}
    tested = read_predictions(run)
    assert fitted.isdisjoint(row["given_group"] for row in tested)
    for row in [*seen, *tested]:
        kind, number = row["id"].split("/")[-2:]
        assert row["given_group"] == named(kind, int(number))
        assert row["group"].rpartition("/")[0] == row["id"].rpartition("/")[0]
    bright_and_dark(tmp_path / "new", seed=7)
    other = listed(tmp_path / "other.csv", tmp_path / "new", patient)
    command = ["evaluate", str(run), "--data.stores", f"{tmp_path}/stores", "--data.source"]
    capsys.readouterr()
    assert verbs.main([*command, other]) == 0
    shown = capsys.readouterr().out
    (external,) = (run / "external").glob("[!.]*")
    rows = read_predictions(external)
    assert {row["given_group"] for row in rows} == {row["given_group"] for row in tested}
    count = 90 - len(rows)
    assert f"Left out: {count} of 90 images, of groups (patients) with the name of a" in shown
    assert "is another patient than in the training, give the groups of this set other" in shown
    metrics = json.loads((external / "metrics.json").read_text())
    assert metrics["data"]["left_out"] == count
    # Under other names they are other patients.
    shutil.rmtree(run / "external")
    others = listed(tmp_path / "others.csv", tmp_path / "new", lambda image: f"b {patient(image)}")
    assert verbs.main([*command, others]) == 0
    assert "Left out" not in capsys.readouterr().out
    shutil.rmtree(run / "external")
    # An image of the training is of its patient under whatever name.
    kind, number = next(
        row["id"].split("/")[-2:] for row in seen if row["id"].split("/")[-1] in "02468"
    )
    shutil.copy(workplace / f"set/{kind}/{number}.png", tmp_path / f"new/{kind}/{number}.png")
    assert verbs.main([*command, others]) == 0
    shown = capsys.readouterr().out
    assert "Left out: 1 of 90 images, which the model" in shown
    assert "Left out: 1 of 90 images, of the same groups as these, as images that" in shown
    # A run of an older version does not name them, which a line says.
    table = (run / "training_images.csv").read_text()
    (run / "training_images.csv").write_text(table.replace("given_group", "unknown"))
    assert verbs.main([*command, other]) == 0
    assert "Groups (patients) of the images that" in capsys.readouterr().out


@pytest.mark.parametrize("header", ["path,label", "path"])
def test_a_list_of_one_class_or_none_is_tested_and_not_trained_on(
    finished, tmp_path, capsys, header
):
    run, _ = finished
    bright_and_dark(tmp_path, each=5, names=("dark",), seed=1)
    source = tmp_path / "one.csv"
    rows = [f"dark/{n}.png{',dark' if 'label' in header else ''}" for n in range(5)]
    source.write_text("\n".join([header, *rows]), encoding="utf-8")
    places = ["--data.source", str(source), "--data.stores", f"{tmp_path}/stores"]
    assert verbs.main(["evaluate", str(run), *places]) == 0
    (external,) = (run / "external").glob("[!.]*")
    rows = read_predictions(external)
    assert len(rows) == 5
    if "label" in header:
        metrics = json.loads((external / "metrics.json").read_text())
        right = np.mean([row["predicted"] == "dark" for row in rows])
        assert metrics["test"]["accuracy"] == right
        assert metrics["test"]["per_class"]["dark"]["recall"] == right
        assert metrics["test"]["auc"] is None
        assert metrics["against_internal"]["accuracy"]["difference"] is not None
    else:
        answers = json.loads((external / "answers.json").read_text())["answers"]
        assert answers["n"] == 5
    shutil.rmtree(run / "external")
    assert train_cls.main(arguments(workplace_of(run), *places, "--name", "one")) == 2
    message = capsys.readouterr().err
    assert ("two or more classes" if "label" in header else "the header is") in message


def workplace_of(run):
    return run.parents[2]


def test_a_loss_that_is_not_finite_ends_in_one_line(workplace, capsys):
    argv = arguments(
        workplace, "--data.source", f"{workplace}/set", "--depth", "0", "--name", "nan"
    )
    argv += ["--optimizer.learning_rate", "9", "--optimizer.clip_norm", "0"]
    argv += ["--epochs", "40", "--patience", "40", "--optimizer.weight_decay", "1e30"]
    assert train_cls.main(argv) == 1
    message = capsys.readouterr().err
    assert "the loss must stay finite" in message
    assert message.count("\n") == 1
    run = workplace / "runs" / "classification" / "nan"
    assert not (run / "DONE").exists()
    assert "Traceback" in (run / "log.txt").read_text()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--backbone", "efficientnetb1"], "did you mean 'efficientnetb0'"),
        (["--data.source", "nowhere"], "nowhere"),
        (["--weights", "missing.weights.h5"], "missing.weights.h5"),
    ],
)
def test_wrong_input_ends_in_one_line_and_code_2(workplace, options, words, capsys, tmp_path):
    argv = ["--data.source", f"{workplace}/set", "--depth", "0", *options]
    assert train_cls.main(arguments(workplace, "--name", "wrong", *argv)) == 2
    message = capsys.readouterr().err.rpartition("\r")[2]  # a slow machine draws progress bars
    assert words in message
    assert message.startswith("train_cls.py: error: ")
    assert message.rstrip("\n").count("\n") == 0


def test_killed_anywhere_it_goes_on_and_ends_with_the_same_numbers(
    finished, workplace, tmp_path, monkeypatch
):
    """A kill -9 of the real process in training, then the same command, on another machine."""
    run, argv = finished
    argv = [item.replace(f"{workplace}/runs", f"{tmp_path}/runs") for item in argv]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"}
    code = (
        "import sys; sys.path[:0] = ['.']; import train_cls\n"
        "from tests.support import short_preparations, tiny_backbone\n"
        "short_preparations.leave_graphs_as_they_are()\n"
        "from kerascxr.models.backbones import BACKBONES\n"
        "BACKBONES['tiny'] = tiny_backbone.TINY\n"
        "train_cls.main(sys.argv[1:])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, *argv],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    table = tmp_path / "runs" / "classification" / "first" / "history.csv"
    until = time.monotonic() + 600
    while not (table.exists() and len(table.read_text().splitlines()) > 2):
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < until, "its first epochs took ten minutes"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (table.parent / "DONE").exists()
    (table.parent / ".partial-of-another-kill.md").touch()
    engine = load_config(ClassificationConfig, table.parent / "config.yaml").feature_engine
    with np.load(table.parent / "checkpoint" / "latest.npz") as arrays:
        known = json.loads(str(arrays["state"]))["identity"]
    assert engine_version(engine).items() <= known.items()
    asked = []
    monkeypatch.setattr(learner, "likely_engine", lambda name: asked.append(name) or name)
    monkeypatch.setattr(runtime, "_best_precision", lambda capabilities: "mixed_bfloat16")
    assert train_cls.main(argv) == 0
    assert asked == [engine] and engine != "auto"  # and of the run's number type, by the metrics
    assert (table.parent / "metrics.json").read_text() == (run / "metrics.json").read_text()
    rows = table.read_text().splitlines()
    assert sum(row.startswith("epoch") for row in rows) == 1
    assert len(rows) == len((run / "history.csv").read_text().splitlines())
    assert not list(table.parent.rglob(".partial-*"))


def test_killed_at_evaluation_it_does_not_ingest_or_train_again(
    finished, workplace, tmp_path, monkeypatch
):
    from kerascxr.training import classification

    run, argv = finished
    argv = [item.replace(f"{workplace}/runs", f"{tmp_path}/runs") for item in argv]

    class Killed(BaseException):
        pass

    def die(*arguments):
        raise Killed

    def refuse(*arguments):
        raise AssertionError("it was ingested again")

    monkeypatch.setattr(store_module, "ingest", refuse)
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(classification, "write_test", die)
        train_cls.main(argv)
    monkeypatch.setattr(keras.Model, "fit", die)
    assert train_cls.main(argv) == 0
    again = tmp_path / "runs" / "classification" / "first"
    for name in ("metrics.json", "predictions.csv"):
        assert (again / name).read_text() == (run / name).read_text()
    assert not (again / "checkpoint").exists()


def test_the_config_has_what_was_chosen_and_means_the_same_run(finished, capsys):
    run, _ = finished
    asked = load_config(ClassificationConfig, run / "request.yaml")
    assert (asked.features, asked.feature_engine, asked.runtime.xla) == ("auto",) * 3
    chosen = load_config(ClassificationConfig, run / "config.yaml")
    assert chosen.features is True and chosen.feature_engine in ("keras", "openvino")
    assert (chosen.runtime.precision, chosen.runtime.xla) == ("float32", False)
    assert chosen.runtime.device_strategy == "single"
    left = [name for name, value in identity(chosen).items() if value in (None, "auto")]
    # Random weights, no lung masks, no positive control.
    assert left == ["weights_sha256", "lungs", "control_marker"]
    asked_for = (run / "request.yaml").read_text()
    capsys.readouterr()
    assert train_cls.main(["--config", str(run / "config.yaml")]) == 0
    assert f"{run} holds this run" in capsys.readouterr().out
    assert (run / "request.yaml").read_text() == asked_for
    assert train_cls.main(["--config", str(run / "config.yaml"), "--dropout", "0.5"]) == 2
    assert "dropout: 0.3 -> 0.5" in capsys.readouterr().err


class Killed(BaseException):
    pass


def kill_in_epoch(number, argv):
    """Runs a command that is killed in an epoch, counted from 0."""
    on_epoch_end = callbacks.Validate.on_epoch_end

    def die(self, epoch, logs=None):
        if epoch == number:
            raise Killed
        on_epoch_end(self, epoch, logs)

    with pytest.MonkeyPatch.context() as patched, pytest.raises(Killed):
        patched.setattr(callbacks.Validate, "on_epoch_end", die)
        train_cls.main(argv)


def test_a_run_resumes_only_with_the_weights_that_it_began_with(workplace, capsys):
    path = workplace / "start.weights.h5"
    argv = arguments(workplace, "--data.source", f"{workplace}/set", "--weights", str(path))
    argv += ["--depth", "0", "--epochs", "3", "--name", "replaced"]
    kept = []
    for seed in (1, 2):
        keras.utils.set_random_seed(seed)
        build_classifier("tiny", 3, image_size=(32, 32)).save_weights(path)
        kept.append(path.read_bytes())
    path.write_bytes(kept[0])
    kill_in_epoch(1, argv)
    path.write_bytes(kept[1])
    run = workplace / "runs" / "classification" / "replaced"
    before = {item: item.read_bytes() for item in run.rglob("*.npz")}
    capsys.readouterr()
    assert train_cls.main(argv) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    known = hashlib.sha256(kept[0]).hexdigest()
    assert f"starting weights must have the SHA-256 {known[:24]}" in message
    assert before and {item: item.read_bytes() for item in run.rglob("*.npz")} == before
    path.write_bytes(kept[0])
    assert train_cls.main(argv) == 0
    assert load_config(ClassificationConfig, run / "config.yaml").weights_sha256 == known


def test_a_split_that_ignores_groups_is_marked_and_not_exported(
    finished, workplace, capsys, tmp_path
):
    argv = ["--data.source", f"{workplace}/set", "--depth", "0", "--epochs", "1"]
    argv += ["--split.groups", "ignored", "--name", "leaky"]
    assert train_cls.main(arguments(workplace, *argv)) == 0
    run = workplace / "runs" / "classification" / "leaky"
    with (run / "predictions.csv").open(newline="") as file:
        leaky = {row["id"] for row in csv.DictReader(file)}
    with (run.parent / "first" / "predictions.csv").open(newline="") as file:
        assert leaky != {row["id"] for row in csv.DictReader(file)}
    assert verbs.main(["compare", str(run.parent / "first"), str(run)]) == 0
    assert "npaired" in capsys.readouterr().out
    assert verbs.main(["export", str(run), "--to", str(tmp_path)]) == 2
    assert "ignored groups" in capsys.readouterr().err
