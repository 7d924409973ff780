"""Stands for Ray where a test needs no processes: workers are objects of this one."""

import contextlib
import inspect
from types import SimpleNamespace

from kerascxr.cluster import parts, workers
from kerascxr.training import sharing


class Died(BaseException):
    """What a worker's process ends with, raised by a test."""


class RayInProcess:
    """What ``cluster.workers`` and ``cluster.parts`` use of the module ``ray``.

    Each call is made when its result is awaited: all loading first, then the latest call.

    Attributes:
        alive: The workers that were neither killed nor died.
        started: How many there were.
    """

    def __init__(self, cpus=2):
        self.alive, self.started, self._cpus = [], 0, cpus
        error = type("RayError", (Exception,), {})
        kinds = {
            name: type(name, (error,), {})
            for name in ("RayTaskError", "OutOfMemoryError", "ActorDiedError")
        }
        self.exceptions = SimpleNamespace(RayError=error, **kinds)

    def nodes(self):
        return [{"Alive": True, "Resources": {"CPU": self._cpus, "memory": 16e9}}]

    def remote(self, kind):
        """Makes workers of a class, or tasks of a function."""

        def make(*arguments):
            if not inspect.isclass(kind):
                return _Call(None, kind, False, arguments)
            self.started += 1
            actor = _Actor(kind(*arguments))
            self.alive.append(actor)
            return actor

        made = SimpleNamespace(remote=make)
        return SimpleNamespace(options=lambda **options: made)

    def wait(self, calls, timeout):
        done = next((call for call in calls if call.loads), calls[-1])
        return [done], [call for call in calls if call is not done]

    def get(self, call):
        try:
            return call.make()
        except Died:
            self.kill(call.actor)
            raise self.exceptions.ActorDiedError from None

    def kill(self, actor):
        self.alive = [one for one in self.alive if one is not actor]


class _Actor:
    def __init__(self, worker):
        def method(name):
            function = getattr(worker, name)
            return SimpleNamespace(
                remote=lambda *given: _Call(self, function, name == "load", given)
            )

        self.load, self.compute = method("load"), method("compute")


class _Call:
    def __init__(self, actor, function, loads, given):
        self.actor, self.loads = actor, loads
        self.make = lambda: function(*given)


def instead_of_ray(monkeypatch, **options):
    """Lets commands take this in place of Ray; returns it."""
    ray = RayInProcess(**options)
    monkeypatch.setattr(sharing, "_kept", None)  # workers share for good; afterwards as before
    for module in (parts, workers):
        monkeypatch.setattr(module, "connected", lambda cluster: contextlib.nullcontext(ray))
    return ray
