"""Runs the parts of a command as tasks: a part that fails or is killed ends no other."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kerascxr.cluster.ray_cluster import at_once, connected, lost, task_options, this_place
from kerascxr.cluster.worker import Lines, run_in_worker
from kerascxr.config import ResourcesConfig
from kerascxr.names import counted
from kerascxr.runs.states import RunState, last_logged, log_size, states_table

logger = logging.getLogger(__name__)

_ATTEMPTS = 3
_POLL_SECONDS = 1.0
_TABLE_SECONDS = 60.0


def _always() -> bool:
    return True


@dataclass(frozen=True, eq=False)
class Part:
    """A part of a command.

    Attributes:
        name: Its name.
        folder: Its run folder. It must be on a disk that all machines share.
        call: Returns the function to call in a worker, and its arguments; called when it starts.
        ready: Whether it can start. Where no part is at work, the next one starts in any case.
        quiet: Whether what it logs is for its own log alone.
    """

    name: str
    folder: Path
    call: Callable[[], tuple[Callable[..., None], tuple[Any, ...]]]
    ready: Callable[[], bool] = _always
    quiet: bool = False


def run_parts(
    parts: Sequence[Part], runs: Sequence[RunState], cluster: str, resources: ResourcesConfig
) -> dict[str, Exception]:
    """Runs parts, as many at once as fit, and logs each when it has ended, with a table of all.

    A part whose worker is killed starts again, twice at most, and takes up what its run folder
    has.

    Args:
        parts: What to run.
        runs: The rows of the table: the parts, and what is done or left out. Their states are set.
        cluster: See ``connected``.
        resources: What each part takes.

    Returns:
        The errors of the parts that failed, by their names.

    Raises:
        ValueError: If the cluster cannot be used, or no machine of it has the resources.
    """
    errors: dict[str, Exception] = {}
    if not parts:
        return errors
    states, before = {run.name: run for run in runs}, {}
    for part in parts:
        before[part.name] = log_size(part.folder)

    def log_table() -> None:
        for part in parts:
            last = last_logged(part.folder, before[part.name])
            if states[part.name].state.startswith(("waiting", "running")) and last:
                states[part.name].state = f"running: {last}"
        logger.info(f"\n{states_table(runs)}")

    with connected(cluster) as ray:
        options = task_options(ray, resources)
        logger.info(f"{counted(len(parts), 'run')} to do, {at_once(ray, options)} at once.")
        for number, ended in enumerate(_ended(ray, options, parts, log_table), 1):
            name = ended.part.name
            logger.info(f"\n=== {number} of {len(parts)}: {name} ===")
            for level, text in ended.lines:
                logger.log(logging.DEBUG if ended.part.quiet else level, text)
            states[name].state = "done"
            if ended.error is not None:
                errors[name] = ended.error
                reason = " ".join(str(ended.error).split())
                states[name].state = f"failed: {reason}"
                logger.info(f"{name} failed: {reason}")
            log_table()
    return errors


def run_all_parts(parts: Sequence[Part], cluster: str, resources: ResourcesConfig) -> None:
    """Does what ``run_parts`` does, for parts that are needed all.

    Raises:
        Exception: The error of the first part that failed, after all have ended.
    """
    runs = [RunState(part.name, part.folder) for part in parts]
    for error in run_parts(parts, runs, cluster, resources).values():
        raise error


@dataclass(frozen=True)
class _Ended:
    part: Part
    error: Exception | None
    lines: Lines


def _ended(
    ray: Any, options: dict[str, Any], parts: Sequence[Part], log_table: Callable[[], None]
) -> Iterator[_Ended]:
    """Runs the parts; yields each when it has ended for good."""
    task = ray.remote(run_in_worker).options(**options, max_retries=0)
    waiting, attempts = list(parts), dict.fromkeys(parts, 0)
    running: dict[Any, Part] = {}
    logged = time.monotonic()
    with this_place(part.folder.parent for part in parts) as place:
        while waiting or running:
            for part in [part for part in waiting if part.ready()] or waiting[: not running]:
                waiting.remove(part)
                attempts[part] += 1
                running[task.remote(place, *part.call())] = part
            done, _ = ray.wait(list(running), timeout=_POLL_SECONDS)
            for reference in done:
                part = running.pop(reference)
                ended, is_lost = _result(ray, reference, part)
                if is_lost and attempts[part] < _ATTEMPTS:
                    logger.warning(f"{part.name}: {ended.error} It starts again.")
                    waiting.append(part)
                    continue
                yield ended
                logged = time.monotonic()
            if time.monotonic() - logged > _TABLE_SECONDS:
                log_table()
                logged = time.monotonic()


def _result(ray: Any, reference: Any, part: Part) -> tuple[_Ended, bool]:
    """Returns how a part ended, and whether it lost its worker."""
    try:
        error, lines = ray.get(reference)
    except ray.exceptions.RayError as failed:
        gone = lost(ray, failed)
        # Without a lost process, the error is outside of the function.
        return _Ended(part, gone or RuntimeError(str(failed.cause)), []), gone is not None
    return _Ended(part, error, lines), False
