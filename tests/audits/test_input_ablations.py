"""The audit detects a planted shortcut and does not exclude what it cannot decide."""

import contextlib
import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from kerascxr import __main__ as verbs
from kerascxr.audits import attention
from kerascxr.audits import input_ablations as audit
from kerascxr.audits.input_ablations import audit_run
from kerascxr.config import PACKAGED, ClassificationConfig
from kerascxr.data.pipeline import Images
from kerascxr.data.roi import ROIS
from kerascxr.evaluation.lung_masks import LungMaskCheck
from kerascxr.models import lung_model
from kerascxr.models.classifier import build_classifier
from kerascxr.parsing import load_config, parse_config
from kerascxr.report import input_ablations, page
from kerascxr.runs.folder import RunFolder
from kerascxr.runs.reading import find_runs
from kerascxr.training import classification
from kerascxr.training.callbacks import ChangedIdentityError
from kerascxr.training.lungs import lungs_digest
from tests.support.at_once import Busy, call_twice_at_once
from tests.support.lung_models import write_tiny_lung_model
from tests.support.no_figures import without_figures
from tests.support.small_runs import SMALL

IMAGES = 160  # as the shared store has


EPOCHS = 8


def trained(folder, source, stores):
    """A run on a phantom, its model small; also the one that its ablations are compared with."""
    argv = [*SMALL, "--depth", "0", "--epochs", f"{EPOCHS}", "--image_size", "[64,64]"]
    # Statistics of whole layers hardly hold a corner: with few images they would blur the verdict.
    argv += ["--optimizer.learning_rate", "0.003", "--linear_probe", "false", "--name", source]
    argv += ["--data.source", source, "--data.phantom_images", str(IMAGES)]
    argv += ["--runs", f"{folder}/runs", "--data.features", f"{folder}/features"]
    argv += ["--runtime.checkpoint_seconds", "10"]
    config = parse_config(ClassificationConfig, [*argv, "--data.stores", str(stores)], "test")
    with RunFolder.start(config, "classification", source) as started:
        classification.train(config, started, draw=False, decide=False)
    return started.path


@pytest.fixture(scope="module")
def audited(tmp_path_factory, phantom_store):
    """Audits of few ablations: of a run on the phantom and of one on the marked phantom."""
    folder = tmp_path_factory.mktemp("shortcuts")
    names = {
        "phantom": ("none", "border_only"),
        "phantom-marked": ("none", "border_only", "lungs_only"),
    }
    runs = {}
    for source, chosen in names.items():
        runs[source] = trained(folder, source, phantom_store.path.parent)
        undrawn = without_figures() if source == "phantom" else contextlib.nullcontext()
        with pytest.MonkeyPatch.context() as patched, undrawn:
            patched.setattr(audit, "ROIS", {name: ROIS[name] for name in chosen})
            patched.setattr(audit, "_train", partial(unless_full, runs[source], audit._train))
            audit_run(runs[source], epochs=EPOCHS)
    return runs


def unless_full(run, train, config, path, data):
    """Trains an ablation; the run itself stands for that of the full image, its twin."""
    return run if config.roi == "none" else train(config, path, data)


def result(run):
    return json.loads((run / "audit" / "audit.json").read_text())


@pytest.mark.figures
def test_the_planted_shortcut_is_shown_and_the_phantom_without_it_is_not_decided(audited):
    marked, clean = result(audited["phantom-marked"]), result(audited["phantom"])
    assert marked["ablations"]["border_only"]["verdict"] == "shown"
    assert marked["verdict"]["verdict"] == "shown"
    assert "border only" in input_ablations.verdict(marked)
    # 24 test images exclude nothing: the audit must not reassure.
    assert clean["ablations"]["border_only"]["verdict"] == "not_decided"
    assert clean["ablations"]["border_only"]["images_needed"] > 24
    assert "lack of test images: border only" in input_ablations.verdict(clean)
    # The same model finds a marker in the same images: with more of them, the audit would decide.
    control = clean["ablations"]["border_only"]["control"]
    assert control["found"] and control["marker"] == "corner_bar"
    assert control["auc"]["value"] > clean["ablations"]["border_only"]["auc"]["value"]
    assert 0 < clean["control_seconds"] < clean["seconds"]
    assert "control" not in marked["ablations"]["border_only"]  # a shown shortcut needs none
    config = (audited["phantom"] / "audit/border_only-control/config.yaml").read_text()
    assert "control_marker: corner_bar" in config
    # The marker is in the border, so the lungs alone lose it.
    assert marked["ablations"]["lungs_only"]["verdict"] == "lower"


