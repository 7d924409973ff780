"""Options of what runs on a cluster."""

from dataclasses import dataclass

from kerascxr.config.checks import check


@dataclass(frozen=True)
class ResourcesConfig:
    """What one run of several is counted as on a cluster.

    Attributes:
        cpus: CPU cores of one run, with a cluster. As many runs are at work at once as fit; each
            still computes with as many threads as without a cluster, since they decide its last
            digits.
        gpus: GPUs of one run, also a part of one. By default 1 where the cluster has any.
        memory_gb: Memory of one run, in gigabytes.
    """

    cpus: float = 1.0
    gpus: float | None = None
    memory_gb: float = 2.0

    def __post_init__(self):
        check(self.cpus > 0, "resources.cpus must be positive", cpus=self.cpus)
        check(
            self.gpus is None or self.gpus >= 0,
            "resources.gpus must not be negative",
            gpus=self.gpus,
        )
        check(self.memory_gb > 0, "resources.memory_gb must be positive", memory_gb=self.memory_gb)
