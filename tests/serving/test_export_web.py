"""The browser page's folder: what is in it, and that it is written only if it is right."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from kerascxr import __main__ as verbs
from kerascxr.models.download import file_digest
from kerascxr.runs.reading import read_run
from kerascxr.serving import export_web, web_names
from kerascxr.serving.predictors import load_predictor
from kerascxr.serving.web_card import WARNING_TEXTS, Findings
from tests.support.web_model import export_small_page, put_stand_ins, web_model  # noqa: F401

FINDINGS = Findings(["For research."], None, "")


def card_of(place):
    return json.loads((place / "model/model.json").read_text())


def test_the_folder_is_what_its_listing_says(web_model):  # noqa: F811
    listed = json.loads((web_model / "files.json").read_text())
    there = {str(path.relative_to(web_model)) for path in web_model.rglob("*") if path.is_file()}
    assert {*listed["files"], "files.json", ".kerascxr"} == there
    assert {"model/classifier.onnx", "model/lungs.onnx", "index.html"} < set(listed["files"])
    assert web_names.find_page(web_model) == web_names.find_page(web_model.parent) == web_model


def test_any_other_file_gives_the_listing_another_version(tmp_path):
    (tmp_path / "a.txt").write_text("one")
    versions = []
    for text in ("one", "other", "one"):
        (tmp_path / "a.txt").write_text(text)
        export_web.write_listing(tmp_path)
        versions.append(json.loads((tmp_path / "files.json").read_text())["version"])
    assert versions[0] == versions[2] != versions[1]


def test_the_graph_answers_as_predict_does(web_model, runs, served):  # noqa: F811
    predictor = load_predictor(runs[0])
    files = sorted((served / "set").rglob("*.png"))[::7]
    greys = [np.array(Image.open(file)) for file in files]
    greys += [np.tile(greys[0], (2, 3)), 255 - greys[1]]
    given = export_web.run_graph(web_model / "model/classifier.onnx", greys)
    card = card_of(web_model)
    kinds = [warning["kind"] for warning in card["warnings"]]
    for grey, answer in zip(greys, given, strict=True):
        item = predictor.prepare(grey[..., None])[None]
        known = predictor.predict(item, np.array([grey.shape], np.int32))
        np.testing.assert_allclose(answer["probabilities"], known["probabilities"][0], atol=1e-3)
        named = "; ".join(
            kind for kind, holds in zip(kinds, answer["warnings"], strict=True) if holds
        )
        assert named == known["warnings"][0].decode()
        assert answer["cams"].shape[0] == len(card["classes"])
    assert any("unusual shape" in name for name in kinds)


def test_model_json_describes_the_run(web_model, runs):  # noqa: F811
    run, card = read_run(runs[0]), card_of(web_model)
    assert card["classes"] == run.metrics["test"]["classes"]
    assert card["temperature"] == run.temperature
    assert sum(card["data"]["classes"].values()) == card["data"]["n_train"]
    assert card["data"]["n_train"] == run.metrics["data"]["images"]["train"]
    accuracy = card["metrics"]["rows"][0]
    assert accuracy["value"] == run.metrics["test"]["accuracy"]
    assert [accuracy["low"], accuracy["high"]] == run.metrics["test"]["intervals"]["accuracy"]
    assert [warning["text"] for warning in card["warnings"]] == [
        WARNING_TEXTS[warning["kind"]] for warning in card["warnings"]
    ]
    assert card["lungs"]["size"] == [32, 32]
    assert card["sha256"] == {
        name: file_digest(web_model / name)
        for name in ("model/classifier.onnx", "model/lungs.onnx")
    }


def test_another_answer_than_the_runs_writes_nothing(tmp_path, web_model, runs, monkeypatch):  # noqa: F811
    real = export_web.run_graph
    graph = web_model / "model/classifier.onnx"
    monkeypatch.setattr(export_web, "_write_graph", lambda path, *_: shutil.copy(graph, path))

    def shifted(path, greys):
        answers = real(path, greys)
        return [one | {"probabilities": one["probabilities"] + 0.01} for one in answers]

    monkeypatch.setattr(export_web, "run_graph", shifted)
    with pytest.raises(ValueError, match=r"reproduce the run's probabilities to 0\.001"):
        export_small_page(runs, tmp_path / "to", tmp_path / "parts")
    assert not (tmp_path / "to/web").exists()


def test_an_installation_without_the_page_is_named(tmp_path, runs, monkeypatch):
    monkeypatch.setattr(web_names, "PAGE", tmp_path)
    monkeypatch.setattr(export_web, "require_packages", lambda *_: None)
    with pytest.raises(ValueError, match="must be installed with its browser page"):
        export_web.export_web(runs[0], tmp_path, None, FINDINGS)


@pytest.mark.parametrize("what", ["ensemble", "unet"])
def test_what_the_page_does_not_take_is_refused_in_one_line(tmp_path, runs, capsys, what):
    chosen = [runs[1]] if what == "unet" else [runs[0], runs[0]]
    argv = ["export", *map(str, chosen), "--to", str(tmp_path), "--format", "web"]
    assert verbs.main(argv) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert what == "ensemble" or "must be of one classification run. Got a U-Net" in error


def test_a_region_of_interest_is_refused(tmp_path, runs, monkeypatch):
    put_stand_ins(monkeypatch, tmp_path)
    monkeypatch.setattr(export_web, "require_packages", lambda *_: None)
    real = export_web.load_config

    def with_roi(kind, path):
        config = real(kind, path)
        object.__setattr__(config, "roi", "lung_crop")
        return config

    monkeypatch.setattr(export_web, "load_config", with_roi)
    with pytest.raises(ValueError, match="classifiers on the full image"):
        export_web.export_web(runs[0], tmp_path, None, FINDINGS)