def test_attention_in_the_lungs_is_given_by_class(audited):
    attention = result(audited["phantom-marked"])["attention"]
    assert set(attention) == {"COVID", "Lung_Opacity", "Normal", "Viral Pneumonia"}
    for of in attention.values():
        assert 0 <= of["inside"] <= 1
        assert 0.1 < of["area"] < 0.5


def test_it_goes_on_where_it_was_cut_off_and_says_the_same(audited, monkeypatch):
    run = audited["phantom-marked"]
    before = result(run)
    chosen = {name: ROIS[name] for name in before["ablations"] if name in ROIS}
    monkeypatch.setattr(audit, "ROIS", chosen)
    monkeypatch.setattr(audit.classification, "train", partial(pytest.fail, "trained again"))
    monkeypatch.setattr(audit, "_train", partial(unless_full, run, audit._train))
    assert verbs.main(["audit", str(run), "--epochs", f"{EPOCHS}"]) == 0
    after = result(run)
    times = {"seconds": 0, "control_seconds": 0}
    assert before | times == after | times


def test_the_report_shows_it_and_does_not_list_ablations_as_runs(audited, tmp_path):
    runs = audited["phantom"].parent
    assert {path.name for path in find_runs([runs])} == {"phantom", "phantom-marked"}
    page.write_report(find_runs([runs]), tmp_path / "report")
    text = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    assert "Input ablations" in text
    assert "hortcuts are shown: " in text
    assert "evidence in the lungs" in text


def test_sentences_are_made_from_values():
    auc = {"value": 0.95, "interval": [0.9, 0.97], "difference": -0.1}
    of = {"title": "border only", "without": "the lungs", "auc": auc}
    shown = of | {"verdict": "shown", "size": "large", "share": 0.9}
    assert input_ablations.meaning(shown) == (
        "large shortcut: 90% of the AUC above chance without the lungs"
    )
    assert input_ablations.meaning(of | {"verdict": "lower"}) == (
        "AUC lower by 0.100 without the lungs"
    )
    undecided = of | {"verdict": "not_decided", "images_needed": 1234}
    assert "about 1,234 test images would decide" in input_ablations.meaning(undecided)
    assert input_ablations.meaning(of) == "reference"


def test_a_missed_control_marker_is_stated(monkeypatch):
    rng = np.random.default_rng(0)
    truth, groups, classes = np.arange(400) % 2, [str(i) for i in range(400)], ["a", "b"]

    def scores(strength):
        first = 1 / (1 + np.exp(strength * (2 * truth - 1) + rng.normal(size=400)))
        return np.stack([first, 1 - first], axis=1)

    predicted = {"none": scores(5), "border_only": scores(0), "thumbnail": scores(0)}
    ablations = audit._compare(predicted, truth, groups, classes)
    assert ablations["border_only"]["verdict"] == ablations["thumbnail"]["verdict"] == "excluded"
    asked = []

    def marked(name, marker):
        asked.append((name, marker))
        return scores(5 if name == "thumbnail" else 0)

    checked = audit._add_controls(ablations, marked, truth, groups, classes)
    assert asked == [("border_only", "corner_bar"), ("thumbnail", "corner_bar")]
    assert checked["thumbnail"]["verdict"] == "excluded"
    assert checked["border_only"]["verdict"] == "not_decided"
    given = {
        "ablations": checked,
        "verdict": audit.overall_verdict(checked),
        "seconds": 100,
        "control_seconds": 25,
    }
    text = input_ablations.verdict(given)
    assert "because the control marker was missed: border only. This audit could not" in text
    rows = {row[0]: row for row in input_ablations.ablation_table(given).rows}
    assert rows["border only"][-1] == "not decided: the control marker was missed"
    assert rows["border only"][-2].startswith("missed, AUC 0.")
    assert rows["8x8 thumbnail"][-2].startswith("found, AUC 1.0")
    assert rows["full image"][-2] == ""
    without = input_ablations.ablation_table(given | {"ablations": ablations})
    assert "control marker" not in without.header
    assert {len(row) for row in without.rows} == {len(without.header)}
    assert "The 2 controls took 25% of the audit's 1.7 minutes" in input_ablations._controls(given)


def audited_by_itself(finished, folder, monkeypatch):
    """Audits a run with its own model as each ablation's; returns roi and lungs of each."""
    run = shutil.copytree(finished, folder / "run")
    trained = []

    def itself(config, path, data):
        trained.append((config.roi, config.lungs))
        return run

    monkeypatch.setattr(audit, "_train", itself)
    assert verbs.main(["audit", str(run), "--epochs", "1"]) == 0
    return run, trained


