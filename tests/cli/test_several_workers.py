"""Several workers that train one model: the losses of one worker, whatever is killed."""

import json
import sys

import numpy as np
import pytest

from kerascxr import __main__ as verbs
from kerascxr.cli import several_workers, training
from kerascxr.cluster.local_workers import run_local_workers
from kerascxr.cluster.several_workers import LostWorkerError, local_config
from kerascxr.config import ClassificationConfig, DataConfig, SegmentationConfig, StudyConfig
from kerascxr.parsing import identity, to_yaml
from tests.support.small_runs import arguments, bright_and_dark, pairs
from tests.support.worker_commands import classifier_arguments, record_steps, unet_arguments

PHANTOM = DataConfig(source="phantom")


def steps(file):
    """Epoch and step -> loss."""
    lines = [line.rsplit(" ", 1) for line in file.read_text().splitlines()]
    return {place: float(loss) for place, loss in lines}


def history(run):
    rows = json.loads((run / "history.json").read_text())
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def test_two_workers_have_the_losses_of_one_and_end_if_one_is_killed(tmp_path, monkeypatch, capfd):
    """Both tasks: dropout, augmentation, BatchNorm, weight averages, and an uneven last batch.

    The classifier of both workers is interrupted and resumed.
    """
    monkeypatch.syspath_prepend(".")
    bright_and_dark(tmp_path / "set", each=21)
    pairs(tmp_path / "lungs", n=40)
    undo = record_steps(tmp_path / "alone")
    assert verbs.main(classifier_arguments(tmp_path, "alone")) == 0
    assert verbs.main(unet_arguments(tmp_path, "alone")) == 0
    undo()
    command = [sys.executable, "-m", "tests.support.worker_commands", str(tmp_path)]
    with pytest.raises(LostWorkerError, match="worker 2 of 2 was ended by the signal SIGKILL"):
        run_local_workers(command, 2)
    killed = tmp_path / "runs/classification/lost"
    assert (killed / "checkpoint/latest.npz").exists() and not (killed / "DONE").exists()
    log = (tmp_path / "runs/classification/together/log.txt").read_text()
    assert [log.count(f"epoch {epoch}/4") for epoch in (1, 4)] == [1, 1]
    alone = steps(tmp_path / "alone")
    assert len(alone) == 2 * 4 * 3
    for index in (0, 1):
        found = steps(tmp_path / f"steps-{index}")
        assert list(found) == list(alone)
        np.testing.assert_allclose(list(found.values()), list(alone.values()), rtol=1e-5)
    for task in ("classification/", "segmentation/"):
        runs = [tmp_path / "runs" / task / name for name in ("alone", "together")]
        for one, other in zip(*map(history, runs), strict=True):
            assert list(one) == list(other)
            np.testing.assert_allclose(list(other.values()), list(one.values()), rtol=1e-4)
        regimes = [json.loads((run / "metrics.json").read_text())["regime"] for run in runs]
        assert [regime.pop("workers") for regime in regimes] == [1, 2]
        assert regimes[0] == regimes[1]


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("lost", [False, True])
def test_no_worker_ends_before_the_chief_has_tested_the_model(index, lost, tmp_path, monkeypatch):
    """Or a chief that is killed in the test would wait for it in vain."""
    config, events = SegmentationConfig(workers=2, runs=tmp_path, data=PHANTOM), []

    class Connected:
        is_chief = index == 0

        def of_chief(self, value):
            events.append("met")
            if lost and events.count("met") == 2:
                raise LostWorkerError("gone.")
            return {"config": to_yaml(config), "error": ""}

    def train(config, folder):
        events.append("trained")
        if index == 0:
            folder.finish()

    monkeypatch.setenv("TF_CONFIG", local_config([4000, 4001], index))
    monkeypatch.setattr("kerascxr.training.workers.connect", lambda place: Connected())
    monkeypatch.setattr(training, "start_tensorflow", lambda: None)
    monkeypatch.setattr(training, "next_steps", lambda *given: "")

    def command():
        return training.train_in_folder(config, "segmentation", "run", lambda: train)

    if lost and index == 1:
        with pytest.raises(
            LostWorkerError, match=r"^gone\. The same command, given to all workers"
        ):
            command()
    else:
        assert command() == 0, "the chief's run is finished, whoever is lost then"
    assert events == ["met", "trained", "met"]


def refused(argv, capsys):
    assert verbs.main(argv) == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


@pytest.mark.parametrize("kind", [ClassificationConfig, SegmentationConfig])
def test_workers_make_no_other_run(kind):
    assert identity(kind(workers=3)) == identity(kind())


def test_a_study_has_no_workers():
    with pytest.raises(ValueError, match=r"unet\.workers must be left out.*Got workers=2"):
        StudyConfig(unet=SegmentationConfig(workers=2))


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        (["--workers", "0"], "workers must be positive. Got workers=0."),
        (["--workers", "2", "--seeds", "3"], "workers must be 1 with folds, seeds or a cluster"),
        (["--workers", "9", "--batch_size", "8"], "workers must be at most batch_size"),
    ],
)
def test_what_workers_cannot_do_is_one_line(options, rule, tmp_path, capsys):
    for command in ("train-cls", "train-seg"):
        with pytest.raises(SystemExit) as ended:
            verbs.main([command, *options, "--runs", str(tmp_path / "runs")])
        assert ended.value.code == 2
        assert rule in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_nothing_is_started_for_a_source_that_is_not_there(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(several_workers, "run_local_workers", None)  # TypeError if it is called
    argv = ["train-cls", "--workers", "2", "--data.source", str(tmp_path / "none")]
    assert str(tmp_path / "none") in refused([*argv, "--runs", str(tmp_path / "runs")], capsys)
    assert not (tmp_path / "runs").exists()


def test_a_finished_run_starts_no_workers(served, messages, monkeypatch):
    monkeypatch.setattr(several_workers, "run_local_workers", None)
    argv = arguments(served, "--data.source", f"{served}/set", "--depth", "0")
    argv += ["--feature_engine", "auto", "--epochs", "2", "--name", "first"]
    assert verbs.main(["train-cls", *argv, "--workers", "2"]) == 0
    assert any("holds this run, finished" in message for message in messages())


def test_workers_are_started_with_the_config_and_the_script(tmp_path, monkeypatch):
    started = []

    def start(command, count):
        *process, name, flag, file = command
        started.append((process, name, flag, several_workers.Path(file).read_text(), count))
        return 7

    monkeypatch.setattr(several_workers, "run_local_workers", start)
    monkeypatch.setattr(several_workers, "script", lambda: "try_it.py")
    source = pairs(tmp_path / "lungs", n=5)
    argv = ["train-seg", "--data.source", source, "--workers", "3", "--runs", str(tmp_path)]
    assert verbs.main(argv) == 7
    [(process, name, flag, config, count)] = started
    assert process == [sys.executable, "-m", "kerascxr.cli.worker_process", "try_it.py"]
    assert (name, flag, count) == ("train-seg", "--config", 3)
    assert f"source: {source}\n" in config and "workers: 3\n" in config


def test_another_number_than_that_of_tf_config_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TF_CONFIG", local_config([4000, 4001], 0))
    line = refused(["train-cls", "--workers", "3", "--runs", str(tmp_path / "runs")], capsys)
    assert "Got workers=3, in_TF_CONFIG=2." in line
    monkeypatch.setenv("TF_CONFIG", "nonsense")
    assert "TF_CONFIG must be" in refused(["train-cls", "--runs", str(tmp_path / "runs")], capsys)
    assert not (tmp_path / "runs").exists()
