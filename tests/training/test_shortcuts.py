"""The battery catches a planted shortcut and leaves its clean twin alone."""

import json
from functools import partial

import numpy as np
import pytest
from small_runs import SMALL

import train_cls
from kerascxr import __main__ as verbs
from kerascxr.report import page, shortcuts
from kerascxr.report.runs import find_runs
from kerascxr.training import shortcuts as battery

IMAGES = 160  # as the shared store has


def trained(folder, source, stores):
    """A run on a phantom, its model small."""
    argv = [*SMALL, "--depth", "0", "--epochs", "1", "--image_size", "[64,64]", "--name", source]
    argv += ["--data.source", source, "--data.phantom_images", str(IMAGES)]
    argv += ["--runs", f"{folder}/runs", "--data.features", f"{folder}/features"]
    argv += ["--data.stores", str(stores)]
    assert train_cls.main(argv) == 0
    return folder / "runs" / "classification" / source


@pytest.fixture(scope="module")
def few():
    """Fewer parts, so that it is quick."""
    with pytest.MonkeyPatch.context() as patched:
        names = ("none", "border", "mask", "histogram")
        chosen = {name: shortcuts.PARTS[name] for name in names}
        patched.setattr(battery, "PARTS", chosen)
        yield


@pytest.fixture(scope="module")
def audited(tmp_path_factory, few, phantom_store):
    folder = tmp_path_factory.mktemp("shortcuts")
    runs = {}
    for source in ("phantom", "phantom-marked"):
        runs[source] = trained(folder, source, phantom_store.path.parent)
        assert verbs.main(["audit", str(runs[source]), "--epochs", "20"]) == 0
    return runs


def result(run):
    return json.loads((run / "audit" / "audit.json").read_text())


def test_the_planted_shortcut_is_caught_and_the_clean_twin_is_not(audited):
    marked, clean = result(audited["phantom-marked"]), result(audited["phantom"])
    assert marked["parts"]["border"]["auc"]["interval"][0] > 0.6
    assert "border only" in shortcuts.verdict(marked)
    assert clean["parts"]["border"]["auc"]["value"] < 0.65
    assert "no large shortcut" in shortcuts.verdict(clean)
    # The marker is in the border, so the lungs alone lose it.
    ends = marked["parts"]["mask"]["auc"]["difference_interval"]
    assert ends[1] < 0


def test_where_the_evidence_lies_is_told_by_class(audited):
    attention = result(audited["phantom-marked"])["attention"]
    assert set(attention) == {"COVID", "Lung_Opacity", "Normal", "Viral Pneumonia"}
    for of in attention.values():
        assert 0 <= of["inside"] <= 1
        assert 0.1 < of["area"] < 0.5


def test_it_goes_on_where_it_was_cut_off_and_says_the_same(audited, monkeypatch):
    run = audited["phantom"]
    before = result(run)
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
        ("border", scored(0.95, (0.9, 0.97)), "much of the score (90% of it over chance)"),
        ("shape", scored(0.7, (0.6, 0.8)), "some of the score"),
        ("hidden", scored(0.55, (0.49, 0.6)), "tells nothing"),
        ("mask", scored(0.9, (0.8, 0.95), -0.1, (-0.15, -0.05)), "0.100 of AUC lost without what"),
        ("mask", scored(0.99, (0.98, 1.0)), "the lungs alone will do"),
        ("corners", scored(0.9, (0.8, 0.95), -0.1, (-0.15, -0.05)), "lost without the corners"),
    ],
)
def test_what_a_score_means(name, scores, words):
    result = {"parts": {"none": scored(1.0, (0.99, 1.0)), name: scores}}
    assert words in shortcuts.meaning(result, name)


def test_without_lung_masks_the_parts_that_need_them_are_left_out(tmp_path, few, capsys):
    random = np.random.default_rng(0)
    from PIL import Image

    for name, grey in (("bright", 200), ("dark", 50)):
        (tmp_path / "set" / name).mkdir(parents=True)
        for index in range(30):
            pixels = np.clip(random.normal(grey, 20, (32, 32)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "set" / name / f"{index}.png")
    argv = [*SMALL, "--depth", "0", "--epochs", "1", "--name", "run"]
    argv += ["--data.source", f"{tmp_path}/set", "--runs", f"{tmp_path}/runs"]
    argv += ["--data.stores", f"{tmp_path}/stores", "--data.features", f"{tmp_path}/features"]
    assert train_cls.main(argv) == 0
    run = tmp_path / "runs/classification/run"
    assert verbs.main(["audit", str(run), "--epochs", "1"]) == 0
    assert "left out" in capsys.readouterr().out
    assert set(result(run)["parts"]) == {"none", "border", "histogram"}
    assert result(run)["parts"]["histogram"]["auc"]["value"] == 1.0
    assert result(run)["attention"] is None
