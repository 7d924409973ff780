"""Robustness of small trained runs, by the command."""

import csv
import dataclasses
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from kerascxr import load_run
from kerascxr.__main__ import main
from kerascxr.audits import robustness
from kerascxr.data import arrays
from kerascxr.data.corruptions import CORRUPTIONS
from kerascxr.data.pipeline import Images
from kerascxr.evaluation.calibration import (
    apply_temperature,
    expected_calibration_error,
    reliability_curve,
)
from kerascxr.evaluation.robustness import by_severity, intervals_by_severity, read_robustness
from kerascxr.models.decision_rule import FILE, DecisionRule
from kerascxr.report.robustness import robustness_blocks
from kerascxr.runs.reading import read_predictions, read_run, truth_and_probabilities
from kerascxr.training import runtime
from kerascxr.training.engines import computed_by, likely_engine
from tests.support.at_once import Busy, call_twice_at_once
from tests.support.ray_in_process import instead_of_ray

N_TESTS = 1 + 5 * len(CORRUPTIONS)
FILES = ("robustness.json", "robustness.md", "robustness.csv")


pytestmark = pytest.mark.figures


@pytest.fixture(scope="module")
def tested(runs, tmp_path_factory):
    """A classifier that tells images by their brightness, tested in one go; and a copy untested."""
    folder = tmp_path_factory.mktemp("robust")
    run, kept = (shutil.copytree(runs[0], folder / name) for name in ("first", "untested"))
    for path in (run, kept):  # its few validation images would fit nothing and decide nothing
        metrics = json.loads((path / "metrics.json").read_text(encoding="utf-8"))
        metrics["calibration"]["temperature"] = 0.5
        rows = read_predictions(path / "predictions.csv")
        _, raw = truth_and_probabilities(rows, metrics["test"]["classes"])
        half = float(np.median(apply_temperature(raw, 0.5).max(axis=1)))
        dataclasses.replace(DecisionRule.load(path / FILE), least=half).save(path / FILE)
        (path / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    assert main(["robustness", str(run)]) == 0
    return run, kept


def test_what_a_model_gets_is_on_disk_where_memory_is_short(tmp_path, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (80, 16, 16, 2), np.uint8)
    pixels[..., 1] = 255 * (pixels[..., 1] > 99)
    ids = tuple(map(str, range(80)))
    images = Images(pixels, None, ids, ids, np.zeros(80, np.int64), ("a",), folder=tmp_path)
    given = (images, "shift", 2, 0, "lungs_only")
    plain = robustness.corrupt_images(*given).pixels
    assert not isinstance(plain, np.memmap)
    monkeypatch.setattr(arrays, "free_memory", lambda: pixels.nbytes)
    kept = robustness.corrupt_images(*given).pixels
    assert isinstance(kept, np.memmap)
    np.testing.assert_array_equal(kept, plain)


def test_clean_is_the_runs_own_test_and_brightness_misleads(tested):
    run, _ = tested
    clean, scores = by_severity(read_robustness(run), "accuracy")
    assert clean == pytest.approx(read_run(run).metrics["test"]["accuracy"])
    assert clean > 0.9
    # The classes are 30, 120 and 220: +100 makes of each something else.
    assert scores["brightness"][-1] < clean - 0.2
    assert set(scores) == set(CORRUPTIONS)


def test_clean_confidence_and_decisions_are_those_that_the_run_serves(tested):
    run, _ = tested
    result, known = read_robustness(run), load_run(run)
    rows = read_predictions(run / "predictions.csv")
    answers = known.predict([f"{known.config['data']['source']}/{row['id']}.png" for row in rows])
    truth, raw = truth_and_probabilities(rows, answers.classes)
    decided = np.array([decision != "not decided" for decision in answers.decisions])
    assert 0 < decided.sum() < len(decided)
    expected = {
        "ece": expected_calibration_error(reliability_curve(truth, answers.probabilities)),
        "not_decided": 1 - decided.mean(),
        "accuracy_of_decided": (answers.probabilities.argmax(axis=1) == truth)[decided].mean(),
    }
    for measure, value in expected.items():
        assert by_severity(result, measure)[0] == pytest.approx(value, abs=1e-4)
    assert abs(expected["ece"] - expected_calibration_error(reliability_curve(truth, raw))) > 0.01
    undecided = by_severity(result, "not_decided")[1]
    assert undecided["contrast"][-1] > expected["not_decided"] + 0.1
    assert intervals_by_severity(result, "not_decided")[0][0] < expected["not_decided"]
    assert intervals_by_severity(result, "ece")[0] is None


def test_a_run_without_a_rule_has_its_calibration_alone(tested, tmp_path, monkeypatch):
    run = shutil.copytree(tested[0], tmp_path / "plain")
    (run / FILE).unlink()
    monkeypatch.setattr(robustness, "CORRUPTIONS", {"brightness": CORRUPTIONS["brightness"]})
    assert main(["robustness", str(run)]) == 0
    result, before = (read_robustness(place) for place in (run, tested[0]))
    assert result["measures"] == ["accuracy", "f1", "auc", "ece"]
    for measure in result["measures"]:
        assert by_severity(result, measure)[1] == {
            "brightness": by_severity(before, measure)[1]["brightness"]
        }


def test_everything_is_written_and_reported(tested, tmp_path, capsys):
    run, untested = tested
    with (run / "robustness/robustness.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == N_TESTS
    measures = {
        f"{name}{end}" for name in ("accuracy", "f1", "auc") for end in ("", "_low", "_high")
    }
    shares = ("not_decided", "accuracy_of_decided")
    measures |= {"ece"} | {f"{name}{end}" for name in shares for end in ("", "_low", "_high")}
    assert set(rows[0]) == {"corruption", "severity"} | measures
    # Clean, these are the intervals of the run's own test.
    low, high = read_run(run).metrics["test"]["intervals"]["accuracy"]
    assert float(rows[0]["accuracy_low"]) == pytest.approx(low)
    assert float(rows[0]["accuracy_high"]) == pytest.approx(high)
    table = robustness_blocks(read_run(run), "a")[0].table
    assert table.title.endswith(f"[{low:.3f}, {high:.3f}]")
    _, ends = intervals_by_severity(read_robustness(run), "accuracy")
    low, high = ends["brightness"][-1]
    [row] = [row for row in table.rows if row[0] == "brightness"]
    assert row[5].endswith(f"[{low:.3f}, {high:.3f}]")
    text = (run / "robustness/robustness.md").read_text(encoding="utf-8")
    assert "## Accuracy by severity; clean" in text and "grey levels of 255" in text
    for title in ("ECE", "Not decided", "Accuracy of the decisions"):
        assert f"## {title} by severity; clean" in text
    [means] = [
        block.table
        for block in robustness_blocks(read_run(run), "a")
        if getattr(block, "label", "") == "a-robustness-means"
    ]
    assert [row[:2] for row in means.rows if row[0] == "ECE"] == [["ECE", "all"]] + [
        ["ECE", group] for group in ("held out",)
    ]
    assert robustness_blocks(read_run(untested), "a") == []
    assert main(["report", str(run), "--to", str(tmp_path / "page")]) == 0
    page = (tmp_path / "page/index.html").read_text(encoding="utf-8")
    assert "Accuracy by severity; clean" in page and "ECE by severity; clean" in page
    assert "classifier-1-corruptions" in (tmp_path / "page/report.md").read_text(encoding="utf-8")
    for name in ("robustness", "corruptions"):
        assert (run / f"figures/{name}.png").stat().st_size > 5000


def test_a_killed_test_goes_on_to_the_same_numbers_on_a_cluster_too(tested, monkeypatch, capsys):
    from kerascxr.audits import robustness

    run, other = tested
    real, calls = robustness.corrupt, []

    def until(limit):
        def corrupt(*given):
            calls.append(given[0])
            if len(calls) > limit:
                raise KeyboardInterrupt
            return real(*given)

        return corrupt

    monkeypatch.setattr(robustness, "corrupt", until(7))
    assert main(["robustness", str(other)]) == 130
    assert len(json.loads((other / "robustness/robustness.json").read_text())["cells"]) == 8
    assert read_robustness(other) is None
    calls.clear()
    monkeypatch.setattr(robustness, "corrupt", until(1000))
    ray = instead_of_ray(monkeypatch)  # its workers make the tests in another order
    assert main(["robustness", str(other), "--cluster", "local"]) == 0
    assert (ray.started, ray.alive) == (2, [])
    assert f"8 of {N_TESTS} tests are there already" in capsys.readouterr().out
    for_figure = 3 * len(CORRUPTIONS)
    assert len(calls) - for_figure == N_TESTS - 8
    for name in FILES:
        assert (other / "robustness" / name).read_bytes() == (
            run / "robustness" / name
        ).read_bytes()


def test_a_unet_too_and_changed_images_are_one_line(runs, tmp_path, capsys):
    run = shutil.copytree(runs[1], tmp_path / "lungs")
    assert main(["robustness", str(run)]) == 0
    clean, _ = by_severity(read_robustness(run), "dice")
    assert clean == pytest.approx(read_run(run).metrics["test"]["dice"])
    config = (run / "config.yaml").read_text()
    known = yaml.safe_load(config)["data"]
    other = shutil.copytree(known["source"], tmp_path / "set")
    (other / "images/7.png").unlink()
    changed = config.replace(str(known["source"]), str(other))
    changed = changed.replace(str(known["stores"]), f"{tmp_path}/stores")
    (run / "config.yaml").write_text(changed)
    capsys.readouterr()
    assert main(["robustness", str(run)]) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]  # behind the bar of reading again
    assert "the images must be those that" in last and "changed since" in last


def test_a_test_by_other_versions_is_made_again(runs, tmp_path, monkeypatch, messages):
    run = shutil.copytree(runs[0], tmp_path / "run")
    begun_with = []

    def fill(result, folder, *more):
        begun_with.append(len(result["cells"]))
        result["cells"].append({"corruption": "none", "severity": 0})
        folder.write_json(robustness.RESULT, result)

    monkeypatch.setattr(robustness, "_fill", fill)
    monkeypatch.setattr(robustness, "_write", lambda *given: None)
    for _ in range(2):
        result = robustness.measure_robustness(run)
    assert result["computed_by"] == computed_by(likely_engine("auto"))
    assert {"engine", "device", "TensorFlow", "kerascxr"} <= set(result["computed_by"])
    monkeypatch.setattr(runtime.importlib.metadata, "version", lambda package: "99")
    for _ in range(2):
        robustness.measure_robustness(run)
    assert begun_with == [0, 1, 0, 1]
    assert sum("other conditions (computed by)" in line for line in messages()) == 1


def test_of_two_tests_of_one_run_one_waits(tmp_path, monkeypatch):
    busy, run = Busy(), SimpleNamespace(path=tmp_path, task="classification")
    monkeypatch.setattr(robustness, "read_run", lambda *_: run)
    monkeypatch.setattr(robustness, "load_config", busy)
    call_twice_at_once(lambda: robustness.measure_robustness(tmp_path))
    assert (busy.calls, busy.most) == (2, 1)
