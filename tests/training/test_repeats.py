"""Folds and seeds: ordinary runs side by side, and a summary that agrees with them."""

import csv
import json
import shutil
import statistics
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from sklearn import metrics

import train_cls
import train_seg
from kerascxr import __main__ as verbs
from kerascxr.cli import training
from kerascxr.config import (
    ClassificationConfig,
    DataConfig,
    RuntimeConfig,
    SegmentationConfig,
    SplitConfig,
    StudyConfig,
)
from kerascxr.data.ingest.folds import split_folds
from kerascxr.models.classifier import build_classifier
from kerascxr.parsing import load_config
from kerascxr.runs.reading import find_runs, read_run
from kerascxr.serving.ensemble import ensemble_metrics
from kerascxr.tables import csv_text, format_value
from kerascxr.training import classification, repeats, segmentation
from kerascxr.training.inputs import open_data, read_splits
from tests.support.small_runs import SMALL, arguments, pairs

QUICK = ["--depth", "0", "--epochs", "1"]


class Killed(BaseException):
    pass


def read_json(path):
    return json.loads(path.read_text(encoding="utf-8"))


def read_rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def workplace(served, tmp_path_factory):
    folder = tmp_path_factory.mktemp("work")
    (folder / "set").symlink_to(served / "set")
    (folder / "stores").symlink_to(served / "stores")
    return folder


@pytest.fixture(scope="module")
def folds(workplace):
    """Two folds, of which the second was cut off before it began, and the same command again."""
    argv = arguments(workplace, "--data.source", f"{workplace}/set", *QUICK)
    argv += ["--folds", "2", "--name", "cv"]
    folder = workplace / "runs" / "classification" / "cv"
    plain = repeats.RunFolder.start_at

    def die_at_the_second(config, path):
        if path.name == "fold-10":
            raise Killed
        return plain(config, path)

    with pytest.MonkeyPatch.context() as patched, pytest.raises(Killed):
        patched.setattr(repeats.RunFolder, "start_at", die_at_the_second)
        train_cls.main(argv)
    assert [run.name for run in find_runs([folder])] == ["fold-00"]
    first = (folder / "fold-00" / "DONE").stat().st_mtime_ns
    assert train_cls.main(argv) == 0
    assert (folder / "fold-00" / "DONE").stat().st_mtime_ns == first
    return folder, argv


@pytest.mark.parametrize("n", [2, 4, 5, 10, 20])
def test_each_fold_is_tested_once(n):
    config = ClassificationConfig(folds=n)
    tested = [split_folds(one.split)["test"] for one in repeats.plan(config, "x").values()]
    assert len(tested) == n
    assert sorted(fold for folds in tested for fold in folds) == list(range(20))


def test_two_folds_test_every_image_once(folds, workplace):
    folder, _ = folds
    (examples,) = (workplace / "stores").glob("set-*/examples.csv")
    store = {row["id"]: row for row in read_rows(examples)}
    pooled = read_rows(folder / "predictions.csv")
    assert sorted(row["id"] for row in pooled) == sorted(store)
    assert all(row["truth"] == store[row["id"]]["label"] for row in pooled)
    for run, tested in (("fold-00", range(10, 20)), ("fold-10", range(10))):
        own = {row["id"] for row in pooled if row["fold_run"] == run}
        assert own == {name for name, row in store.items() if int(row["fold"]) in tested}


def test_the_summary_is_that_of_the_runs(folds):
    folder, _ = folds
    summary = read_json(folder / "summary.json")
    runs = [read_run(folder / name) for name in ("fold-00", "fold-10")]
    assert [part["test"] for part in summary["runs"]] == [run.metrics["test"] for run in runs]
    assert [part["offset"] for part in summary["runs"]] == [0, 10]
    values = [run.metrics["test"]["accuracy"] for run in runs]
    assert summary["spread"]["accuracy"] == {
        "mean": pytest.approx(statistics.mean(values)),
        "std": pytest.approx(statistics.stdev(values)),
        "min": min(values),
        "max": max(values),
        "runs": 2,
    }
    recalls = [run.metrics["test"]["per_class"]["dark"]["recall"] for run in runs]
    assert summary["spread"]["per_class"]["dark"]["recall"]["max"] == max(recalls)
    rows = read_rows(folder / "predictions.csv")
    classes = summary["pooled"]["classes"]
    scores = [[float(row[f"uncalibrated probability {name}"]) for name in classes] for row in rows]
    truth = [row["truth"] for row in rows]
    auc = metrics.roc_auc_score(truth, scores, multi_class="ovr", labels=classes)
    assert summary["pooled"]["auc"] == pytest.approx(auc)
    assert summary["pooled"]["n"] == 90
    text = (folder / "summary.md").read_text(encoding="utf-8")
    assert "different models" in text and "mean ± SD" in text and "| pooled" in text


