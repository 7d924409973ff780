"""The kernels that TensorFlow's profiler has recorded: what tools and tests share."""

import collections
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

KINDS = ("products", "depthwise", "other layers", "optimizer", "batches")


class Kernel(NamedTuple):
    """A kernel that ran once.

    Attributes:
        scope: Its operation's name in the graph, as "gradient_tape/tiny/conv_1/Conv2DBackprop...".
        name: The kernel's own, as "_MklNativeConv2D".
        seconds: How long it took, waiting for its threads included.
    """

    scope: str
    name: str
    seconds: float


def recorded_kernels(folder: Path) -> Iterator[Kernel]:
    """Yields the kernels of the one trace that ``tf.profiler.experimental`` wrote into a folder."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    (path,) = folder.rglob("*.xplane.pb")
    space = xplane_pb2.XSpace()
    space.ParseFromString(path.read_bytes())
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                scope, _, name = plane.event_metadata[event.metadata_id].name.rpartition(":")
                if name.isidentifier() and scope.strip(":") == scope != "":
                    yield Kernel(scope, name, event.duration_ps / 1e12)


def kernel_seconds(kernels: Iterable[Kernel], steps: int) -> dict[str, float]:
    """Returns the seconds of a step's kernels by ``KINDS``, each at the shortest of its runs.

    Kernels that run at once wait for the same cores, so the sum may exceed the step's time.

    Args:
        kernels: Of Keras' training steps with AdamW. Those outside a step read batches.
        steps: How many steps they are of.
    """
    runs: dict[tuple[str, str], list[float]] = collections.defaultdict(list)
    for kernel in kernels:
        runs[kernel.scope, kernel.name].append(kernel.seconds)
    seconds = dict.fromkeys(KINDS, 0.0)
    for (scope, name), taken in runs.items():
        if not scope.startswith("StatefulPartitionedCall/"):
            kind = "batches"
        elif "DepthwiseConv" in name:
            kind = "depthwise"
        elif "Conv2D" in name or "MatMul" in name:
            kind = "products"
        else:
            kind = "optimizer" if "/adam_w/" in scope else "other layers"
        seconds[kind] += min(taken) * len(taken) / steps
    return seconds
