"""Workers that load once: nothing is lost with one of them, and all of them end."""

import itertools
import logging
from types import SimpleNamespace

import pytest

from kerascxr.cluster import workers as module
from kerascxr.cluster.workers import workers
from kerascxr.config import ResourcesConfig
from tests.support.ray_in_process import Died, instead_of_ray

log = logging.getLogger("kerascxr.test")


@pytest.fixture
def ray(monkeypatch):
    return instead_of_ray(monkeypatch)


def computed(load, items, *arguments, most=9):
    with workers(load, arguments, "local", ResourcesConfig(), most) as started:
        return started.about, dict(started.computed(items))


def doubling(deaths, kind="all alike"):
    """Doubles; dies at an item as often as ``deaths`` says."""
    log.info("loaded")

    def double(item):
        if deaths.get(item, 0):
            deaths[item] -= 1
            raise Died
        return 2 * item

    return kind, double


def said(caplog):
    """What the command says of its workers, and for them."""
    return [one.getMessage() for one in caplog.records if one.name == "kerascxr.cluster.workers"]


def test_each_worker_loads_once_and_all_end(ray, caplog):
    about, results = computed(doubling, range(7), {})
    assert about == "all alike" and results == {item: 2 * item for item in range(7)}
    assert (ray.started, ray.alive) == (2, []), "two CPUs"
    assert said(caplog) == ["loaded"], "others say the same"
    assert computed(doubling, [1], {}, most=1)[1] == {1: 2}
    assert ray.started == 3
    assert computed(doubling, [], {})[1] == {}


def test_a_lost_worker_is_replaced_and_its_item_computed_again(ray, caplog):
    assert computed(doubling, range(4), {2: 2, 3: 1})[1] == {item: 2 * item for item in range(4)}
    assert (ray.started, ray.alive) == (2 + 3, [])
    line = "A worker was lost. Its process or its machine was ended. Another one starts."
    assert said(caplog).count(line) == 3


def test_an_item_that_ends_every_worker_ends_the_command(ray):
    with pytest.raises(ChildProcessError, match="third time; the same command does the rest"):
        computed(doubling, range(4), {2: 3})
    assert ray.alive == []


def test_a_busy_cluster_is_named_once(ray, caplog, monkeypatch):
    wait, busy, clock = ray.wait, iter(range(5)), itertools.count(0, 20)
    monkeypatch.setattr(
        ray,
        "wait",
        lambda *given, **more: wait(*given, **more) if next(busy, None) is None else ([], []),
    )
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    assert computed(doubling, [1], {})[1] == {1: 2}
    notes = [text for text in said(caplog) if "No worker is ready yet" in text]
    assert len(notes) == 1 and "the cluster is busy" in notes[0]


def test_workers_that_die_while_they_load_end_the_command(ray):
    def load():
        raise Died

    with pytest.raises(ChildProcessError, match="third time"):
        computed(load, [1])
    assert ray.alive == []


@pytest.mark.parametrize("where", ["load", "compute"])
def test_an_error_is_that_of_the_function(where, ray):
    def load():
        if where == "load":
            raise ValueError("no such model")

        def compute(item):
            raise OSError(28, "disk full", "a.png")

        return "", compute

    kind, words = (ValueError, "no such model") if where == "load" else (OSError, "disk full")
    with pytest.raises(kind, match=words):
        computed(load, [1, 2])
    assert ray.alive == []


def test_workers_that_loaded_another_model_are_refused(ray):
    kinds = iter(["one", "other"])

    def load():
        return doubling({}, next(kinds))

    with pytest.raises(ValueError, match="same model and the same packages"):
        computed(load, range(4))
    assert ray.alive == []