def test_the_report_shows_the_folds_together(folds, tmp_path):
    folder, _ = folds
    assert verbs.main(["report", str(folder), "--to", str(tmp_path / "page")]) == 0
    page = (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
    pooled = read_json(folder / "summary.json")["pooled"]
    assert ": 2 folds</h2>" in page and "mean ± SD" in page
    assert format_value(pooled["f1"]) in page and "every image once" in page
    assert verbs.main(["report", str(folder / "fold-00"), "--to", str(tmp_path / "one")]) == 0
    assert "mean ± SD" not in (tmp_path / "one" / "index.html").read_text(encoding="utf-8")


def test_a_fold_is_a_run_that_can_be_repeated_alone(folds, workplace):
    folder, _ = folds
    config = load_config(ClassificationConfig, folder / "fold-10" / "config.yaml")
    assert (config.folds, config.seeds) == (1, 1)
    assert config.split == SplitConfig(offset=10, test_folds=10)
    assert config.runs == workplace / "runs"
    assert config.name == "cv-fold-10"  # beside the others, in no one's way
    together = load_config(ClassificationConfig, folder / "config.yaml")
    assert (together.folds, together.name, together.split) == (2, "cv", SplitConfig())
    assert together.feature_engine == config.feature_engine == "keras"
    assert together.runtime == config.runtime
    assert together.data.cache == config.data.cache == "memory"


def test_finished_folds_are_shown_and_not_trained(folds, monkeypatch, capsys):
    folder, argv = folds
    monkeypatch.setattr(keras.Model, "fit", None)
    before = (folder / "summary.json").read_text()
    assert train_cls.main(argv) == 0
    shown = capsys.readouterr().out
    assert "All of it was there" in shown and "fold-10" in shown
    assert train_cls.main(["--config", f"{folder}/config.yaml"]) == 0
    assert "All of it was there" in capsys.readouterr().out
    assert (folder / "summary.json").read_text() == before
    assert train_cls.main([*argv, "--dropout", "0.5"]) == 2
    assert "dropout: 0.3 -> 0.5" in capsys.readouterr().err
    assert train_cls.main([*argv, "--folds", "1"]) == 2
    assert "folds: 2 -> 1" in capsys.readouterr().err


def write_run(path, seed, table):
    """Writes a finished run of two classes; the table lists (id, truth, p)."""
    path.mkdir(parents=True, exist_ok=True)
    rows = [
        {"id": name, "group": name, "truth": truth}
        | {"probability a": p, "probability b": 1 - p}
        | {"uncalibrated probability a": 1 - p, "uncalibrated probability b": p}
        for name, truth, p in table
    ]
    (path / "predictions.csv").write_text(csv_text(rows))
    test = dict.fromkeys(("accuracy", "precision", "recall", "f1", "auc"), 0.5)
    test |= {"classes": ["a", "b"], "n": len(table)}
    found = {"task": "classification", "title": "Tiny", "test": test}
    found["data"] = {"source": "set", "fingerprint": "f"}
    found["regime"] = {"precision": "float32", "devices": [f"device {seed}"]}
    config = f"{{split: {{offset: 0}}, runtime: {{seed: {seed}}}}}"
    packages = dict.fromkeys(("tensorflow", "keras", "keras-cv", "openvino"), "1.1")
    packages |= dict.fromkeys(("numpy", "scipy", "scikit-learn"), "1.1")
    versions = {"kerascxr": "1.0", "packages": packages}
    for name, text in (
        ("metrics.json", json.dumps(found)),
        ("history.json", "[]"),
        ("environment.json", json.dumps(versions)),
        ("config.yaml", config),
        ("DONE", ""),
    ):
        (path / name).write_text(text)


def seeds_of(folder, tables):
    """Finished runs that differ in their seeds."""
    for seed, table in enumerate(tables):
        write_run(folder / f"seed-{seed}", seed, table)
    return [folder / f"seed-{seed}" for seed in range(len(tables))]


def test_a_failed_overwrite_keeps_the_last_finished_repeats(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "start_tensorflow", lambda: None)
    config = ClassificationConfig(runs=tmp_path, name="mine", seeds=2, overwrite=True)

    def repeat(probability):
        def train(config, run):
            if probability is None:
                raise ValueError("the data source must exist.")
            write_run(run.path, config.runtime.seed, [("x", "a", probability)])
            run.write_config(config)

        training.train_in_folder(config, "classification", "run", lambda: train)

    repeat(0.9)
    repeat(0.7)
    folder = tmp_path / "classification" / "mine"
    assert [path.name for path in folder.parent.iterdir() if path.is_dir()] == ["mine"]
    with pytest.raises(ValueError, match="must exist"):
        repeat(None)
    (row,) = read_rows(folder / "seed-1" / "predictions.csv")
    assert row["probability a"] == "0.7"
    assert (folder / "summary.json").exists()


def test_an_ensemble_averages_by_image(tmp_path):
    one = [("x", "a", 0.9), ("y", "b", 0.6), ("z", "b", 0.2)]
    other = [("z", "b", 0.4), ("x", "a", 0.8), ("y", "b", 0.1)]
    paths = seeds_of(tmp_path, [one, other])
    summary = repeats.summarise(paths, repeats.RunFolder(tmp_path))
    assert summary["ensemble"]["accuracy"] == 1.0  # means of a: 0.85, 0.35, 0.3; by row 0.65, 0.7
    assert "All test the same images" in summary["notes"][0]


@pytest.mark.parametrize(
    "other",
    [
        [("x", "a", 0.9), ("w", "b", 0.1)],  # another image
        [("x", "b", 0.9), ("y", "b", 0.1)],  # another true class
        [("x", "a", 0.9)],
    ],
)
def test_different_tests_have_no_ensemble(tmp_path, other):
    paths = seeds_of(tmp_path, [[("x", "a", 0.9), ("y", "b", 0.1)], other])
    summary = repeats.summarise(paths, repeats.RunFolder(tmp_path))
    assert "ensemble" not in summary
    assert "same images" not in (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert "test images or true classes differ" in summary["notes"][0]


def test_later_runs_take_what_the_first_resolved():
    first = ClassificationConfig(
        name="cv-fold-00", weights="none", runtime=RuntimeConfig(precision="mixed_float16")
    )
    later = ClassificationConfig(
        name="cv-fold-10", split=SplitConfig(offset=10), runtime=RuntimeConfig(seed=3)
    )
    alike = repeats._like(first, later)
    assert (alike.name, alike.split.offset, alike.runtime.seed) == ("cv-fold-10", 10, 3)
    assert (alike.weights, alike.runtime.precision) == ("none", "mixed_float16")


def test_runs_that_were_trained_in_other_ways_are_not_summed_up(tmp_path):
    paths = seeds_of(tmp_path, [[("x", "a", 0.9)]] * 2)
    changed = read_json(paths[1] / "metrics.json")
    changed["regime"]["precision"] = "mixed_float16"
    (paths[1] / "metrics.json").write_text(json.dumps(changed))
    with pytest.raises(ValueError, match="precision: float32 -> mixed_float16 from seed-0 to"):
        repeats.summarise(paths, repeats.RunFolder(tmp_path))


@pytest.mark.parametrize(
    "name",
    ["kerascxr", "TensorFlow", "Keras", "keras-cv", "NumPy", "SciPy", "scikit-learn", "OpenVINO"],
)
def test_runs_of_other_package_versions_are_not_summed_up(tmp_path, name):
    paths = seeds_of(tmp_path, [[("x", "a", 0.9)]] * 2)
    file = paths[1] / "environment.json"
    changed = read_json(file)
    versions = changed if name == "kerascxr" else changed["packages"]
    before, versions[name.lower()] = versions[name.lower()], "9.9"
    file.write_text(json.dumps(changed))
    with pytest.raises(ValueError, match=rf"one way\. Got {name}: {before} -> 9\.9 from seed-0 to"):
        repeats.summarise(paths, repeats.RunFolder(tmp_path))


def test_runs_of_other_lung_models_are_not_summed_up(tmp_path):
    paths = seeds_of(tmp_path, [[("x", "a", 0.9)]] * 2)
    for path, digest in zip(paths, ("one", "other"), strict=True):
        known = read_json(path / "metrics.json")
        known["data"]["lungs_sha256"] = digest
        (path / "metrics.json").write_text(json.dumps(known))
    with pytest.raises(ValueError, match=r"one way\. Got lung model: one -> other from seed-0 to"):
        repeats.summarise(paths, repeats.RunFolder(tmp_path))


@pytest.mark.parametrize("key", ["fingerprint", "offset"])
def test_runs_on_other_images_are_not_summed_up(folds, tmp_path, key):
    folder, _ = folds
    shutil.copytree(folder, tmp_path / "cv")
    paths = [tmp_path / "cv" / name for name in ("fold-00", "fold-10")]
    if key == "fingerprint":
        changed = read_json(paths[1] / "metrics.json")
        changed["data"]["fingerprint"] = "other"
        (paths[1] / "metrics.json").write_text(json.dumps(changed))
    else:
        shutil.copy(paths[0] / "predictions.csv", paths[1] / "predictions.csv")
    words = "same images" if key == "fingerprint" else "each image once"
    with pytest.raises(ValueError, match=words):
        repeats.summarise(paths, repeats.RunFolder(tmp_path / "cv"))


@pytest.mark.parametrize("groups", ["kept", "ignored"])
def test_seeds_share_the_split(folds, workplace, groups):
    del folds  # has made the store
    split = SplitConfig(groups=groups, seed=5)
    data = DataConfig(source=f"{workplace}/set", stores=workplace / "stores")
    config = ClassificationConfig(
        seeds=2, image_size=(32, 32), split=split, data=data, runtime=RuntimeConfig(seed=3)
    )
    store = open_data(data)
    tested = []
    for one in repeats.plan(config, "x").values():
        keras.utils.set_random_seed(one.runtime.seed)
        tested.append(read_splits(one, store)["test"].ids)
    assert tested[0] == tested[1]


def test_seeds_differ_and_share_features(workplace, capsys, monkeypatch):
    monkeypatch.setattr(classification, "draw_evidence", lambda *arguments: None)
    keras.utils.set_random_seed(7)
    backbone = build_classifier("tiny", 3, image_size=(32, 32))
    backbone.save_weights(workplace / "backbone.weights.h5")
    argv = arguments(workplace, "--data.source", f"{workplace}/set", *QUICK, "--name", "seeds")
    argv += ["--weights", f"{workplace}/backbone.weights.h5", "--seeds", "2", "--runtime.seed", "3"]
    assert train_cls.main(argv) == 0
    # Of the training and of the validation images, by the first run for both.
    assert capsys.readouterr().out.count("Computing backbone features") == 2
    folder = workplace / "runs" / "classification" / "seeds"
    one, other = (read_rows(folder / f"seed-{seed}" / "predictions.csv") for seed in (3, 4))
    assert [row["id"] for row in one] == [row["id"] for row in other]
    assert one != other
    summary = read_json(folder / "summary.json")
    assert [part["seed"] for part in summary["runs"]] == [3, 4]
    names = summary["ensemble"]["classes"]
    columns = [f"probability {name}" for name in names]
    mean = [
        np.mean([[float(row[column]) for column in columns] for row in pair], axis=0)
        for pair in zip(one, other, strict=True)
    ]
    truth = [row["truth"] for row in one]
    auc = metrics.roc_auc_score(truth, mean, multi_class="ovr", labels=names)
    assert summary["ensemble"]["auc"] == pytest.approx(auc)
    together = ensemble_metrics([folder / f"seed-{seed}" for seed in (3, 4)])  # as an export has it
    assert summary["ensemble"]["accuracy"] == together["test"]["accuracy"]
    assert not (folder / "predictions.csv").exists()


def test_segmentation_in_two_folds(tmp_path, monkeypatch):
    def fit_nothing(model, precision, splits, config, session):
        row = {"epoch": 1} | dict.fromkeys(("loss", "val_loss", "dice", "val_dice"), 0.5)
        session.folder.write_json("history.json", [row])
        return SimpleNamespace(rows=[row], best_epoch=0)

    monkeypatch.setattr(segmentation, "_fit", fit_nothing)  # most of the time, nothing of the sums
    source = pairs(tmp_path / "set", n=45)
    argv = ["--base_filters", "2", "--image_size", "[32,32]", "--coarse_epochs", "0"]
    argv += ["--epochs", "1", "--augment.enabled", "false", "--folds", "2", "--name", "cv"]
    argv += ["--runtime.tensorboard", "false"]
    argv += ["--runs", f"{tmp_path}/runs", "--data.stores", f"{tmp_path}/stores"]
    assert train_seg.main([*argv, "--data.source", source]) == 0
    folder = tmp_path / "runs" / "segmentation" / "cv"
    rows = read_rows(folder / "predictions.csv")
    assert len({row["id"] for row in rows}) == len(rows) == 41  # four pairs are odd
    summary = read_json(folder / "summary.json")
    assert summary["pooled"]["dice"] == pytest.approx(np.mean([float(row["dice"]) for row in rows]))
    for name in ("fold-00", "fold-10"):
        run = read_run(folder / name)
        own = [dict(row) for row in rows if row["fold_run"] == name]
        for row in own:
            del row["fold_run"]
        assert json.loads(json.dumps(repeats.score(own, None))) == run.metrics["test"]


def test_a_source_with_its_own_split_refuses_folds(workplace, tmp_path, capsys):
    lines = ["path,label,split"]
    for name in ("bright", "dark"):
        for index in range(30):
            split = ("train", "validation", "test")[index % 3]
            lines.append(f"{workplace}/set/{name}/{index}.png,{name},{split}")
    (tmp_path / "list.csv").write_text("\n".join(lines) + "\n")
    argv = arguments(tmp_path, "--data.source", f"{tmp_path}/list.csv", *QUICK, "--folds", "5")
    assert train_cls.main(argv) == 2
    message = capsys.readouterr().err.splitlines()[-1]  # progress bars go there, too
    assert message.startswith(
        "train_cls.py: error: split must be left as it is, and folds left out"
    )


@pytest.mark.parametrize("config_class", [ClassificationConfig, SegmentationConfig])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"folds": 3}, "folds must be 1, 2, 4, 5, 10 or 20. Got folds=3"),
        ({"folds": 0}, "folds must be 1, 2"),
        ({"seeds": 0}, "seeds must be positive"),
        ({"folds": 5, "seeds": 2}, "folds or seeds must be 1"),
        ({"folds": 5, "split": SplitConfig(test_folds=5)}, "left out, or 20 / folds = 4"),
        ({"folds": 5, "split": SplitConfig(offset=1)}, "folds rotate it"),
        ({"folds": 2, "split": SplitConfig(validation_folds=10)}, "leave some of 20 for training"),
    ],
)
def test_what_cannot_be_is_refused(config_class, options, words):
    with pytest.raises(ValueError, match=words):
        config_class(**options)


def test_wrong_folds_end_in_one_line(capsys):
    with pytest.raises(SystemExit) as ended:
        train_cls.main([*SMALL, "--folds", "3"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_study_leaves_them_to_the_trainers():
    with pytest.raises(ValueError, match=r"unet\.seeds must be left out"):
        StudyConfig(unet=SegmentationConfig(seeds=2))
    with pytest.raises(ValueError, match=r"classifier\.folds must be left out"):
        StudyConfig(classifier=ClassificationConfig(folds=5))
