"""Where arrays of images are: what memory a process may count on, and what a full disk does."""

import json
import os
import tempfile

import numpy as np
import psutil
import pytest
import tensorflow as tf

from kerascxr.cluster.ray_cluster import task_options
from kerascxr.cluster.several_workers import AT_ONCE, local_config, this_worker
from kerascxr.config import ResourcesConfig
from kerascxr.data import memory
from kerascxr.data.arrays import new_array
from kerascxr.data.memory import free_memory
from kerascxr.training import workers
from tests.support.ray_in_process import RayInProcess

MIB = 2**20


@pytest.fixture
def system(tmp_path, monkeypatch):
    """A machine with 1,000 MiB free; returns what writes its files."""
    free = psutil.virtual_memory()._replace(available=1000 * MIB)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    monkeypatch.setattr(memory, "SYSTEM", tmp_path)
    monkeypatch.delenv(AT_ONCE, raising=False)

    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    return write


def group(write, folder, limit, used, files, version=2):
    names = ("max", "current") if version == 2 else ("limit_in_bytes", "usage_in_bytes")
    for name, value in zip(names, (limit, used), strict=True):
        write(f"{folder}/memory.{name}", f"{value}\n")
    reclaimed = "inactive_file" if version == 2 else "total_inactive_file"
    write(f"{folder}/memory.stat", f"anon 1\n{reclaimed} {files}\n")


def test_without_groups_the_machines_free_memory_counts(system):
    assert free_memory() == 1000 * MIB


@pytest.mark.parametrize("limit", ["max", 400 * MIB])
def test_a_containers_limit_counts_without_pages_of_files(limit, system):
    system("proc/self/cgroup", "0::/\n")
    group(system, "sys/fs/cgroup", limit, 300 * MIB, 200 * MIB)
    assert free_memory() == (1000 if limit == "max" else 400 - 300 + 200) * MIB


def test_the_least_of_all_groups_above_counts(system):
    """As under Slurm, where the job has the limit and the task is below it."""
    system("proc/self/cgroup", "0::/slurm/job_7/task_0\n")
    group(system, "sys/fs/cgroup/slurm/job_7/task_0", "max", MIB, 0)
    group(system, "sys/fs/cgroup/slurm/job_7", 500 * MIB, 100 * MIB, 0)
    group(system, "sys/fs/cgroup/slurm", 900 * MIB, 100 * MIB, 0)
    assert free_memory() == 400 * MIB


def test_the_first_version_of_groups_counts_also_if_its_path_is_the_machines(system):
    system("proc/self/cgroup", "5:cpu:/x\n4:memory:/docker/7\n0::/\n")
    folder = "sys/fs/cgroup/memory"
    group(system, folder, 300 * MIB, 100 * MIB, 20 * MIB, version=1)
    assert free_memory() == 220 * MIB


def test_processes_of_one_command_share_what_is_free(system, monkeypatch, tmp_path):
    shape = (60 * MIB,)
    assert not isinstance(new_array(shape, "auto", tmp_path), np.memmap)
    monkeypatch.setenv(AT_ONCE, "4")  # each of four would else take a quarter
    assert free_memory() == 250 * MIB
    assert not isinstance(new_array((62 * MIB,), "auto", tmp_path), np.memmap)
    assert isinstance(new_array((63 * MIB,), "auto", tmp_path), np.memmap)


def test_workers_of_a_training_and_of_a_cluster_know_how_many_they_are(monkeypatch):
    place = this_worker({"TF_CONFIG": local_config([1, 2, 3], 1)})
    monkeypatch.setenv(AT_ONCE, "7")
    monkeypatch.setattr(workers, "_connected", None)
    monkeypatch.setattr(tf.distribute, "MultiWorkerMirroredStrategy", lambda: None)
    workers.connect(place)
    assert os.environ[AT_ONCE] == "3"
    for cpus, count in ((1.0, "4"), (3.0, "1")):
        options = task_options(RayInProcess(cpus=4), ResourcesConfig(cpus=cpus))
        assert options["runtime_env"]["env_vars"][AT_ONCE] == count


def test_workers_on_one_machine_are_counted():
    assert this_worker({"TF_CONFIG": local_config([1, 2, 3], 1)}).count_on_host == 3
    hosts = {"cluster": {"worker": ["a:1", "b:1", "b:2"]}, "task": {"type": "worker", "index": 2}}
    assert this_worker({"TF_CONFIG": json.dumps(hosts)}).count_on_host == 2


def test_a_file_has_its_room_before_it_is_written(tmp_path, monkeypatch):
    """Otherwise a full disk ends the process by a signal, when a page of it is written."""
    files, make = [], tempfile.TemporaryFile

    def kept(**options):
        files.append(make(**options))
        return os.fdopen(os.dup(files[0].fileno()), "w+b")

    monkeypatch.setattr(tempfile, "TemporaryFile", kept)
    new_array((5, 100_000), "disk", tmp_path, np.float32)
    known = os.fstat(files[0].fileno())
    assert known.st_blocks * 512 >= known.st_size == 5 * 100_000 * 4


def test_a_disk_without_room_is_named(tmp_path, monkeypatch):
    def full(*given):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match=f"No space left on device: '{tmp_path}'"):
        new_array((5, 5), "disk", tmp_path)
