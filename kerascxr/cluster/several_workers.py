"""Several workers that train one model: which of them this process is, by ``TF_CONFIG``."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass

from kerascxr.config.checks import check

VARIABLE = "TF_CONFIG"
AT_ONCE = "KERASCXR_AT_ONCE"
"""How many processes of one command are at work on this machine; set where there are several."""

_FORM = (
    f'{VARIABLE} must be {{"cluster": {{"worker": ["host:port", ...]}}, '
    '"task": {"type": "worker", "index": 0}}'
)
_LOOPBACK = ("127.0.0.1", "localhost")


class LostWorkerError(RuntimeError):
    """Another worker ended, or cannot be reached any more."""


@dataclass(frozen=True)
class WorkerPlace:
    """Which worker a process is. The first one is the chief, which writes the run folder.

    Attributes:
        index: From 0.
        hosts: The workers' hosts, in order.
    """

    index: int
    hosts: tuple[str, ...]

    @property
    def count(self) -> int:
        """The number of workers."""
        return len(self.hosts)

    @property
    def is_chief(self) -> bool:
        """Whether it is the first one."""
        return self.index == 0

    @property
    def index_on_host(self) -> int:
        """The number of workers on the same host before this one."""
        return self.hosts[: self.index].count(self.hosts[self.index])

    @property
    def count_on_host(self) -> int:
        """The number of workers on the same host."""
        return self.hosts.count(self.hosts[self.index])

    @property
    def is_local(self) -> bool:
        """Whether all workers are on this machine, as those of ``--workers``."""
        return set(self.hosts) <= set(_LOOPBACK)


def this_worker(environment: Mapping[str, str] = os.environ) -> WorkerPlace | None:
    """Returns which worker this process is; None where it trains alone.

    Args:
        environment: Its variables. ``TF_CONFIG`` is what TensorFlow, Kubernetes' operators and Ray
            Train use.

    Raises:
        ValueError: If ``TF_CONFIG`` is malformed, or names tasks other than chief and workers.
    """
    text = environment.get(VARIABLE, "").strip()
    if not text:
        return None
    try:
        config = json.loads(text)
        cluster, task = config.get("cluster") or {}, config.get("task") or {}
        if not cluster:
            return None
        jobs = {job: list(map(str, hosts)) for job, hosts in cluster.items()}
        kind, index = str(task["type"]), int(task["index"])
        inside = 0 <= index < len(jobs[kind])
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ValueError(f"{_FORM}. Got {VARIABLE}={text[:200]}.") from None
    check(
        inside and set(jobs) <= {"chief", "worker"} and len(jobs.get("chief", [])) <= 1,
        _FORM,
        TF_CONFIG=text[:200],
    )
    first = jobs.get("chief", [])
    hosts = [address.rpartition(":")[0] for address in (*first, *jobs.get("worker", []))]
    place = WorkerPlace(index + (len(first) if kind == "worker" else 0), tuple(hosts))
    return place if place.count > 1 else None


def local_config(ports: list[int], index: int) -> str:
    """Returns ``TF_CONFIG`` of one of several workers on this machine."""
    workers = [f"127.0.0.1:{port}" for port in ports]
    return json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}})