def test_without_lung_masks_the_packages_lung_model_finds_them(
    runs, tmp_path, monkeypatch, capsys, any_lung_masks
):
    write_tiny_lung_model(tmp_path / "lungs", (32, 32))
    monkeypatch.setattr(lung_model, "FOLDER", tmp_path / "lungs")
    run, trained = audited_by_itself(runs[0], tmp_path, monkeypatch)
    shown = capsys.readouterr().out
    assert "Lung masks: by the lung model that comes with kerascxr (U-Net, 2" in shown
    found = result(run)["ablations"]
    assert found["histogram"]["auc"]["value"] == 1.0  # the classes are grey levels
    assert found["border_only"]["auc"]["difference"] == 0
    by_lungs = {name for name, roi in ROIS.items() if roi.ablation and roi.needs_lungs}
    assert {name for name, lungs in trained if lungs == PACKAGED} == by_lungs
    assert result(run)["attention"] is not None


def test_a_run_is_audited_with_the_lungs_that_it_was_trained_with(
    runs, tmp_path, monkeypatch, any_lung_masks
):
    run = shutil.copytree(runs[0], tmp_path / "run")
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace("lungs: null", f"lungs: {runs[1]}"))
    trained = {}

    def itself(config, path, data):
        trained[config.roi] = config.lungs
        return run

    monkeypatch.setattr(audit, "_train", itself)
    monkeypatch.setattr(audit, "ROIS", {name: ROIS[name] for name in ("none", "lungs_only")})
    monkeypatch.setattr(audit, "_draw", lambda *given: None)
    audit_run(run, epochs=1)
    assert trained == {"none": None, "lungs_only": runs[1]}
    assert result(run)["lungs"] == str(runs[1])


def test_an_audit_at_depth_all_leaves_the_linear_probe_out(
    runs, tmp_path, monkeypatch, any_lung_masks
):
    run = shutil.copytree(runs[0], tmp_path / "run")
    assert "linear_probe: true" in (run / "config.yaml").read_text()
    trained = []
    monkeypatch.setattr(audit, "_train", lambda config, *_: trained.append(config) or run)
    monkeypatch.setattr(audit, "ROIS", {name: ROIS[name] for name in ("none", "border_only")})
    monkeypatch.setattr(audit, "measure_attention", lambda *given: None)
    monkeypatch.setattr(audit, "_draw", lambda *given: None)
    for depth in (1, "all"):
        audit_run(run, runs[1], depth, epochs=1)
    # "auto" adds one at depth 1 and none at depth all, where True is refused.
    assert {(config.depth, config.linear_probe) for config in trained} == {
        (1, "auto"),
        ("all", "auto"),
    }


@pytest.mark.parametrize("roi", ["none", "lung_crop", "lungs_only"])
def test_the_share_in_the_lungs_is_that_of_the_models_own_input(roi, monkeypatch):
    size = (32, 32)
    config = ClassificationConfig(roi=roi, image_size=size)
    lungs = np.zeros((2, 64, 64, 1), np.uint8)
    lungs[:, 30:50, 8:24] = lungs[:, 30:50, 30:46] = 255
    pixels = np.stack([ROIS[roi].apply(mask, mask, size).numpy() for mask in lungs])
    images = Images(pixels, None, ("a", "b"), ("a", "b"), np.array([0, 1]), ("dark", "bright"))
    # Grad-CAM that lies where the input is bright, which is in the lungs alone.
    monkeypatch.setattr(
        attention, "GradCAM", lambda model: SimpleNamespace(maps=lambda x, of: x[..., 0])
    )
    monkeypatch.setattr(attention, "load_saved", lambda path: lambda x, training: x[:, 0, 0])
    monkeypatch.setattr(attention, "read_lungs", lambda *given: lungs)
    monkeypatch.setattr(attention, "read_test", lambda *given: images)
    found = attention.measure_attention(SimpleNamespace(path=Path()), config, None, images, lungs)
    for of in found.values():
        assert of["inside"] > 0.9
        assert of["area"] == pytest.approx((pixels >= 128).mean(), abs=0.01)
    monkeypatch.setattr(
        attention, "GradCAM", lambda model: SimpleNamespace(maps=lambda x, of: 0 * x[..., 0])
    )
    found = attention.measure_attention(SimpleNamespace(path=Path()), config, None, images, lungs)
    for of in found.values():
        assert (of["inside"], of["area"], of["without_evidence"]) == (None, None, 1)  # no NaN


