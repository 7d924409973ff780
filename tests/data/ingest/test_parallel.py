"""Mapping in threads and in processes."""

import errno
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from kerascxr.data.ingest import ingest, parallel, reading
from kerascxr.data.ingest.parallel import in_processes, in_threads
from kerascxr.data.sources.open import open_source
from tests.support.small_runs import bright_and_dark


def _half(number):
    if number % 2:
        raise ValueError(f"number must be even. Got {number}.")
    if number == 100:
        logging.getLogger("kerascxr.tests").warning("Number %d.", number)
    return number // 2, os.getpid()


def _end_if(number):
    if number == 40:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def _children(of=None):
    """Returns the processes that map; loky's tracker of semaphores stays a little longer."""
    return [one for one in psutil.Process(of).children() if "popen_loky" in str(one.cmdline())]


def test_memory_is_bounded_by_the_window_not_by_the_set():
    running, most = [0], [0]

    def work(item):
        running[0] += 1
        return item

    taken = in_threads(work, list(range(500)), 4)
    for number, item in enumerate(taken):
        assert item == number
        most[0] = max(most[0], running[0] - number)
    assert most[0] <= 6 * 4


def test_processes_give_all_results_in_order_and_are_gone_afterwards(monkeypatch, messages):
    monkeypatch.setattr(parallel, "CORES", 2)
    numbers = list(range(0, 500, 2))
    results = list(in_processes(_half, numbers))
    assert [half for half, _ in results] == list(range(250))
    assert os.getpid() not in {process for _, process in results}
    assert not _children()
    assert [text for text in messages() if text.startswith("Number")] == ["Number 100."]


def test_threads_map_where_there_can_be_no_processes(monkeypatch, messages):
    monkeypatch.setattr(parallel, "CORES", 2)
    numbers = list(range(0, 500, 2))
    expected = [(half, os.getpid()) for half in range(250)]
    monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)
    assert list(in_processes(_half, numbers)) == expected
    assert "in threads: processes cannot be started (this one is a daemonic" in messages()[0]
    monkeypatch.undo()

    def full(*args, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # of /dev/shm

    monkeypatch.setattr("loky.ProcessPoolExecutor", full)
    assert list(in_processes(_half, numbers)) == expected
    assert "([Errno 28] No space left on device)" in messages()[2]


def test_an_error_in_a_process_is_that_of_the_item_and_ends_the_others(monkeypatch):
    monkeypatch.setattr(parallel, "CORES", 2)
    results = in_processes(_half, [*range(0, 100, 2), 7, *range(100, 10_000, 2)])
    assert next(results)[0] == 0
    assert _children()
    with pytest.raises(ValueError, match=r"number must be even\. Got 7\."):
        list(results)
    assert not _children()


def test_a_process_that_is_killed_is_one_clear_line(monkeypatch):
    monkeypatch.setattr(parallel, "CORES", 1)
    with pytest.raises(ChildProcessError, match="A process that reads images was ended"):
        list(in_processes(_end_if, list(range(100))))
    assert not _children()


def test_processes_end_with_a_script_that_is_killed(tmp_path):
    script = tmp_path / "script.py"  # without the guard that multiprocessing asks for
    script.write_text(
        "import operator, time\n"
        "from kerascxr.data.ingest.parallel import in_processes\n"
        "for number in in_processes(operator.neg, list(range(100))):\n"
        "    print(number, flush=True)\n"
        "    if number == -50:\n"
        "        time.sleep(600)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    with subprocess.Popen(
        [sys.executable, script], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert [int(process.stdout.readline()) for _ in range(51)] == list(range(0, -51, -1))
        workers = _children(process.pid)
        assert workers
        process.kill()  # and it is not asked for, so that the system keeps its number
        _, alive = psutil.wait_procs(workers, timeout=20)
    assert not alive, [one.cmdline() for one in alive]


def test_processes_read_what_threads_read(tmp_path, monkeypatch):
    folder = tmp_path / "images"
    bright_and_dark(folder)
    (folder / "bright" / "broken.png").write_bytes(b"\x89PNG")
    tables = []
    monkeypatch.setattr(reading, "CORES", 2)
    for least in (1, 1_000_000):
        monkeypatch.setattr(reading, "FILES_FOR_PROCESSES", least)
        place = tmp_path / str(least)
        place.mkdir()
        source = open_source(str(folder), phantom_images=0, phantom_seed=0)
        ingest.ingest(source, {}, place)
        names = ("examples.csv", "rejected.csv", "properties.csv", "store.json")
        tables.append({name: (place / name).read_bytes() for name in names})
    assert tables[0] == tables[1]
