"""Which worker a process is, and several workers on this machine: without TensorFlow."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from kerascxr.cluster.local_workers import run_local_workers
from kerascxr.cluster.several_workers import LostWorkerError, local_config, this_worker

ROOT = Path(__file__).parents[2]


def given(cluster, kind, index):
    text = json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})
    return this_worker({"TF_CONFIG": text})


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"TF_CONFIG": ""},
        {"TF_CONFIG": "{}"},
        {"TF_CONFIG": local_config([4000], 0)},
    ],
)
def test_without_others_a_process_trains_alone(environment):
    assert this_worker(environment) is None


def test_the_first_worker_is_the_chief():
    hosts = ["a:1", "b:1", "b:2"]
    places = [given({"worker": hosts}, "worker", index) for index in range(3)]
    assert [place.index for place in places] == [0, 1, 2]
    assert [place.is_chief for place in places] == [True, False, False]
    assert [place.index_on_host for place in places] == [0, 0, 1]
    assert {place.count for place in places} == {3}
    assert not places[0].is_local
    assert this_worker({"TF_CONFIG": local_config([4000, 4001], 1)}).is_local


def test_a_task_of_the_type_chief_is_before_all_workers():
    cluster = {"chief": ["a:1"], "worker": ["b:1", "c:1"]}
    assert given(cluster, "chief", 0).index == 0
    assert given(cluster, "worker", 0).index == 1
    assert given(cluster, "worker", 1).hosts == ("a", "b", "c")


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[1]",
        '{"cluster": {"worker": ["a:1", "b:1"]}}',
        '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 2}}',
        '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": -1}}',
        '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "chief", "index": 0}}',
        '{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "worker", "index": 0}}',
    ],
)
def test_a_malformed_tf_config_is_one_line(text):
    with pytest.raises(ValueError, match=r'TF_CONFIG must be .*"task".*\. Got TF_CONFIG='):
        this_worker({"TF_CONFIG": text})


def command(code):
    """A command that has ``index``, its place among the workers."""
    start = (
        'import json, os, sys, time\nindex = json.loads(os.environ["TF_CONFIG"])["task"]["index"]\n'
    )
    return [sys.executable, "-c", start + textwrap.dedent(code)]


def test_each_worker_gets_its_place_and_the_chief_alone_prints(capfd, tmp_path, monkeypatch):
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    code = f"""
        print("worker", index)
        what = os.environ["TF_CONFIG"] + os.environ["TF_NUM_INTRAOP_THREADS"]
        open(f"{tmp_path}/{{index}}", "w").write(what)
    """
    # The chief goes on when the others are done.
    assert run_local_workers(command(code + "    time.sleep(0.5 * (index == 0))"), 2) == 0
    assert capfd.readouterr().out == "worker 0\n"
    first, second = (tmp_path / name for name in "01")
    threads = str(max(1, len(os.sched_getaffinity(0)) // 2))
    assert first.read_text().endswith(f'"index": 0}}}}{threads}')
    assert second.read_text() == first.read_text().replace('"index": 0', '"index": 1')


@pytest.mark.parametrize("killed", [0, 1])
def test_if_a_worker_is_killed_all_end_in_one_line(killed, tmp_path):
    code = f"""
        open(f"{tmp_path}/{{index}}", "w").write(str(os.getpid()))
        while not all(os.path.exists(f"{tmp_path}/{{each}}") for each in range(3)):
            time.sleep(0.01)
        if index == {killed}:
            os.kill(os.getpid(), 9)
        time.sleep(60)
    """
    began = time.monotonic()
    with pytest.raises(LostWorkerError, match=f"worker {killed + 1} of 3 was ended by .*SIGKILL"):
        run_local_workers(command(code), 3)
    assert time.monotonic() - began < 30
    assert not any(
        psutil.pid_exists(int((tmp_path / str(index)).read_text())) for index in (0, 1, 2)
    )


def test_a_chief_that_fails_has_said_why(capfd):
    assert run_local_workers(command("sys.exit('no images' if index == 0 else 0)"), 2) == 1
    assert capfd.readouterr().err == "no images\n"


def test_if_a_worker_fails_alone_its_last_line_is_the_reason(monkeypatch, capfd):
    monkeypatch.setattr("kerascxr.cluster.local_workers._GRACE_SECONDS", 0.3)
    code = "time.sleep(60) if index == 0 else sys.exit('a\\nno images here')"
    with pytest.raises(LostWorkerError, match=r"worker 2 of 2 failed \(no images here\)"):
        run_local_workers(command(code), 2)
    assert capfd.readouterr().err == ""


def test_workers_end_with_the_process_that_started_them(tmp_path):
    code = f"""
        from kerascxr.cluster.local_workers import end_with_starter
        end_with_starter()
        open(f"{tmp_path}/{{index}}", "w").write(str(os.getpid()))
        time.sleep(60)
    """
    start = "import sys\nfrom kerascxr.cluster.local_workers import run_local_workers\n"
    start += f"run_local_workers({command(code)!r}, 2)"
    starter = subprocess.Popen([sys.executable, "-c", start], cwd=ROOT)
    until = time.monotonic() + 60
    files = [tmp_path / "0", tmp_path / "1"]
    while not all(file.exists() and file.read_text() for file in files):
        assert time.monotonic() < until
        time.sleep(0.02)
    started = [int(file.read_text()) for file in files]
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    while any(psutil.pid_exists(each) for each in started):
        assert time.monotonic() < until
        time.sleep(0.02)