def ablations_only(run, names, monkeypatch):
    """Lets each ablation repeat the run's predictions, and leaves out the rest of an audit.

    Returns the list that the ablations trained are added to.
    """
    trained = []

    def train(config, folder, draw, decide):
        assert not decide
        trained.append(f"{config.roi}, {config.epochs}")
        for name in ("history.json", "environment.json", "predictions.csv"):
            shutil.copy(run / name, folder.path / name)
        metrics = json.loads((run / "metrics.json").read_text())
        metrics["data"]["lungs_sha256"] = lungs_digest(config.lungs)
        folder.write_json("metrics.json", metrics)
        folder.write_config(config)
        folder.finish()

    monkeypatch.setattr(audit.classification, "train", train)
    monkeypatch.setattr(audit, "_find_lungs", lambda *given: (None, LungMaskCheck.of([()])))
    monkeypatch.setattr(audit, "_origins", lambda *given: {"skipped": "not asked"})
    monkeypatch.setattr(audit, "measure_attention", lambda *given: None)
    monkeypatch.setattr(audit, "_draw", lambda *given: None)
    monkeypatch.setattr(audit, "ROIS", {name: ROIS[name] for name in names})
    return trained


def test_ablations_of_another_lung_model_or_version_are_trained_again(runs, tmp_path, monkeypatch):
    run = shutil.copytree(runs[0], tmp_path / "run")
    lungs = shutil.copytree(runs[1], tmp_path / "lungs")
    trained = ablations_only(run, ("none", "lungs_only"), monkeypatch)
    for _ in range(2):
        audit_run(run, lungs, epochs=1)
    assert trained == ["none, 1", "lungs_only, 1"]
    (lungs / "model.keras").write_bytes(b"trained again")
    for _ in range(2):
        audit_run(run, lungs, epochs=1)
    assert trained[2:] == ["lungs_only, 1"]
    assert not (run / "audit" / "lungs_only-2").exists()
    file = run / "audit" / "none" / "environment.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"kerascxr": "0.0"}))
    audit_run(run, lungs, epochs=1)
    assert trained[3:] == ["none, 1"]
    file = run / "audit" / "lungs_only" / "metrics.json"
    metrics = json.loads(file.read_text())
    metrics["data"]["fingerprint"] = "of other images"
    file.write_text(json.dumps(metrics))
    audit_run(run, lungs, epochs=1)
    assert trained[4:] == ["lungs_only, 1"]
    monkeypatch.setattr(audit, "engine_version", lambda engine: {"OpenVINO": "0.0"})
    file = run / "audit" / "none" / "environment.json"
    known = json.loads(file.read_text())
    known["packages"]["openvino"] = "0.0"
    file.write_text(json.dumps(known))
    audit_run(run, lungs, epochs=1)
    assert trained[5:] == ["lungs_only, 1"]


def test_origins_are_probed_with_the_weights_that_the_run_began_with(runs, tmp_path):
    path = tmp_path / "start.weights.h5"
    build_classifier("tiny", 3, image_size=(32, 32)).save_weights(path)
    config = load_config(ClassificationConfig, runs[0] / "config.yaml")
    changed = replace(config, image_size=(32, 32), weights=str(path), weights_sha256="0" * 64)
    with pytest.raises(ValueError, match="starting weights must have the SHA-256 000"):
        audit._origins(changed, {}, SimpleNamespace(classes=("a", "b", "c")), None)


def test_an_unfinished_ablation_that_cannot_resume_is_trained_again(
    runs, tmp_path, monkeypatch, messages
):
    run = shutil.copytree(runs[0], tmp_path / "run")
    trained = ablations_only(run, ("none", "border_only"), monkeypatch)
    as_before = audit.classification.train

    def train(config, folder, draw, decide):
        if (folder.path / "checkpoint").exists():
            raise ChangedIdentityError("of other packages")
        as_before(config, folder, draw, decide)

    monkeypatch.setattr(audit.classification, "train", train)
    audit_run(run, epochs=1)
    part = run / "audit" / "border_only"
    (part / "DONE").unlink()
    (part / "checkpoint").mkdir()
    messages.clear()
    audit_run(run, epochs=1)
    assert trained == ["none, 1", "border_only, 1", "border_only, 1"]
    assert (part / "DONE").exists() and not (part / "checkpoint").exists()
    assert any("packages have changed; training it again" in line for line in messages())


def test_an_audit_with_other_options_trains_beside_the_first_one(runs, tmp_path, monkeypatch):
    run = shutil.copytree(runs[0], tmp_path / "run")
    trained = ablations_only(run, ("none", "border_only"), monkeypatch)
    for epochs in (1, 2, 1):
        assert verbs.main(["audit", str(run), "--epochs", str(epochs)]) == 0
        assert result(run)["epochs"] == epochs
    assert trained == ["none, 1", "border_only, 1", "none, 2", "border_only, 2"]


def test_of_two_audits_of_one_run_one_waits(tmp_path, monkeypatch):
    busy = Busy()
    monkeypatch.setattr(audit, "read_run", lambda *_: SimpleNamespace(path=tmp_path))
    monkeypatch.setattr(audit, "load_config", busy)
    call_twice_at_once(lambda: audit_run(tmp_path))
    assert (busy.calls, busy.most) == (2, 1)
