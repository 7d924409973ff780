"""The cache: the least recently used goes first, and nothing that a process writes or reads."""

import os
import shutil
import subprocess
import sys
import time

import pytest

from kerascxr.runs.cache import CacheEntry, enforce_limit, leftovers, prune, use
from kerascxr.runs.locks import locked

USE = (
    "import sys, time\n"
    "from pathlib import Path\n"
    "from kerascxr.runs.cache import use\n"
    "use(Path(sys.argv[1]), use)\n"
    "print('in use', flush=True)\n"
    "time.sleep(60)\n"
)
KB = 1e-6  # in gigabytes


class Owner:
    pass


def entry(folder, name, age=0.0, size=1000):
    path = folder / f"{name}.f16"
    path.write_bytes(bytes(size))
    moment = time.time() - age
    os.utime(path, (moment, moment))
    return CacheEntry.of("features", folder / name, [path], name)


def names(entries):
    return [item.base.name for item in entries]


def left(folder):
    return sorted(path.stem for path in folder.glob("*.f16"))


def test_the_least_recently_used_goes_first_until_the_limit_holds(tmp_path, messages):
    entries = [entry(tmp_path, *item) for item in (("b", 86400 * 2), ("c", 50), ("a", 86400 * 3))]
    assert [item.bytes for item in entries] == [1000] * 3 and entries[0].usable is True
    enforce_limit(entries, 3 * KB, "data.features_gb")
    assert left(tmp_path) == ["a", "b", "c"] and not messages()
    enforce_limit(entries, 1.5 * KB, "data.features_gb")
    assert left(tmp_path) == ["c"]
    first, second = messages()
    assert first == (
        f"Removed {tmp_path}/a (1e-06 GB, unused for 3 days): --data.features_gb allows 1.5e-06 GB."
    )
    assert f"{tmp_path}/b" in second


def test_use_counts_and_not_the_age_of_the_file(tmp_path):
    for name, age in (("old", 900), ("new", 100)):
        entry(tmp_path, name, age)
    use(tmp_path / "old", Owner())
    entries = [
        CacheEntry.of("features", tmp_path / name, [tmp_path / f"{name}.f16"], "")
        for name in ("old", "new")
    ]
    assert names(prune(entries, 1 * KB)[0]) == ["new"]


def test_only_what_was_unused_for_days(tmp_path):
    entries = [entry(tmp_path, "a", 86400 * 3), entry(tmp_path, "b", 3600)]
    assert names(prune(entries, least_days=2)[0]) == ["a"]
    assert left(tmp_path) == ["b"]


def test_a_clock_that_was_set_back_makes_nothing_old(tmp_path):
    entries = [entry(tmp_path, "later", -86400 * 400)]
    assert entries[0].days_unused == 0
    assert prune(entries, least_days=1) == ([], [])


def test_what_is_read_stays_until_its_reader_is_gone(tmp_path):
    entries = [entry(tmp_path, "a", 100), entry(tmp_path, "b", 50)]
    owner = Owner()
    use(tmp_path / "a", owner)
    removed, in_use = prune(entries)
    assert (names(removed), names(in_use)) == (["b"], ["a"])
    del owner
    assert prune(entries[:1])[0] == entries[:1]


def test_what_is_written_stays(tmp_path):
    entries = [entry(tmp_path, "a")]
    with locked(tmp_path / ".a.lock", "waiting"):
        assert prune(entries) == ([], entries)
    assert prune(entries) == (entries, [])


def test_another_process_keeps_what_it_reads_until_it_is_killed(tmp_path):
    entries = [entry(tmp_path, "a")]
    command = [sys.executable, "-c", USE, str(tmp_path / "a")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "in use\n"
        assert prune(entries) == ([], entries)
        process.kill()
    assert prune(entries) == (entries, [])


def test_leftovers_of_killed_processes_go_and_those_of_running_ones_stay(tmp_path):
    (tmp_path / ".partial-a-k1ll3d.f16").write_bytes(bytes(10))
    place = tmp_path / ".partial-list.csv-12345678-k1ll3d"
    place.mkdir()
    (place / "x").write_bytes(bytes(20))
    found = list(leftovers(tmp_path, "features"))
    assert sum(item.bytes for item in found) == 30 and not any(item.usable for item in found)
    with locked(tmp_path / ".list.csv-12345678.lock", "waiting"):
        assert names(prune(found)[1]) == ["list.csv-12345678"]
    assert names(prune(leftovers(tmp_path, "features"))[0]) == ["list.csv-12345678"]
    assert not list(tmp_path.glob(".partial-*"))


def test_a_killed_removal_leaves_no_half_folder_under_its_name(tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def die(path, ignore_errors=False):
        if not ignore_errors:
            raise Killed

    store = tmp_path / "store-1"
    store.mkdir()
    (store / "store.json").touch()
    entry = CacheEntry.of("stores", store, [store], "")
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(shutil, "rmtree", die)
        entry.remove()
    assert not store.exists()
    assert names(prune(leftovers(tmp_path, "stores"))[0]) == ["store-1"]
    assert not list(tmp_path.glob(".partial-*"))


def test_a_folder_that_cannot_be_marked_is_read_all_the_same(tmp_path):
    (tmp_path / "file").touch()
    use(tmp_path / "file" / "a", Owner())
