"""Several runs as one model: predicted, exported, and measured on what all of them held out."""

import csv
import dataclasses
import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import yaml
from filelock import FileLock

import kerascxr
import train_cls
from kerascxr import __main__ as verbs
from kerascxr.audits import robustness
from kerascxr.data.corruptions import CORRUPTIONS
from kerascxr.evaluation.abstention import SEVERAL
from kerascxr.evaluation.calibration import expected_calibration_error, reliability_curve
from kerascxr.evaluation.ensembles import TEST, CommonPredictions, common_predictions
from kerascxr.evaluation.robustness import by_severity, read_robustness
from kerascxr.models.decision_rule import FILE, DecisionRule
from kerascxr.models.ensemble_rule import EnsembleRule
from kerascxr.models.input_checks import InputChecks
from kerascxr.models.ood_detector import OODDetector
from kerascxr.runs.reading import read_run
from kerascxr.serving import export_ensemble
from kerascxr.serving.ensemble import divide_records, ensemble_metrics
from kerascxr.serving.formats import FORMATS, Format
from kerascxr.serving.web_card import Findings, model_card
from kerascxr.serving.web_model import read_page_model
from kerascxr.tables import csv_text
from kerascxr.training.ensembles import decide_together, ensemble_rule
from tests.support.small_runs import arguments, bright_and_dark

CLASSES = ["bright", "dark", "middle"]
COLUMNS = [f"probability {name}" for name in CLASSES]


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def numbers(rows):
    return np.array([[float(row[column]) for column in COLUMNS] for row in rows])


@pytest.fixture(scope="module")
def seeds(served, runs, shared_folder):
    """The run and another one, of another seed."""
    with FileLock(shared_folder / "seed.lock"):
        argv = arguments(served, "--data.source", f"{served}/set", "--depth", "0", "--epochs", "2")
        argv += ["--feature_engine", "auto"]
        assert train_cls.main([*argv, "--name", "second", "--runtime.seed", "1"]) == 0
    return [runs[0], runs[0].with_name("second")]


@pytest.fixture(scope="module")
def folds(seeds, tmp_path_factory):
    """The same two as if of two folds: with thresholds at which each decides on some images."""
    copies = [shutil.copytree(path, tmp_path_factory.mktemp("folds") / path.name) for path in seeds]
    for path in copies:
        half = float(np.median(numbers(read(path / TEST)).max(axis=1)))
        rule = DecisionRule.load(path / FILE)
        dataclasses.replace(rule, least=half).save(path / FILE)
    config = yaml.safe_load((copies[1] / "config.yaml").read_text())
    config["split"]["offset"] = 3
    (copies[1] / "config.yaml").write_text(yaml.safe_dump(config))
    known = json.loads((copies[1] / "environment.json").read_text())
    known["packages"]["numpy"] = "0.1"
    known["weights"]["sha256"] = "another"
    (copies[1] / "environment.json").write_text(json.dumps(known))
    seen = (copies[0] / "training_images.csv").read_text().splitlines()
    (copies[0] / "training_images.csv").write_text("\n".join([seen[0], *seen[2:]]) + "\n")
    return copies


@pytest.fixture(scope="module")
def traces():
    """How often each function from files' bytes was traced by the export."""
    return []


@pytest.fixture(scope="module")
def exported(seeds, traces, tmp_path_factory):
    to = tmp_path_factory.mktemp("models") / "pair"
    make = export_ensemble.from_bytes

    def counted(*given):
        function, place = make(*given), len(traces)
        traces.append(0)

        def count(images):
            traces[place] += 1
            return function(images)

        return count

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(export_ensemble, "from_bytes", counted)
        assert verbs.main(["export", *map(str, seeds), "--to", str(to)]) == 0
    return to


def bright_and_dark_files(folder):
    return sorted(Path(bright_and_dark(folder / "set", each=8, seed=6)).glob("*/*.png"))


