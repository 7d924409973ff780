"""The connection to Ray, and what its workers take over from the command's process."""

import contextlib
import importlib.util
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import kerascxr
from kerascxr.cluster.several_workers import AT_ONCE, VARIABLE
from kerascxr.cluster.worker import Place
from kerascxr.config import ResourcesConfig
from kerascxr.runs.atomic import passing_file

logger = logging.getLogger(__name__)

LOCAL = "local"

_BYTES_PER_GB = 10**9
_STORE_BYTES = 80 * 2**20  # Ray's least; configs and lines of text are all that passes through
_TAKEN_OVER = ("TF_", "KERASCXR_", "KERAS_")
_NOT_TAKEN_OVER = (VARIABLE, AT_ONCE)  # of one worker of several

Resources = Mapping[str, float]


def require_ray(cluster: str | None) -> None:
    """Checks that Ray is installed, where a cluster is asked for.

    Raises:
        ValueError: If it is not.
    """
    if cluster is not None and importlib.util.find_spec("ray") is None:
        raise ValueError(
            f"--cluster must have Ray: pip install 'kerascxr[cluster]'. Got cluster={cluster!r}."
        )


@contextlib.contextmanager
def connected(cluster: str) -> Iterator[Any]:
    """Yields the module ``ray``, connected; a connection that is there already is used and kept.

    Ray's usage statistics and dashboard are off, and its log stays in its own files.

    Args:
        cluster: ``LOCAL`` starts Ray on this machine, for as long as the block runs; anything else
            is the address of a cluster.

    Raises:
        ValueError: If Ray is not installed, or the cluster cannot be reached.
        ChildProcessError: If Ray does not start.
    """
    require_ray(cluster)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")  # or Ray advises on it
    import ray

    if ray.is_initialized():
        yield ray
        return
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if cluster == LOCAL:
        logger.info("Starting Ray on this machine, which takes about ten seconds.")
        options |= {"include_dashboard": False, "object_store_memory": _STORE_BYTES}
    try:
        ray.init(address=cluster, **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ValueError(
            f"--cluster must be {LOCAL!r} or the address of a Ray cluster with this version of "
            f"Ray and of Python. Got cluster={cluster!r}: {str(error).partition(chr(10))[0]}"
        ) from error
    except Exception as error:  # of no kind of its own, as when a busy machine takes too long
        raise ChildProcessError(
            f"Ray must start. Got cluster={cluster!r}: {str(error).partition(chr(10))[0]}"
        ) from error
    # There is no public way to keep Ray's own lines on lost workers from standard output.
    ray._private.worker._worker_logs_enabled = False
    try:
        yield ray
    finally:
        ray.shutdown()


def task_options(ray: Any, resources: ResourcesConfig) -> dict[str, Any]:
    """Returns what Ray is told about each task or actor.

    Raises:
        ValueError: If no machine of the cluster has so much.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = resources.gpus
    if gpus is None:
        gpus = 1.0 if any(node.get("GPU", 0) >= 1 for node in nodes) else 0.0
    wanted = {
        "CPU": resources.cpus,
        "GPU": gpus,
        "memory": int(resources.memory_gb * _BYTES_PER_GB),
    }
    if not any(all(node.get(key, 0) >= of for key, of in wanted.items()) for node in nodes):
        has = "; ".join(
            f"{node.get('CPU', 0):g} CPUs, {node.get('GPU', 0):g} GPUs, "
            f"{node.get('memory', 0) / _BYTES_PER_GB:.1f} GB"
            for node in nodes
        )
        raise ValueError(
            f"resources must fit on one machine of the cluster, which has {has}. Got "
            f"cpus={resources.cpus:g}, gpus={gpus:g}, memory_gb={resources.memory_gb:g}."
        )
    return {
        "num_cpus": wanted["CPU"],
        "num_gpus": wanted["GPU"],
        "memory": wanted["memory"],
        "runtime_env": {
            "env_vars": _environment() | {AT_ONCE: str(max(_numbers_at_once(nodes, wanted)))}
        },
    }


def at_once(ray: Any, options: dict[str, Any]) -> int:
    """Returns how many tasks or actors fit on the cluster's machines at once."""
    wanted = {"CPU": options["num_cpus"], "GPU": options["num_gpus"], "memory": options["memory"]}
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return sum(_numbers_at_once(nodes, wanted))


def _numbers_at_once(nodes: Sequence[Resources], wanted: Resources) -> list[int]:
    """Returns how many tasks or actors fit on each machine at once."""
    return [int(min(node.get(key, 0) // of for key, of in wanted.items() if of)) for node in nodes]


def lost(ray: Any, error: Exception) -> Exception | None:
    """Returns what to say of an error of Ray, if it means that a process is gone, else None."""
    if isinstance(error, ray.exceptions.OutOfMemoryError):
        return ChildProcessError("Its process was ended: memory ran out.")
    if isinstance(error, ray.exceptions.RayTaskError):
        return None
    return ChildProcessError("Its process or its machine was ended.")


def _environment() -> dict[str, str]:
    """Returns the variables of this process that decide a run's numbers, and where modules are.

    The number of threads decides last digits, and so, after epochs, more; Ray would set that of
    NumPy's libraries to the CPUs of a task.
    """
    on_linux = hasattr(os, "sched_getaffinity")
    threads = str(len(os.sched_getaffinity(0)) if on_linux else os.cpu_count() or 1)
    own = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(_TAKEN_OVER) and name not in _NOT_TAKEN_OVER
    }
    package = str(Path(kerascxr.__file__).parent.parent)
    paths = [package, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    return {
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", threads),
        "TF_NUM_INTRAOP_THREADS": threads,
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(filter(None, paths))),
    } | own


@contextlib.contextmanager
def this_place(shared: Iterable[Path] = ()) -> Iterator[Place]:
    """Yields where this process runs, for ``run_in_worker``.

    Args:
        shared: The folders that workers write to. A worker that has others of the same paths is
            refused: what it wrote would be lost.
    """
    started = sys.modules["__main__"]
    file = getattr(started, "__file__", None)
    script = None
    if file is not None and getattr(started, "__spec__", None) is None:  # not python -m
        path = Path(file).resolve()
        if path.suffix == ".py" and not path.is_relative_to(Path(kerascxr.__file__).parent):
            script = str(path)
    with contextlib.ExitStack() as files:
        folders = dict.fromkeys(path.absolute() for path in shared)
        passed = [str(files.enter_context(passing_file(folder))) for folder in folders]
        here = os.getcwd()  # noqa: PTH109 (a string to send)
        yield Place(here, script, kerascxr.__version__, tuple(passed))
