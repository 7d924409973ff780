"""The browser page's folder: what is in it, and that it is written only if it is right."""

import json
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kerascxr import __main__ as verbs
from kerascxr.config import PACKAGED
from kerascxr.models.decision_rule import FILE, DecisionRule
from kerascxr.models.download import file_digest
from kerascxr.models.ensemble_rule import EnsembleRule
from kerascxr.models.lung_model import read_card
from kerascxr.models.saved import load_saved
from kerascxr.runs.reading import read_run
from kerascxr.serving import export_web, web_names, web_read_back
from kerascxr.serving.onnx_files import onnx_model
from kerascxr.serving.predictors import load_predictor
from kerascxr.serving.web_card import WARNING_TEXTS, Findings, _lungs
from kerascxr.serving.web_graphs import Member, classifier_of_grey, inputs_of, outputs_of
from kerascxr.serving.web_model import Lungs
from tests.support.ready_exports import optimize_onnx_in_place
from tests.support.web_model import export_small_page, web_model  # noqa: F401

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


@pytest.mark.parametrize(("least", "level"), [(0, "INFO"), (1, "WARNING")])
def test_a_page_above_40_mb_is_written_and_its_size_is_warned_of(tmp_path, caplog, least, level):
    (tmp_path / "model").mkdir()
    (tmp_path / "index.html").touch()
    with (tmp_path / "model/classifier.onnx").open("wb") as file:
        file.truncate(40_000_000 + 100_000 * least)  # sparse
    with caplog.at_level("INFO"):
        export_web._log_size(tmp_path)
    (record,) = caplog.records
    assert record.levelname == level
    assert record.message.startswith(f"Written to {tmp_path} (40.{least} MB)")
    told = f"at most 40 MB, .* largest file is model/classifier.onnx \\(40.{least} MB\\)"
    assert bool(re.search(told, record.message)) is (level == "WARNING")


def test_the_graph_answers_as_predict_does(web_model, runs, served):  # noqa: F811
    predictor = load_predictor(runs[0])
    files = sorted((served / "set").rglob("*.png"))[::7]
    greys = [np.array(Image.open(file)) for file in files]
    greys += [np.tile(greys[0], (2, 3)), 255 - greys[1]]
    given = web_read_back.run_graph(web_model / "model/classifier.onnx", greys)
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
    assert (card["region"], card["members"]) == (None, [])
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


def test_the_card_has_all_results_of_the_packaged_lung_model():
    """Its own test has 20 images, fewer than the cross-validation that found a lower Dice."""
    of_unet = SimpleNamespace(size=(256, 256), threshold=0.5)
    shown = _lungs(Lungs(PACKAGED, of_unet))["card"]["Dice"]
    results = read_card()["results"].items()
    assert shown == ", ".join(
        f"{of['dice']:.3f} ({of['n']} images; {name})" for name, of in results
    )
    assert len(results) > 1


def test_another_answer_than_the_runs_writes_nothing(tmp_path, web_model, runs, monkeypatch):  # noqa: F811
    real = web_read_back.run_graph
    graphs = web_model / "model"
    monkeypatch.setattr(
        export_web, "_write_graph", lambda path, *_: shutil.copy(graphs / path.name, path)
    )

    def shifted(path, *given):
        answers = real(path, *given)
        if "ood_score" not in answers[0]:
            return answers
        return [one | {"probabilities": one["probabilities"] + 0.01} for one in answers]

    monkeypatch.setattr(web_read_back, "run_graph", shifted)
    with pytest.raises(ValueError, match=r"reproduce the run's probabilities to 0\.001"):
        export_small_page(runs, tmp_path / "to", tmp_path / "parts")
    assert not (tmp_path / "to/web").exists()


def test_an_installation_without_the_page_is_named(tmp_path, runs, monkeypatch):
    monkeypatch.setattr(web_names, "PAGE", tmp_path)
    monkeypatch.setattr(export_web, "require_packages", lambda *_: None)
    with pytest.raises(ValueError, match="must be installed with its browser page"):
        export_web.export_web([runs[0]], tmp_path, None, FINDINGS)


@pytest.mark.parametrize("what", ["the same run twice", "unet"])
def test_what_the_page_does_not_take_is_refused_in_one_line(tmp_path, runs, capsys, what):
    chosen = [runs[1]] if what == "unet" else [runs[0], runs[0]]
    argv = ["export", *map(str, chosen), "--to", str(tmp_path), "--format", "web"]
    assert verbs.main(argv) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    says = "must be of classification runs" if what == "unet" else "must be different ones"
    assert says in error


def test_the_files_of_an_ensemble_with_a_region_answer_as_tensorflow_does(
    tmp_path, runs, monkeypatch
):
    """Its graph takes the lung mask, and holds what the members share once."""
    import onnx

    optimize_onnx_in_place(monkeypatch)
    run = read_run(runs[0])
    rule = DecisionRule.load(run.path / FILE)
    models = [load_saved(run.path / "model.keras") for _ in range(2)]
    last = next(layer for layer in reversed(models[1].layers) if layer.get_weights())
    last.set_weights([1.5 * value for value in last.get_weights()])
    members = [Member(model, rule, run.temperature) for model in models]
    names = outputs_of("lungs_equalized")
    answer = classifier_of_grey(members, EnsembleRule((rule, rule)), "lungs_equalized")
    export_web._write_graph(tmp_path / "graph", answer, inputs_of("lungs_equalized"), names)
    tensors = onnx.load(tmp_path / "graph").graph.initializer
    weights = [(*one.dims, one.raw_data) for one in tensors if len(one.raw_data) > 10_000]
    assert len(set(weights)) == len(weights) > 1
    random = np.random.default_rng(0)
    grey = np.kron(random.integers(0, 256, (15, 13)), np.ones((4, 4))).astype(np.uint8)
    mask = np.zeros((32, 32), np.uint8)
    mask[6:26, 5:14] = mask[6:26, 18:27] = 255
    (given,) = web_read_back.run_graph(tmp_path / "graph", [grey], [mask])
    for name, value in answer(tf.constant(grey), tf.constant(mask)).items():
        np.testing.assert_allclose(given[name], value, atol=1e-3)
    (empty,) = web_read_back.run_graph(tmp_path / "graph", [grey], [np.zeros_like(mask)])
    np.testing.assert_allclose(empty["box"], (0, 0, 1, 1))


def test_an_operation_that_onnx_lacks_is_refused_in_one_line():
    function = tf.function(tf.math.lgamma, input_signature=[tf.TensorSpec((2,), name="x")])
    with pytest.raises(ValueError, match=r"operations that ONNX has\. Got Lgamma\."):
        onnx_model(function, ["y"])
