"""Computes many items in processes that each load something once, such as a model."""

import contextlib
import logging
import math
import time
from collections import Counter, deque
from collections.abc import Hashable, Iterable, Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

from kerascxr.cluster.ray_cluster import at_once, connected, lost, task_options, this_place
from kerascxr.cluster.worker import Lines, Load, Place, Worker
from kerascxr.config import ResourcesConfig

logger = logging.getLogger(__name__)

Item = TypeVar("Item", bound=Hashable)

_ATTEMPTS = 3
_POLL_SECONDS = 1.0
_NOTE_SECONDS = 60.0


@contextlib.contextmanager
def workers(
    load: Load,
    arguments: tuple[Any, ...],
    cluster: str,
    resources: ResourcesConfig,
    most: int,
    folders: Iterable[Path] = (),
) -> Iterator["Workers[Any]"]:
    """Yields workers, which load while the block goes on and end with it.

    Args:
        load: What each worker calls once. It must be importable.
        arguments: Its arguments.
        cluster: See ``connected``.
        resources: What each worker takes.
        most: How many workers have something to do; more do not start.
        folders: What they write to: see ``this_place``.

    Raises:
        ValueError: If the cluster cannot be used, or no machine of it has the resources.
    """
    with connected(cluster) as ray, contextlib.ExitStack() as places:
        options = task_options(ray, resources)
        place = places.enter_context(this_place(folders))
        started: Workers[Any] = Workers(ray, options, place, (load, arguments))
        try:
            started.start(min(most, at_once(ray, options)))
            yield started
        finally:
            started.end()


class Workers(Generic[Item]):
    """Workers of a cluster. A worker that is lost is replaced, and its item computed again.

    Args:
        ray: The module, connected.
        options: From ``task_options``.
        place: From ``this_place``.
        load: See ``workers``; with its arguments.
    """

    def __init__(
        self, ray: Any, options: dict[str, Any], place: Place, load: tuple[Load, tuple[Any, ...]]
    ):
        self._ray, self._place, self._load = ray, place, load
        self._actor = ray.remote(Worker).options(**options, max_restarts=0, max_task_retries=0)
        self._all: list[Any] = []
        self._idle: list[Any] = []
        self._loading: dict[Any, Any] = {}  # what is awaited -> the actor
        self._computing: dict[Any, tuple[Any, Item]] = {}
        self._about: list[Any] = []
        self._note_at = time.monotonic() + _NOTE_SECONDS
        self._losses: Counter[Item | None] = Counter()

    def start(self, count: int) -> None:
        """Starts workers."""
        for _ in range(count):
            actor = self._actor.remote(self._place)
            self._all.append(actor)
            self._loading[actor.load.remote(*self._load)] = actor

    def end(self) -> None:
        """Ends all workers, whatever they do."""
        while self._all:
            self._ray.kill(self._all.pop())

    def __len__(self) -> int:
        return len(self._all)

    @property
    def about(self) -> Any:
        """What the first worker that has loaded says of it.

        Raises:
            Exception: The error that ended its loading.
        """
        while not self._about:
            self._wait()
        return self._about[0]

    def computed(self, items: Iterable[Item]) -> Iterator[tuple[Item, Any]]:
        """Yields items with their results, in the order in which they are finished.

        Raises:
            ChildProcessError: If an item, or the loading, lost its worker three times.
            ValueError: If workers have not loaded the same.
            Exception: The error that ended an item. What others compute then is lost.
        """
        waiting = deque(items)
        while waiting or self._computing:
            while waiting and self._idle:
                actor, item = self._idle.pop(), waiting.popleft()
                self._computing[actor.compute.remote(item)] = actor, item
            finished, again = self._wait()
            waiting.extendleft(again)
            yield from finished

    def _wait(self) -> tuple[list[tuple[Item, Any]], list[Item]]:
        """Takes what has ended: the results, and the items that are to be computed again."""
        finished, again = [], []
        done, _ = self._ray.wait([*self._loading, *self._computing], timeout=_POLL_SECONDS)
        if not (done or self._about) and time.monotonic() > self._note_at:
            self._note_at = math.inf
            logger.info(
                "No worker is ready yet: it takes long to load, or the cluster is busy and has no "
                "room for one; waiting."
            )
        for reference in done:
            loading = reference in self._loading
            actor, item = (
                (self._loading.pop(reference), None) if loading else self._computing.pop(reference)
            )
            try:
                result, error, lines = self._ray.get(reference)
            except self._ray.exceptions.RayError as failed:
                self._all.remove(actor)
                self._ray.kill(actor)  # it may only be out of reach
                self._replace(failed, item)
                if item is not None:
                    again.append(item)
                continue
            if not (loading and self._about):  # others log the same
                _log(lines)
            self._idle.append(actor)
            if error is not None:
                raise error
            if item is not None:
                finished.append((item, result))
            elif result not in (self._about or [result]):
                raise ValueError(
                    "the machines of the cluster must have the same model and the same packages. "
                    "Got two that differ."
                )
            else:
                self._about = self._about or [result]
        return finished, again

    def _replace(self, failed: Exception, item: Item | None) -> None:
        gone = lost(self._ray, failed)
        if gone is None:
            raise failed
        self._losses[item] += 1
        if self._losses[item] == _ATTEMPTS:
            raise ChildProcessError(f"{gone} It was the third time; the same command does the rest")
        logger.warning(f"A worker was lost. {gone} Another one starts.")
        self.start(1)


def _log(lines: Lines) -> None:
    for level, text in lines:
        logger.log(level, text)
