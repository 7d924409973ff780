"""Parts of a command as tasks of a cluster: here, of one whose workers are this process."""

import json
import shutil

import pytest

import train_cls
from kerascxr import __main__ as verbs
from kerascxr.audits import input_ablations
from kerascxr.cli import study_runs
from kerascxr.cluster.parts import Part, run_parts
from kerascxr.config import ResourcesConfig
from kerascxr.data.roi import ROIS
from kerascxr.runs.states import RunState
from kerascxr.training import classification, repeats
from tests.support.ray_in_process import Died, instead_of_ray
from tests.support.small_runs import arguments


@pytest.fixture
def ray(monkeypatch):
    return instead_of_ray(monkeypatch)


@pytest.fixture
def seeds(served, tmp_path):
    """A command with two seeds."""
    argv = arguments(tmp_path, "--data.source", f"{served}/set", "--depth", "0", "--epochs", "1")
    return [*argv, "--name", "seeds", "--seeds", "2", "--cluster", "local"]


def trainings(monkeypatch, endings):
    """Trains as ever, but where a folder's name has endings left, raises the next one instead."""
    train, begun = repeats.train_in_worker, []

    def train_or_end(path, *more):
        begun.append(path.name)
        if endings.get(path.name):
            raise endings[path.name].pop(0)
        train(path, *more)

    monkeypatch.setattr(repeats, "train_in_worker", train_or_end)
    return begun


def test_a_study_names_the_run_that_fails_and_does_it_the_next_time(
    ray, served, tmp_path, monkeypatch, capsys
):
    train, failing = study_runs.train_in_worker, ["tiny-depth0"]

    def train_or_fail(part):
        if part.folder.name in failing:
            failing.clear()
            raise RuntimeError("the disk is on fire")
        train(part)

    monkeypatch.setattr(study_runs, "train_in_worker", train_or_fail)
    argv = ["study", "--backbones", "tiny", "--depths", "0,1", "--segmentation", "false"]
    argv += ["--weights.tiny", "none", "--classifier.image_size", "32,32", "--cluster", "local"]
    argv += ["--classifier.epochs", "1", "--classifier.augmented_copies", "1"]
    argv += ["--classifier.feature_engine", "keras", "--runtime.tensorboard", "false"]
    argv += ["--data.source", f"{served}/set", "--runs", str(tmp_path / "runs")]
    argv += ["--data.stores", f"{served}/stores", "--data.features", str(tmp_path / "features")]
    assert verbs.main(argv) == 1
    shown = capsys.readouterr().out
    assert "tiny-depth0 failed: the disk is on fire" in shown
    table = shown[shown.rindex("\nrun  ") :]
    assert "tiny-depth0  failed: the disk is on fire" in table
    assert table.count("done ") == 1 and "Written to" in shown
    assert "depth 0" not in (tmp_path / "runs/report/report.md").read_text()
    assert verbs.main(argv) == 0
    shown = capsys.readouterr().out
    assert "1 run to do, " in shown and shown[shown.rindex("\nrun  ") :].count("done before") == 1


def test_seeds_of_which_one_fails_end_with_its_error_after_the_others(
    ray, seeds, tmp_path, monkeypatch, capsys
):
    endings = {"seed-1": [Died()], "seed-0": [RuntimeError("the disk is on fire")]}
    begun = trainings(monkeypatch, endings)
    with pytest.raises(RuntimeError, match="the disk is on fire"):
        train_cls.main(seeds)
    shown, errors = capsys.readouterr()
    assert "1 of 2 runs are finished; the same command does the rest." in shown
    assert "seed-1: Its process or its machine was ended. It starts again." in shown + errors
    folder = tmp_path / "runs/classification/seeds"
    done = sorted(path.parent.name for path in folder.glob("*/DONE"))
    assert done == ["seed-1"]
    assert sorted(begun) == ["seed-0", "seed-1", "seed-1"]
    begun.clear()
    assert train_cls.main(seeds) == 0
    assert begun == ["seed-0"]


def test_a_part_that_ends_every_worker_ends_no_other(ray, tmp_path):
    begun = []

    def work(folder):
        begun.append(folder.name)
        if folder.name == "bad":
            raise Died
        folder.mkdir()
        (folder / "metrics.json").write_text('{"test": {}}')
        (folder / "timing.json").write_text('{"seconds": 6}')
        (folder / "DONE").touch()

    folders = [tmp_path / name for name in ("bad", "good")]
    todo = [Part(one.name, one, lambda one=one: (work, (one,))) for one in folders]
    runs = [RunState(one.name, one) for one in folders]
    errors = run_parts(todo, runs, "local", ResourcesConfig())
    assert sorted(begun) == ["bad", "bad", "bad", "good"]
    assert list(errors) == ["bad"] and "was ended" in str(errors["bad"])
    assert [run.state for run in runs] == [f"failed: {errors['bad']}", "done"]


def test_an_audit_trains_its_models_as_parts(
    ray, runs, tmp_path, monkeypatch, any_lung_masks, capsys
):
    chosen = ("none", "border_only")
    monkeypatch.setattr(input_ablations, "ROIS", {name: ROIS[name] for name in chosen})
    run = shutil.copytree(runs[0], tmp_path / "run")
    argv = ["audit", str(run), "--lungs", str(runs[1]), "--epochs", "2"]
    assert verbs.main([*argv, "--cluster", "local"]) == 0
    shown = capsys.readouterr().out
    assert "2 runs to do, 2 at once." in shown
    assert "\nepoch 1/2" not in shown, "the lines of the models' trainings belong to their logs"

    def result():
        found = json.loads((run / "audit/audit.json").read_text())
        return {key: of for key, of in found.items() if not key.endswith("seconds")}

    first = result()
    monkeypatch.setattr(classification, "train", None)  # finished models are not trained again
    assert verbs.main(argv) == 0
    assert result() == first
