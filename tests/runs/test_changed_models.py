"""Finished runs whose starting weights, or whose lung model, are others now."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from kerascxr.cli import study_runs, training
from kerascxr.config import PACKAGED, ClassificationConfig, DataConfig, StudyConfig
from kerascxr.evaluation.classification import evaluate
from kerascxr.runs.changed_models import changed_models
from kerascxr.runs.folder import RunFolder


@pytest.fixture
def files(tmp_path):
    """The starting weights and the lung model."""
    found = tmp_path / "start.weights.h5", tmp_path / "unet" / "model.keras"
    for number, file in enumerate(found):
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(bytes([number]))
    return found


@pytest.fixture
def config(files, tmp_path):
    weights, unet = files
    return ClassificationConfig(
        weights=str(weights),
        lungs=unet.parent,
        runs=tmp_path / "runs",
        name="run",
        data=DataConfig("phantom"),
    )


def train(config, folder):
    """Writes what a run records."""
    digests = [
        hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (Path(config.weights), config.lungs / "model.keras")
    ]
    about = {"source": "elsewhere-01234567", "fingerprint": "ab", "lungs_sha256": digests[1]}
    test = evaluate([0, 1], [[0.9, 0.1], [0.2, 0.8]], ["a", "b"])
    folder.write_json("metrics.json", {"task": "classification", "test": test, "data": about})
    folder.write_config(replace(config, weights_sha256=digests[0]))
    folder.finish()


@pytest.mark.parametrize("place", [0, 1])
def test_a_finished_run_says_so(config, files, messages, monkeypatch, place):
    monkeypatch.setattr(training, "start_tensorflow", lambda: None)
    monkeypatch.setattr(training, "check_lungs", lambda run: None)

    def command():
        messages.clear()
        assert training.train_in_folder(config, "classification", "run", lambda: train) == 0
        return [text for text in messages() if "holds another model than" in text]

    assert not command()
    assert not command()
    files[place].write_bytes(b"another")
    (said,) = command()
    assert said.startswith(f"{files[place]} holds another model than when {config.runs}")
    files[place].unlink()
    assert not command()


def test_models_of_the_package_are_not_looked_for(config, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "metrics.json").write_text(json.dumps({"data": {"lungs_sha256": "ab"}}))
    (run / "config.yaml").write_text("weights: drawn\nweights_sha256: ab\n")
    for weights in ("drawn", "auto"):
        assert changed_models(replace(config, weights=weights, lungs=PACKAGED), run) == []


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_study_does_not_report_such_a_run_beside_others(
    config, files, tmp_path, monkeypatch, overwrite
):
    monkeypatch.setattr(study_runs, "_of_other_images", lambda part: False)
    study = StudyConfig(
        backbones=("tiny",),
        depths=(0,),
        weights={"tiny": config.weights},
        segmentation=False,
        classifier=ClassificationConfig(lungs=config.lungs),
        runs=tmp_path / "runs",
    )
    (part,) = study_runs._parts(study)
    with RunFolder.start(part.config, part.task, part.name) as folder:
        train(part.config, folder)
    again = replace(study, overwrite=overwrite)
    assert not study_runs._parts(again)[0].config.overwrite
    files[0].write_bytes(b"another")
    (part,) = study_runs._parts(again)
    assert part.config.overwrite is overwrite
    if not overwrite:
        with pytest.raises(ValueError, match=r"another model than .*weights\.h5"):
            study_runs._check_settings([part])
