"""``kerascxr app``: a run's page is exported once, served, and ended by Ctrl-C."""

import contextlib
import json
import shutil

import pytest
import yaml

from kerascxr import __main__ as verbs
from kerascxr.cli import app
from kerascxr.cli.web_pages import findings_of
from kerascxr.evaluation import lung_masks
from kerascxr.models import lung_model
from kerascxr.serving import export_web
from tests.support.lung_models import write_tiny_lung_model
from tests.support.web_model import put_stand_ins


class _Server:
    """Ends as by Ctrl-C as soon as it serves."""

    server_port = 1234

    def serve_forever(self):
        raise KeyboardInterrupt


@pytest.fixture
def served_pages(monkeypatch):
    """Lists the pages that the command serves, and the addresses that it opens."""
    pages, opened = [], []

    @contextlib.contextmanager
    def make(place, port):
        pages.append((place, port))
        yield _Server()

    monkeypatch.setattr(app, "make_server", make)
    monkeypatch.setattr(
        app.webbrowser, "open", lambda address: bool(opened.append(address)) or True
    )
    return pages, opened


@pytest.fixture
def parts(tmp_path, monkeypatch, any_lung_masks):
    """Exports have no graphs, whose conversion takes seconds and is tested with export_web."""
    monkeypatch.setattr(export_web, "_write_graph", lambda path, *_: path.touch())
    monkeypatch.setattr(export_web, "check_page", lambda *_: None)
    monkeypatch.setattr(export_web, "require_packages", lambda *_: None)
    paths = put_stand_ins(monkeypatch, tmp_path / "parts")
    monkeypatch.setattr(export_web, "runtime_files", lambda tarball: paths)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))


def test_a_runs_page_is_exported_once_and_again_when_the_run_changes(
    tmp_path, runs, parts, served_pages, messages
):
    pages, opened = served_pages
    run = tmp_path / "first"
    shutil.copytree(runs[0], run)
    argv = ["app", str(run), "--segmentation", str(runs[1])]
    assert verbs.main(argv) == 0
    assert opened == ["http://127.0.0.1:1234/"]
    place, port = pages[0]
    assert (place / "files.json").exists() and port is None
    assert place.parent.with_name(f".{place.parent.name}.use").exists()  # not pruned meanwhile
    assert any("Written to" in line for line in messages())
    messages.clear()
    assert verbs.main([*argv, "--browser", "false", "--port", "9000"]) == 0
    assert len(opened) == 1 and pages[1] == (place, 9000)
    assert not any("Written to" in line for line in messages())
    metrics = json.loads((run / "metrics.json").read_text())
    metrics["title"] = "Renamed"
    (run / "metrics.json").write_text(json.dumps(metrics))
    assert verbs.main(argv) == 0
    assert json.loads((place / "model/model.json").read_text())["name"] == "Renamed"
    messages.clear()
    assert verbs.main(["app", str(place.parent), "--quiet"]) == 0  # an export needs no run
    assert pages[-1][0] == place


def test_a_page_shows_what_the_audit_found(tmp_path, runs):
    run = tmp_path / "run"
    shutil.copytree(runs[0], run)
    assert findings_of([run]).audit is None
    assert findings_of([run]).audit_note.startswith("It was not audited for shortcuts.")
    whole = {"title": "full image", "accuracy": {"value": 0.8}, "auc": {"value": 0.9}}
    border = {"title": "border only", "accuracy": {"value": 0.7}, "auc": {"value": 0.88}}
    border |= {"verdict": "shown", "size": "large", "share": 0.95, "without": "the lungs"}
    border["auc"] |= {"difference": -0.02}
    nothing = {"some": [], "not_decided": [], "control_missed": []}
    found = {
        "ablations": {"full": whole, "border_only": border},
        "verdict": {"verdict": "shown", "large": ["border_only"]} | nothing,
    }
    (run / "audit").mkdir()
    (run / "audit/audit.json").write_text(json.dumps(found))
    findings = findings_of([run])
    assert findings.audit_note.startswith("Large shortcuts are shown: border only.")
    assert findings.audit == [
        {"input": "full image", "accuracy": 0.8, "auc": 0.9, "verdict": "reference"},
        {
            "input": "border only",
            "accuracy": 0.7,
            "auc": 0.88,
            "verdict": "large shortcut: 95% of the AUC above chance without the lungs",
        },
    ]
    together = findings_of([run, runs[0]])
    assert [row["input"] for row in together.audit] == ["full image (run)", "border only (run)"]
    assert together.audit_note.startswith("Of run: Large shortcuts are shown")
    assert together.audit_note.endswith("The other members were not audited.")


def test_a_roi_that_needs_the_lungs_has_them_on_its_page(
    tmp_path, runs, parts, served_pages, monkeypatch
):
    """By the lung model of the training, whatever --segmentation's default is."""
    run = tmp_path / "region"
    shutil.copytree(runs[0], run)
    config = yaml.safe_load((run / "config.yaml").read_text())
    lungs = {"roi": "lung_crop", "lungs": str(runs[1])}
    (run / "config.yaml").write_text(yaml.safe_dump(config | lungs))
    assert verbs.main(["app", str(run)]) == 0
    card = json.loads((served_pages[0][0][0] / "model/model.json").read_text())
    assert card["region"]["needs_lungs"] and card["lungs"]["size"] == [32, 32]
    assert card["metrics"]["note"] == ""
    monkeypatch.setattr(lung_masks, "MOST_IMPLAUSIBLE", 0.0)
    (run / "metrics.json").write_text((run / "metrics.json").read_text() + " ")
    assert verbs.main(["app", str(run)]) == 2


def test_implausible_lungs_of_the_packages_model_are_left_out(
    tmp_path, runs, parts, served_pages, monkeypatch
):
    write_tiny_lung_model(tmp_path / "lungs", (32, 32))
    monkeypatch.setattr(lung_model, "FOLDER", tmp_path / "lungs")
    monkeypatch.setattr(lung_masks, "MOST_IMPLAUSIBLE", 0.0)
    assert verbs.main(["app", str(runs[0])]) == 0
    (place, _), *_ = served_pages[0]
    assert json.loads((place / "model/model.json").read_text())["lungs"] is None
    assert verbs.main(["app", str(runs[0]), "--segmentation", str(runs[1])]) == 2


def test_what_is_no_model_is_one_line(tmp_path, capsys):
    assert verbs.main(["app", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "must be the folder of a finished run" in error