def predicted(models, served, to):
    assert verbs.main(["predict", *map(str, models), str(served / "set"), "--to", str(to)]) == 0
    return read(to)


@pytest.fixture(scope="module")
def tables(seeds, served, tmp_path_factory):
    """What ``predict`` writes with the first run, with the second one, and with both."""
    to = tmp_path_factory.mktemp("tables")
    groups = {"first": seeds[:1], "second": seeds[1:], "both": seeds}
    said = []
    package, listening = logging.getLogger("kerascxr"), logging.Handler()
    listening.emit = lambda record: said.append(record.getMessage())
    package.addHandler(listening)
    try:
        tables = [predicted(of, served, to / f"{name}.csv") for name, of in groups.items()]
    finally:
        package.removeHandler(listening)
    assert sum("Ensemble, 12 common test images" in message for message in said) == 1
    return tables


def test_a_page_of_an_ensemble_answers_and_is_described_as_its_export(seeds, folds):
    page = read_page_model(seeds, None)
    found = common_predictions(page.runs, TEST)
    means = {row["id"]: mean for row, mean in zip(found.rows[0], found.mean, strict=True)}
    known = [means[image] for image in page.expected.ids]
    np.testing.assert_allclose(page.expected.probabilities, known)
    card = model_card(page, Findings([], None, ""))
    assert card["members"] == ["first", "second"] and card["name"].startswith("ensemble of 2 runs")
    assert card["decision"]["least"] == page.together.least
    assert card["decision"]["in_every_set"] == [0, 1, 2]  # so few validation images
    right = found.mean.argmax(axis=1) == found.truth
    assert card["metrics"]["rows"][0]["value"] == right.mean()
    assert card["metrics"]["n_test"] == len(right) and card["data"]["n_train"] > 0
    voting = model_card(read_page_model(folds, None), Findings([], None, ""))
    assert (voting["decision"]["least"], voting["decision"]["coverage"]) == (None, 0.9)
    assert voting["metrics"]["rows"] == [] and voting["metrics"]["note"].startswith("No metrics")
    assert voting["data"]["n_train"] is None


def test_members_of_the_same_name_get_different_names(seeds, tmp_path):
    for name, path in zip("ab", seeds, strict=True):
        shutil.copytree(path, tmp_path / name / "seed-0")
    about = ensemble_metrics([tmp_path / "a" / "seed-0", tmp_path / "b" / "seed-0"])
    names = [member["run"] for member in about["members"]]
    assert names == ["seed-0 (a/seed-0)", "seed-0 (b/seed-0)"]


def test_what_members_have_in_common_is_told_from_what_differs():
    records = [
        {"a": 1, "b": {"c": [1, 2], "d": 3}, "e": 4, "g": {"h": 1}},
        {"a": 1, "b": {"c": [1, 2], "d": 5}, "f": 6, "g": 2},
    ]
    same, differing = divide_records(records)
    assert same == {"a": 1, "b": {"c": [1, 2]}}
    assert differing == [
        {"b": {"d": 3}, "e": 4, "g": {"h": 1}},
        {"b": {"d": 5}, "f": 6, "g": 2},
    ]


def test_a_class_name_may_hold_the_sign_between_classes():
    nothing = np.zeros(1, np.float32)
    detector = OODDetector(0, *[nothing] * 4, 0.0, nothing, nothing, 1.0)
    member = DecisionRule(InputChecks(detector, None), np.float32([0.2, 0.2]), 0.3)
    each = np.array([[[0.9, 0.1], [0.5, 0.5]]] * 2)
    rows = [[{"warnings": "", "ood_score": "0"}] * 2] * 2
    found = CommonPredictions(rows, np.zeros(2, int), each)
    decided = decide_together(EnsembleRule((member, member)), found, ["a; b", "c"])
    assert decided.sets.tolist() == [[True, False], [True, True]]


