"""Run folders: numbered default names, failed starts, replacement of finished runs."""

import functools
import logging
import os
from dataclasses import replace

import pytest

from kerascxr.cli import training
from kerascxr.cli.start import run_command
from kerascxr.cluster.several_workers import LostWorkerError
from kerascxr.config import ClassificationConfig, DataConfig, RuntimeConfig
from kerascxr.runs.folder import RunFolder


@pytest.fixture(autouse=True)
def no_tensorflow(monkeypatch):
    monkeypatch.setattr(training, "start_tensorflow", lambda: None)


def finished(config, name="run"):
    with RunFolder.start(config, "classification", name) as folder:
        folder.write_json("metrics.json", {"epochs": config.epochs})
        folder.finish()
    return folder


def failing(config, folder):
    raise ValueError("the data source must exist.")


def test_a_second_experiment_under_the_default_name_is_numbered(tmp_path, messages):
    first = finished(ClassificationConfig(runs=tmp_path, epochs=20))
    second = finished(ClassificationConfig(runs=tmp_path, epochs=30))
    assert second.path.name == "run-2"
    assert any("this one is" in line and "run-2" in line for line in messages())
    assert first.read_json("metrics.json") == {"epochs": 20}
    again = RunFolder.start(ClassificationConfig(runs=tmp_path, epochs=30), "classification", "run")
    assert again.path == second.path and again.finished


def test_a_name_that_the_user_gave_is_not_numbered(tmp_path):
    finished(ClassificationConfig(runs=tmp_path, name="mine", epochs=20))
    with pytest.raises(ValueError, match="epochs: 20 -> 30"):
        finished(ClassificationConfig(runs=tmp_path, name="mine", epochs=30))


def test_a_failed_start_leaves_no_run(tmp_path):
    config = ClassificationConfig(runs=tmp_path, name="mine")
    with pytest.raises(ValueError, match="must exist"):
        training.train_in_folder(config, "classification", "run", lambda: failing)
    assert not (tmp_path / "classification" / "mine").exists()


def test_a_run_with_results_is_not_abandoned(tmp_path):
    folder = RunFolder.start(ClassificationConfig(runs=tmp_path), "classification", "run")
    folder.write_text("fold-00/metrics.json", "{}")
    assert not folder.abandon()
    assert (folder.path / "fold-00" / "metrics.json").exists()


@pytest.mark.parametrize(("results", "words"), [(False, "nothing was kept"), (True, "resumes")])
def test_a_stopped_command_says_whether_anything_was_kept(tmp_path, capsys, results, words):
    def stopped(config, folder):
        if results:  # such as the finished folds of a cross-validation
            folder.write_text("fold-00/metrics.json", "{}")
        raise KeyboardInterrupt

    config = ClassificationConfig(runs=tmp_path, name="mine")
    assert training.train_in_folder(config, "classification", "run", lambda: stopped) == 130
    assert words in capsys.readouterr().err
    assert (tmp_path / "classification" / "mine").exists() is results


def test_a_stopped_command_that_overwrites_is_resumed_without_that_option(tmp_path, capsys):
    def ending(error):
        def end(config, folder):
            folder.write_text("fold-00/metrics.json", "{}")
            raise error

        return end

    config = ClassificationConfig(runs=tmp_path, name="mine", overwrite=True)
    kept = tmp_path / "classification/mine/fold-00/metrics.json"
    run = functools.partial(training.train_in_folder, config, "classification", "run")
    assert run(lambda: ending(KeyboardInterrupt())) == 130
    assert "The same command without --overwrite resumes" in capsys.readouterr().err
    with RunFolder.start(replace(config, overwrite=False), "classification", "run"):
        assert kept.exists()
    with RunFolder.start(config, "classification", "run"):
        assert not kept.exists(), "the same command begins anew"
    with pytest.raises(
        LostWorkerError, match=r"^gone\. The same command without --overwrite resumes"
    ):
        run(lambda: ending(LostWorkerError("gone.")))


def test_an_overwriting_command_that_fails_keeps_the_finished_run(tmp_path):
    run = finished(ClassificationConfig(runs=tmp_path, name="mine", epochs=20))
    config = ClassificationConfig(runs=tmp_path, name="mine", epochs=30, overwrite=True)
    with pytest.raises(ValueError, match="must exist"):
        training.train_in_folder(config, "classification", "run", lambda: failing)
    assert run.finished and run.read_json("metrics.json") == {"epochs": 20}


def test_an_overwriting_run_replaces_the_old_one_when_it_is_finished(tmp_path):
    finished(ClassificationConfig(runs=tmp_path, name="mine", epochs=20))
    config = ClassificationConfig(runs=tmp_path, name="mine", epochs=30, overwrite=True)
    started = RunFolder.start(config, "classification", "run")
    kept = started.path.with_name(".old-mine")
    assert kept.exists() and not started.finished
    started.write_json("metrics.json", {"epochs": 30})
    started.finish()
    assert not kept.exists()
    folders = [item.name for item in (tmp_path / "classification").iterdir() if item.is_dir()]
    assert folders == ["mine"]


