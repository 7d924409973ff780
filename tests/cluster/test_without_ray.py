"""What holds with and without Ray: options are checked, and workers are as the command."""

import importlib.util
import logging
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import kerascxr
from kerascxr import __main__ as verbs
from kerascxr.cluster import parts, ray_cluster, worker
from kerascxr.cluster.parts import Part
from kerascxr.cluster.ray_cluster import this_place
from kerascxr.cluster.worker import Place, run_in_worker
from kerascxr.config import ClassificationConfig, ResourcesConfig, SegmentationConfig, StudyConfig
from kerascxr.parsing import identity
from kerascxr.runs.states import RunState, last_logged, log_size, states_table


@pytest.mark.parametrize(
    "argv",
    [
        ["study", "--runs", "runs"],
        ["train-cls", "--folds", "5", "--runs", "runs"],
        ["train-seg", "--seeds", "3", "--runs", "runs"],
        ["predict", "model", "images", "--to", "table.csv"],
        ["lungs", "images", "--to", "masks"],
        ["robustness", "run"],
    ],
)
def test_without_ray_there_is_one_line(argv, monkeypatch, tmp_path, capsys):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *more: None if name == "ray" else find(name, *more),
    )
    monkeypatch.chdir(tmp_path)
    assert verbs.main([*argv, "--cluster", "local"]) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert "--cluster must have Ray: pip install 'kerascxr[cluster]'. Got cluster='local'." in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("raised", "kind", "words"),
    [
        (Exception("timed out during startup.\nLogs"), ChildProcessError, "Ray must start"),
        (ConnectionError("no one\nthere"), ValueError, "the address of a Ray cluster"),
    ],
)
def test_a_ray_that_does_not_start_is_one_line(raised, kind, words, monkeypatch):
    def init(**options):
        raise raised

    known = SimpleNamespace(is_initialized=lambda: False, init=init)
    monkeypatch.setitem(sys.modules, "ray", known)
    monkeypatch.setattr(ray_cluster, "require_ray", lambda cluster: None)
    reason = str(raised).splitlines()[0]
    with pytest.raises(kind, match=f"{words}.* Got cluster='local': {reason}$"):
        ray_cluster.connected("local").__enter__()


def test_a_single_run_takes_no_cluster(tmp_path, capsys):
    assert verbs.main(["train-seg", "--cluster", "local", "--runs", str(tmp_path / "runs")]) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert "cluster must be left out for a single run" in line and "Got cluster='local'." in line


@pytest.mark.parametrize("kind", [ClassificationConfig, SegmentationConfig])
def test_a_cluster_makes_no_other_run(kind):
    large = kind(folds=5, cluster="head:6379", resources=ResourcesConfig(4, 1, 16))
    assert identity(kind(folds=5)) == identity(large)


def test_the_study_sets_the_cluster_of_its_runs():
    with pytest.raises(ValueError, match=r"classifier\.resources\.cpus must be left out"):
        StudyConfig(classifier=ClassificationConfig(resources=ResourcesConfig(cpus=2)))


@pytest.mark.parametrize("values", [{"cpus": 0}, {"gpus": -1}, {"memory_gb": 0}])
def test_impossible_resources_are_refused(values):
    (name,) = values
    with pytest.raises(ValueError, match=rf"resources\.{name} must .* Got {name}="):
        ResourcesConfig(**values)


def say(text):
    logging.getLogger("kerascxr.test").info(text)
    logging.getLogger("kerascxr.test").debug("no one reads this")


def fail():
    class UnsendableError(Exception):
        pass

    raise UnsendableError("as it was")


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Place(str(tmp_path), None, kerascxr.__version__)


def test_a_worker_returns_what_was_logged_and_errors_that_can_be_sent(place):
    assert run_in_worker(place, say, ("hello",)) == (None, [(logging.INFO, "hello")])
    error, lines = run_in_worker(place, fail, ())
    assert (type(error), str(error), lines) == (RuntimeError, "as it was", [])
    error, _ = run_in_worker(place, int, ("x",))
    assert type(error) is ValueError


@pytest.mark.parametrize(
    ("change", "words"),
    [({"version": "0"}, "the same version"), ({"folder": "/none"}, "must share the command's")],
)
def test_a_worker_of_another_kind_is_refused(change, words, place):
    values = {"folder": place.folder, "script": None, "version": place.version}
    error, _ = run_in_worker(Place(**values | change), say, ("hello",))
    assert isinstance(error, ValueError) and words in str(error)


def test_a_worker_with_another_folder_of_the_same_path_is_refused(place, tmp_path):
    folder = tmp_path / "masks"
    with this_place([folder, folder, Path("runs")]) as there:
        assert len(there.shared) == 2
        assert run_in_worker(there, say, ("hello",))[0] is None
        shutil.move(folder, tmp_path / "of another machine")
        folder.mkdir()  # a machine that does not share it can have one
        error, lines = run_in_worker(there, say, ("hello",))
        assert re.search(f"must share the folders .* where {folder} is missing", str(error))
        assert lines == []
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and "runs" in file.parts]


def test_a_finished_run_of_before_does_not_stand_for_one_that_was_lost(place, tmp_path):
    """``--overwrite true`` on machines that do not share the folder of runs."""
    part = Part("one", tmp_path / "runs/one", lambda: (say, ("trained elsewhere",)))
    part.folder.mkdir(parents=True)
    (part.folder / "DONE").touch()

    def elsewhere(place, function, arguments):
        shutil.move(tmp_path / "runs", tmp_path / "hidden")
        try:
            return run_in_worker(place, function, arguments)
        finally:
            shutil.move(tmp_path / "hidden", tmp_path / "runs")

    task = SimpleNamespace(remote=lambda *given: lambda: elsewhere(*given))
    ray = SimpleNamespace(
        remote=lambda function: SimpleNamespace(options=lambda **options: task),
        wait=lambda references, timeout: (references, []),
        get=lambda reference: reference(),
        exceptions=SimpleNamespace(RayError=KeyError),
    )
    [ended] = parts._ended(ray, {}, [part], lambda: None)
    assert "must share the folders" in str(ended.error)


def test_a_script_is_run_for_its_entries_and_its_command_is_not(place, tmp_path):
    script = tmp_path / "mine.py"
    script.write_text(
        "import sys\n"
        "from kerascxr.__main__ import main\n"
        "from kerascxr.cluster import worker\n"
        "worker.test_entry = __name__\n"
        "sys.exit(main(['nonsense']))\n"
    )
    error, _ = run_in_worker(Place(place.folder, str(script), place.version), say, ("hello",))
    assert error is None and worker.test_entry == "__mp_main__"
    assert not worker.is_loading_script()
    del worker.test_entry


def test_the_state_of_a_run_is_its_last_line_of_log(tmp_path):
    before = log_size(tmp_path)
    assert (before, last_logged(tmp_path, before)) == (0, None)
    log = tmp_path / "log.txt"
    log.write_text("2026-01-01 10:00:00  epoch 1\nof many\n2026-01-01 10:00:01  \nTable\n")
    assert last_logged(tmp_path, before) == "epoch 1"
    assert last_logged(tmp_path, log_size(tmp_path)) is None
    assert "running: epoch 1" in states_table([RunState("one", tmp_path, "running: epoch 1")])