def test_predict_gives_the_mean_of_the_members(tables):
    *each, rows = tables
    assert [row["path"] for row in rows] == [row["path"] for row in each[0]]
    assert np.abs(numbers(each[0]) - numbers(each[1])).max() > 0.01
    expected = np.mean([numbers(one) for one in each], axis=0)
    np.testing.assert_allclose(numbers(rows), expected, atol=1e-6)
    best = [CLASSES[index] for index in expected.argmax(axis=1)]
    assert [row["predicted"] for row in rows] == best


def test_the_export_answers_so_and_says_how_good_that_is(exported, seeds, served):
    runs = [read_run(path) for path in seeds]
    found = common_predictions(runs, TEST)
    files = [(served / "set" / f"{row['id']}.png").read_bytes() for row in found.rows[0]]
    signature = tf.saved_model.load(str(exported / "1")).signatures["serving_default"]
    given = signature(images=tf.constant(files))
    np.testing.assert_allclose(given["probabilities"], found.mean, atol=1e-5)
    decisions = decide_together(ensemble_rule(runs), found, CLASSES)
    for name, expected in (("decision", decisions.decisions), ("warnings", decisions.warnings)):
        assert tuple(text.decode() for text in given[name].numpy()) == expected
    about = json.loads((exported / "1/metadata.json").read_text(encoding="utf-8"))
    members, test = about["ensemble"]["members"], about["test_metrics"]
    assert [(one["run"], one["seed"]) for one in members] == [("first", 0), ("second", 1)]
    assert len({one["model_sha256"] for one in members}) == 2
    assert test["accuracy"] == (found.mean.argmax(axis=1) == found.truth).mean()
    curve = reliability_curve(found.truth, found.mean)
    assert test["ece"] == pytest.approx(expected_calibration_error(curve))
    assert test["not_decided"]["value"] == 1 - decisions.decided.mean()
    cost = about["ensemble"]["cost"]
    assert len(cost["milliseconds_of_members"]) == 2 and cost["milliseconds"] > 0
    assert "fitted to validation images that all members held out" in about["ensemble"]["decisions"]
    assert "The mean of the members' out-of-distribution scores" in about["ensemble"]["decisions"]


def test_an_export_traces_each_member_and_the_ensemble_once(exported, traces):
    assert traces == [1, 1, 1]


def test_python_has_the_same_ensemble(exported, seeds, tables):
    rows = tables[-1]
    ensemble = kerascxr.load_ensemble(list(map(str, seeds)))
    given = ensemble.predict([row["path"] for row in rows])
    assert given.ids == tuple(row["path"] for row in rows)
    np.testing.assert_allclose(given.probabilities, numbers(rows), atol=1e-6)
    assert given.decisions == tuple(row["decision"] for row in rows)
    assert given.warnings == tuple(row["warnings"] for row in rows)
    assert [member.path for member in ensemble.members] == seeds
    assert ensemble.members[1].predict([rows[0]["path"]]).ids == given.ids[:1]
    about = json.loads((exported / "1/metadata.json").read_text(encoding="utf-8"))["ensemble"]
    about.pop("cost")
    assert json.loads(json.dumps(ensemble.metrics)) == about


def test_python_refuses_what_is_no_ensemble(seeds, runs):
    for paths in (str(seeds[0]), seeds[:1]):
        with pytest.raises(ValueError, match="paths must be two or more runs' folders"):
            kerascxr.load_ensemble(paths)
    with pytest.raises(ValueError, match="must be a classification run"):
        kerascxr.load_ensemble([seeds[0], runs[1]])


def evaluated(models, source, folder):
    argv = ["evaluate", *map(str, models), "--to", str(folder / "to"), "--data.source", str(source)]
    argv += ["--data.stores", f"{folder}/stores"]
    assert verbs.main(argv) == 0
    [place] = (folder / "to").glob("[!.]*")
    return place, read(place / "predictions.csv")