def test_a_checkpoint_goes_on_with_what_was_resolved(tmp_path):
    asked = ClassificationConfig(runs=tmp_path, name="mine")
    chosen = replace(
        asked,
        weights="none",
        feature_engine="openvino",
        runtime=RuntimeConfig(precision="mixed_float16", xla=True),
    )
    moved = replace(asked, data=DataConfig(stores=tmp_path / "elsewhere"))
    with RunFolder.start(asked, "classification", "run") as folder:
        folder.write_config(chosen)
        assert folder.settings(moved) == moved
        folder.write_text("checkpoint/coarse/latest.npz", "")
        assert folder.settings(moved) == replace(chosen, data=moved.data)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_second_process_does_not_write_a_run_that_is_being_written(tmp_path, capsys, overwrite):
    config = ClassificationConfig(runs=tmp_path, name="mine", overwrite=overwrite)
    with RunFolder.start(config, "classification", "run") as first:
        first.write_text("log.txt", "of the first")
        before = {item.name for item in first.path.iterdir()}
        code = run_command(
            lambda argv, prog: training.train_in_folder(
                config, "classification", "run", lambda: failing
            ),
            [],
            "train-cls",
        )
        line = capsys.readouterr().err
        assert code == 2 and line.count("\n") == 1
        assert f"{first.path} is being written by another process (pid {os.getpid()})" in line
        assert {item.name for item in first.path.iterdir()} == before
        assert (first.path / "log.txt").read_text() == "of the first"
    with RunFolder.start(config, "classification", "run") as again:
        assert again.path == first.path


def test_the_lock_of_a_killed_process_does_not_block(tmp_path):
    left = tmp_path / "classification" / ".mine.lock"
    left.parent.mkdir()
    left.touch()
    left.with_suffix(".pid").write_text("1")
    with RunFolder.start(ClassificationConfig(runs=tmp_path, name="mine"), "classification", "run"):
        assert left.with_suffix(".pid").read_text() == str(os.getpid())
    assert not left.with_suffix(".pid").exists()


def test_a_start_that_is_refused_frees_its_lock(tmp_path):
    finished(ClassificationConfig(runs=tmp_path, name="mine", epochs=20))
    for _ in range(2):
        with pytest.raises(ValueError, match="epochs: 20 -> 30"):
            finished(ClassificationConfig(runs=tmp_path, name="mine", epochs=30))
    finished(ClassificationConfig(runs=tmp_path, name="mine", epochs=20))


def test_overwrite_never_removes_a_strangers_folder(tmp_path):
    stranger = tmp_path / "classification" / "mine"
    stranger.mkdir(parents=True)
    (stranger / "thesis.txt").write_text("years of work")
    config = ClassificationConfig(runs=tmp_path, name="mine", overwrite=True)
    with pytest.raises(ValueError, match="replaces run folders only"):
        RunFolder.start(config, "classification", "run")
    assert (stranger / "thesis.txt").read_text() == "years of work"


def test_a_strangers_folder_is_not_taken_for_a_run(tmp_path):
    stranger = tmp_path / "classification" / "mine"
    stranger.mkdir(parents=True)
    (stranger / "thesis.txt").touch()
    with pytest.raises(ValueError, match="mine must be a run folder or not there"):
        RunFolder.start(ClassificationConfig(runs=tmp_path, name="mine"), "classification", "run")
    assert [item.name for item in stranger.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("left", [".kerascxr", ".partial-request-abcd1234.yaml"])
def test_a_start_that_was_killed_does_not_block_the_next_one(tmp_path, left):
    config = ClassificationConfig(runs=tmp_path, name="mine")
    path = tmp_path / "classification" / "mine"
    path.mkdir(parents=True)
    (path / left).write_text("run\n")
    with RunFolder.start(config, "classification", "run") as folder:
        assert folder.path == path and not list(path.glob(".partial-*"))


def test_a_finish_that_was_killed_is_completed_and_other_writers_are_left_alone(tmp_path):
    config = ClassificationConfig(runs=tmp_path, name="mine")
    folder = finished(config)
    old = folder.path.with_name(".old-mine")
    for path in (folder.checkpoint, old, folder.path / "robustness"):
        path.mkdir()
    writing = folder.path / "robustness" / ".partial-robustness-abcd1234.json"
    writing.touch()
    with RunFolder.start(config, "classification", "run"):
        assert writing.exists() and not folder.checkpoint.exists() and not old.exists()


def test_a_log_file_on_a_full_disk_does_not_hide_the_error(tmp_path, capsys):
    folder = RunFolder(tmp_path)
    with pytest.raises(ValueError, match="the source is wrong"), folder.log_file():
        (handler,) = [
            item
            for item in logging.getLogger("kerascxr").handlers
            if isinstance(item, logging.FileHandler)
        ]
        handler.setStream(open("/dev/full", "w")).close()  # noqa: PTH123, SIM115
        logging.getLogger("kerascxr.test").info("nobody can write this")
        raise ValueError("the source is wrong")
    assert "Logging error" not in capsys.readouterr().err
