"""The battery catches a planted shortcut and leaves its clean twin alone."""

import json
import shutil
from functools import partial

import pytest

from kerascxr import __main__ as verbs
from kerascxr.audits import input_ablations as battery
from kerascxr.audits.input_ablations import audit_run
from kerascxr.config import ClassificationConfig
from kerascxr.parsing import parse_config
from kerascxr.report import input_ablations, page
from kerascxr.runs.folder import RunFolder
from kerascxr.runs.reading import find_runs
from kerascxr.training import classification
from tests.support.small_runs import SMALL

IMAGES = 160  # as the shared store has


def trained(folder, source, stores):
    """A run on a phantom, its model small."""
    argv = [*SMALL, "--depth", "0", "--epochs", "1", "--image_size", "[64,64]", "--name", source]
    argv += ["--data.source", source, "--data.phantom_images", str(IMAGES)]
    argv += ["--runs", f"{folder}/runs", "--data.features", f"{folder}/features"]
    argv += ["--runtime.checkpoint_seconds", "10"]
    config = parse_config(ClassificationConfig, [*argv, "--data.stores", str(stores)], "test")
    started = RunFolder.start(config, "classification", source)
    classification.train(config, started, draw=False)
    return started.path


@pytest.fixture(scope="module")
def audited(tmp_path_factory, phantom_store):
    """A run on the phantom and one on its marked twin, each with a battery of few parts."""
    folder = tmp_path_factory.mktemp("shortcuts")
    names = {
        "phantom": ("none", "border_only"),
        "phantom-marked": ("none", "border_only", "lungs_only", "histogram"),
    }
    runs = {}
    for source, chosen in names.items():
        runs[source] = trained(folder, source, phantom_store.path.parent)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(
                battery,
                "INPUT_ABLATIONS",
                {name: input_ablations.INPUT_ABLATIONS[name] for name in chosen},
            )
            audit_run(runs[source], epochs=20)
    return runs


def result(run):
    return json.loads((run / "audit" / "audit.json").read_text())


def test_the_planted_shortcut_is_caught_and_the_clean_twin_is_not(audited):
    marked, clean = result(audited["phantom-marked"]), result(audited["phantom"])
    assert marked["parts"]["border_only"]["auc"]["interval"][0] > 0.5
    assert "border only" in input_ablations.verdict(marked)
    assert clean["parts"]["border_only"]["auc"]["value"] < 0.65
    assert "no large shortcut" in input_ablations.verdict(clean)
    # The marker is in the border, so the lungs alone lose it.
    ends = marked["parts"]["lungs_only"]["auc"]["difference_interval"]
    assert ends[1] < 0


def test_where_the_evidence_lies_is_told_by_class(audited):
    attention = result(audited["phantom-marked"])["attention"]
    assert set(attention) == {"COVID", "Lung_Opacity", "Normal", "Viral Pneumonia"}
    for of in attention.values():
        assert 0 <= of["inside"] <= 1
        assert 0.1 < of["area"] < 0.5


def test_it_goes_on_where_it_was_cut_off_and_says_the_same(audited, monkeypatch):
    run = audited["phantom-marked"]
    before = result(run)
    chosen = {name: input_ablations.INPUT_ABLATIONS[name] for name in before["parts"]}
    monkeypatch.setattr(battery, "INPUT_ABLATIONS", chosen)
    monkeypatch.setattr(battery.classification, "train", partial(pytest.fail, "trained again"))
    assert verbs.main(["audit", str(run), "--epochs", "20"]) == 0
    after = result(run)
    assert before | {"seconds": 0} == after | {"seconds": 0}


def test_the_report_tells_it_and_does_not_take_parts_for_runs(audited, tmp_path):
    runs = audited["phantom"].parent
    assert {path.name for path in find_runs([runs])} == {"phantom", "phantom-marked"}
    page.write_report(find_runs([runs]), tmp_path / "report")
    text = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    assert "Shortcut battery" in text
    assert "Much of the score can be had from" in text
    assert "evidence in the lungs" in text


def scored(auc, interval, difference=0.0, ends=(-0.1, 0.1)):
    return {
        "accuracy": {"value": 0.5, "interval": [0.4, 0.6]},
        "auc": {
            "value": auc,
            "interval": list(interval),
            "difference": difference,
            "difference_interval": list(ends),
        },
    }


@pytest.mark.parametrize(
    "name, scores, words",
    [
        ("border_only", scored(0.95, (0.9, 0.97)), "much of the score (90% of it over chance)"),
        ("lung_outline", scored(0.7, (0.6, 0.8)), "some of the score"),
        ("without_lungs", scored(0.55, (0.49, 0.6)), "tells nothing"),
        (
            "lungs_only",
            scored(0.9, (0.8, 0.95), -0.1, (-0.15, -0.05)),
            "0.100 of AUC lost without what",
        ),
        ("lungs_only", scored(0.99, (0.98, 1.0)), "the lungs alone will do"),
        (
            "without_corners",
            scored(0.9, (0.8, 0.95), -0.1, (-0.15, -0.05)),
            "lost without the corners",
        ),
    ],
)
def test_what_a_score_means(name, scores, words):
    result = {"parts": {"none": scored(1.0, (0.99, 1.0)), name: scores}}
    assert words in input_ablations.meaning(result, name)


def test_without_lung_masks_the_parts_that_need_them_are_left_out(
    runs, tmp_path, monkeypatch, capsys
):
    run = shutil.copytree(runs[0], tmp_path / "run")
    trained = []

    def itself(config, path):
        trained.append((config.roi, config.lungs))
        return run

    monkeypatch.setattr(battery, "_train", itself)
    assert verbs.main(["audit", str(run), "--epochs", "1"]) == 0
    assert "left out" in capsys.readouterr().out
    assert trained == [
        (name, None) for name in ("none", "without_corners", "border_only", "thumbnail")
    ]
    parts = result(run)["parts"]
    assert set(parts) == {"none", "without_corners", "border_only", "thumbnail", "histogram"}
    assert parts["histogram"]["auc"]["value"] == 1.0  # the classes are grey levels
    assert parts["border_only"]["auc"]["difference"] == 0
    assert result(run)["attention"] is None