def test_another_set_is_answered_as_predict_does(seeds, served, tmp_path):
    other = Path(bright_and_dark(tmp_path / "other", each=24, seed=5))
    seen = read(seeds[1] / "training_images.csv")[0]["id"]
    shutil.copy(served / "set" / f"{seen}.png", other / "dark/seen.png")
    place, rows = evaluated(seeds, other, tmp_path)
    metrics = json.loads((place / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["data"]["left_out"] == 1 and len(rows) == 72
    assert verbs.main(["predict", *map(str, seeds), str(other), "--to", f"{tmp_path}/t.csv"]) == 0
    known = {row["path"]: row for row in read(tmp_path / "t.csv")}
    expected = [known[f"{other}/{row['id']}.png"] for row in rows]
    np.testing.assert_allclose(numbers(rows), numbers(expected), atol=1e-5)
    for name in ("predicted", "decision", "prediction_set", "warnings"):
        assert [row[name] for row in rows] == [row[name] for row in expected]
    right = np.mean([row["predicted"] == row["truth"] for row in rows])
    assert (
        metrics["test"]["accuracy"]
        == right
        == 1 - np.mean([row["truth"] != row["id"].partition("/")[0] for row in rows])
    )
    low, high = metrics["test"]["intervals"]["accuracy"]
    assert low <= right <= high
    assert [one["run"] for one in metrics["members"]] == list(map(str, seeds))
    undecided = np.mean([row["decision"] == "not decided" for row in rows])
    assert metrics["abstention"]["not_decided"]["value"] == undecided
    internal = common_predictions([read_run(path) for path in seeds], TEST)
    before = (internal.mean.argmax(axis=1) == internal.truth).mean()
    assert metrics["against_internal"]["accuracy"]["difference"] == pytest.approx(right - before)


def test_a_set_without_a_class_is_compared_with_the_test_images_of_the_others(seeds, tmp_path):
    runs = [shutil.copytree(path, tmp_path / path.name) for path in seeds]
    for path in runs:  # bright is the hardest class
        rows = read(path / TEST)
        for row in rows:
            if row["truth"] == "bright":
                row[COLUMNS[0]], row[COLUMNS[1]] = row[COLUMNS[1]], row[COLUMNS[0]]
        (path / TEST).write_text(csv_text(rows), encoding="utf-8")
    other = bright_and_dark(tmp_path / "other", each=12, names=("dark", "middle"), seed=5)
    metrics = json.loads((evaluated(runs, other, tmp_path)[0] / "metrics.json").read_text())
    own = common_predictions([read_run(path) for path in runs], TEST)
    right = own.mean.argmax(axis=1) == own.truth
    common = own.truth != CLASSES.index("bright")
    assert right.mean() != right[common].mean()
    found = metrics["internal_of_common_classes"]
    assert (found["n"], found["absent_classes"]) == (common.sum(), ["bright"])
    assert found["accuracy"] == right[common].mean()
    for measure in ("accuracy", "f1", "auc"):
        difference = metrics["against_internal"][measure]["difference"]
        assert difference == pytest.approx(metrics["test"][measure] - found[measure])


@pytest.mark.parametrize("which", ["seeds", "folds"])
def test_images_without_classes_are_answered(which, request, served, tmp_path):
    models = request.getfixturevalue(which)
    plain = tmp_path / "plain"
    plain.mkdir()
    for path in bright_and_dark_files(tmp_path):
        shutil.copy(path, plain / f"{path.parent.name}{path.name}")
    seen = read(models[1] / "training_images.csv")[0]["id"]  # of the folds, by the second one alone
    shutil.copy(served / "set" / f"{seen}.png", plain / "seen.png")
    place, rows = evaluated(models, plain, tmp_path)
    answers = json.loads((place / "answers.json").read_text(encoding="utf-8"))["answers"]
    assert len(rows) == 24 and "seen" not in {row["id"] for row in rows}
    shares = {name: of["predicted"]["value"] for name, of in answers["answers"].items()}
    assert shares == {name: np.mean([row["predicted"] == name for row in rows]) for name in CLASSES}
    columns = (place / "answers.md").read_text(encoding="utf-8")
    assert ("own test images" in columns) is (which == "seeds")


def test_where_the_test_of_an_ensemble_is_written_must_be_said(seeds, tmp_path, capsys):
    for argv, message in (
        (seeds, "--to must name a folder for several runs. Got none."),
        ([seeds[0], "--to", tmp_path], "--to must be left out for one run. Got"),
        ([*seeds, "--to", seeds[0]], "--to must not be a run's folder or in one"),
        ([*seeds, "--to", seeds[1] / "external"], "--to must not be a run's folder or in one"),
    ):
        for command in ("evaluate", "robustness"):
            assert verbs.main([command, *map(str, argv)]) == 2
            assert message in capsys.readouterr().err


def test_it_is_tested_on_corrupted_images(seeds, folds, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(robustness, "CORRUPTIONS", {"brightness": CORRUPTIONS["brightness"]})
    command = ["robustness", *map(str, seeds), "--to", str(tmp_path / "to")]
    assert verbs.main(command) == 0
    result = read_robustness(tmp_path / "to")
    assert result["runs"] == list(map(str, seeds)) and len(result["cells"]) == 6
    known = kerascxr.load_ensemble(seeds).metrics["test"]
    assert by_severity(result, "accuracy")[0] == known["accuracy"]
    assert by_severity(result, "ece")[0] == pytest.approx(known["ece"], abs=1e-4)
    assert by_severity(result, "not_decided")[0] == known["not_decided"]["value"]
    run = shutil.copytree(seeds[0], tmp_path / "alone")
    assert verbs.main(["robustness", str(run)]) == 0
    own = by_severity(read_robustness(run), "ece")[1]["brightness"]
    assert by_severity(result, "ece")[1]["brightness"] != own
    assert "Ensemble of 2 runs" in (tmp_path / "to/robustness/robustness.md").read_text()
    capsys.readouterr()
    assert verbs.main(command) == 0
    assert "6 of 6 tests are there already" in capsys.readouterr().out
    assert verbs.main(["robustness", *map(str, folds), "--to", str(tmp_path / "folds")]) == 2
    assert "runs must have the same test images" in capsys.readouterr().err
    assert not (tmp_path / "folds").exists()


def test_predict_takes_the_export(exported, tables, served, tmp_path):
    one, other = predicted([exported], served, tmp_path / "export.csv"), tables[-1]
    np.testing.assert_allclose(numbers(one), numbers(other), atol=1e-5)
    assert [row["decision"] for row in one] == [row["decision"] for row in other]


def test_folds_vote_and_have_no_metrics(folds, served, tmp_path, messages, monkeypatch):
    each = [predicted([path], served, tmp_path / f"{path.name}.csv") for path in folds]
    messages.clear()
    rows = predicted(folds, served, tmp_path / "both.csv")
    assert any("no metrics: the members were not tested on" in text for text in messages())
    for one, other, row in zip(*each, rows, strict=True):
        reasons = [set(of["warnings"].split("; ")) for of in (one, other)]  # of two, both count
        agree = one["predicted"] == other["predicted"] and SEVERAL not in reasons[0] | reasons[1]
        decided = agree and not reasons[0] & reasons[1] - {""}
        assert row["decision"] == (row["predicted"] if decided else "not decided")
    assert {"not decided"} < {row["decision"] for row in rows}
    to = tmp_path / "model"
    for slow in ("write_model", "write_warm_up"):  # as of any ensemble
        monkeypatch.setattr(export_ensemble, slow, lambda *given: None)
    monkeypatch.setattr(export_ensemble, "compare_reloaded", lambda *given: 0.0)
    monkeypatch.setattr(export_ensemble, "_cost", lambda *given: {})
    assert verbs.main(["export", *map(str, folds), "--to", str(to)]) == 0
    about = json.loads((to / "1/metadata.json").read_text(encoding="utf-8"))
    assert about["test_metrics"] is None and "no metrics" in about["ensemble"]["note"]
    assert "the members vote" in about["ensemble"]["decisions"]
    members = about["ensemble"]["members"]
    assert [one["split_offset"] for one in members] == [0, 3]
    first = read_run(folds[0])
    packages = first.environment["packages"]
    assert about["packages"] == {key: packages[key] for key in packages if key != "numpy"}
    assert about["data"] == first.metrics["data"] and "sha256" not in about["weights"]
    assert [one["differs"] for one in members] == [
        {"weights": {"sha256": sha256}, "packages": {"numpy": version}}
        for sha256, version in (
            (first.environment["weights"]["sha256"], packages["numpy"]),
            ("another", "0.1"),
        )
    ]


def test_an_export_that_differs_is_not_written(seeds, tmp_path, monkeypatch, capsys):
    asked = []

    def compare(folder, expected, classes, temperature):
        asked.append(expected)
        raise ValueError("the export must reproduce the run's probabilities.")

    monkeypatch.setattr(export_ensemble, "write_model", lambda *given: None)
    monkeypatch.setattr(export_ensemble, "compare_reloaded", compare)
    to = tmp_path / "model"
    assert verbs.main(["export", *map(str, seeds), "--to", str(to)]) == 2
    assert "the export must reproduce" in capsys.readouterr().err
    assert not list(to.glob("[0-9]*"))
    [expected] = asked
    members = [read_run(path) for path in seeds]
    found = common_predictions(members, TEST)
    places = [[row["id"] for row in found.rows[0]].index(image) for image in expected.ids]
    assert len(set(places)) == len(found.truth) == 12  # all test images
    np.testing.assert_array_equal(expected.probabilities, found.mean[places])
    decided = decide_together(ensemble_rule(members), found, CLASSES).columns(CLASSES)
    for name, column in decided.items():
        assert list(expected.answers[name]) == [column[place] for place in places]


def test_other_formats_hold_the_mean(seeds, folds, tmp_path, monkeypatch, capsys):
    seen = {}

    def convert(function, calibration, path):
        seen["function"] = function
        path.write_bytes(b"")

    def load(path):
        return lambda images: seen["function"](tf.constant(images)).numpy()

    monkeypatch.setitem(FORMATS, "made-up", Format("a.file", (), convert, load, tolerance=1e-6))
    to, made = tmp_path / "model", ["--format", "made-up"]
    assert verbs.main(["export", *map(str, seeds), "--to", str(to), *made]) == 0
    rows = json.loads((to / "formats/formats.json").read_text(encoding="utf-8"))
    found = common_predictions([read_run(path) for path in seeds], TEST)
    right = (found.mean.argmax(axis=1) == found.truth).mean()
    assert [row["scores"]["accuracy"] for row in rows] == pytest.approx([right] * 2)
    sizes = [(path / "model.keras").stat().st_size / 2**20 for path in seeds]
    assert rows[0]["megabytes"] == pytest.approx(sum(sizes))
    assert verbs.main(["export", *map(str, folds), "--to", str(to), *made]) == 2
    assert "the runs of an ensemble must have the same" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["predict", "FIRST", "UNET", "x.png"], "must be a classification run"),
        (["predict", "FIRST", "FIRST", "x.png"], "must be different ones"),
        (["predict", "EXPORT", "FIRST", "x.png"], "must be the folder of a finished run"),
        (["predict", "FIRST", "SECOND"], "images must be named after the runs"),
        (["export", "FIRST", "UNET"], "must be a classification run"),
        (["export", "FIRST", "FIRST"], "must be different ones"),
    ],
)
def test_what_is_no_ensemble_is_one_line(command, message, seeds, runs, exported, tmp_path, capsys):
    places = {"FIRST": seeds[0], "SECOND": seeds[1], "UNET": runs[1], "EXPORT": exported}
    argv = [str(places.get(item, item)) for item in command]
    assert verbs.main([*argv, "--to", str(tmp_path / "out.csv")]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error and "\n" not in error
