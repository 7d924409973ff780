"""The connection to the other workers that train the same model, and what they agree on.

A worker computes its share of each batch with variables of its own. All start from the chief's
values and apply the same summed gradients, so they stay equal without being mirrored: TensorFlow's
strategy is used for its connection, its collective operations and its notice of lost workers.
"""

import contextlib
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf

from kerascxr.cluster.several_workers import AT_ONCE, LostWorkerError, WorkerPlace
from kerascxr.config.checks import check
from kerascxr.data.order import Share

logger = logging.getLogger(__name__)

_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
)
_BYTE_BASE = 2.0**20  # float32 holds two numbers below it exactly

_connected: "Workers | None" = None


class Workers:
    """The workers, as one of them has them.

    Attributes:
        place: Which of them this process is.
        strategy: TensorFlow's strategy.
    """

    def __init__(self, place: WorkerPlace, strategy: tf.distribute.Strategy):
        self.place = place
        self.strategy = strategy

    @property
    def share(self) -> Share:
        """The part of each batch that this worker computes."""
        return Share(self.place.index, self.place.count)

    @property
    def is_chief(self) -> bool:
        """Whether this process writes the run folder."""
        return self.place.is_chief

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Is around whatever all workers compute together.

        Raises:
            LostWorkerError: In place of TensorFlow's error, if another worker is lost.
        """
        try:
            yield
        except _LOST as error:
            logger.debug("A worker was lost.", exc_info=True)
            raise LostWorkerError(
                "another worker has ended or cannot be reached any more."
            ) from error

    def total(self, values: np.ndarray) -> np.ndarray:
        """Returns the sum of all workers' arrays, float32; all must call it, with one shape."""
        flat = np.asarray(values, np.float32)
        with self.together():
            return self._sum(flat.reshape(-1)).numpy().reshape(flat.shape)

    def of_chief(self, value: Any) -> Any:
        """Returns the chief's value, which JSON can hold; all must call it."""
        return json.loads(self._bytes_of_chief(json.dumps(value).encode()))

    def take_over(self, variables: Sequence[Any]) -> None:
        """Gives this worker's variables the chief's values; all must call it."""
        values = [(variable, np.array(variable)) for variable in variables]
        reals = [pair for pair in values if pair[1].dtype == np.float32]
        others = [pair for pair in values if pair[1].dtype != np.float32]
        flat = np.concatenate([value.reshape(-1) for _, value in reals] or [np.zeros(0)])
        flat = self.total(flat if self.is_chief else np.zeros_like(flat))
        places = np.cumsum([value.size for _, value in reals])[:-1]
        for (variable, value), part in zip(reals, np.split(flat, places), strict=True):
            variable.assign(part.reshape(value.shape))
        for variable, value in others:  # counters and seeds
            data = self._bytes_of_chief(value.tobytes())
            variable.assign(np.frombuffer(data, value.dtype).reshape(value.shape))

    def require_equal(self, what: Mapping[str, str]) -> None:
        """Checks that all workers have the chief's values.

        Args:
            what: What they must have, by name; "" is as good as no such name.

        Raises:
            ValueError: If some have others, on each worker.
        """
        of_chief = self.of_chief(dict(what))
        more = [value for name, value in what.items() if name not in of_chief]
        differs = [what.get(name, "") != value for name, value in of_chief.items()]
        names = [*of_chief, "what the chief has not"]  # all sum up as many
        counts = dict(zip(names, self.total(np.array([*differs, any(more)])), strict=True))
        changed = [f"{name} ({int(count)} of them)" for name, count in counts.items() if count]
        check(
            not changed,
            "all workers must have the chief's images, weights, packages, devices and number types",
            others_than_the_chiefs=", ".join(changed),
        )

    def _bytes_of_chief(self, data: bytes) -> bytes:
        # As float32, which every way of summing has: a sum with zeros is exact.
        size = self.total(np.array(divmod(len(data), _BYTE_BASE)) * self.is_chief)
        values = np.zeros(int(size[0] * _BYTE_BASE + size[1]), np.float32)
        if self.is_chief:
            values[:] = np.frombuffer(data, np.uint8)
        return self.total(values).astype(np.uint8).tobytes()

    @cached_property
    def _sum(self) -> Any:
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)], autograph=False)
        def reduce(values: tf.Tensor) -> tf.Tensor:
            return self.strategy.run(all_sum, args=(values,))

        return reduce


def all_sum(values: Any) -> Any:
    """Returns the sum of all workers' tensors; within ``strategy.run``. It has a gradient."""
    context = tf.distribute.get_replica_context()
    placed = tf.nest.map_structure(tf.identity, values)  # an argument as it is has no device
    return context.all_reduce(tf.distribute.ReduceOp.SUM, placed)


def connect(place: WorkerPlace) -> Workers:
    """Connects to the other workers and waits for them; the first thing TensorFlow does.

    Args:
        place: Which worker this process is.

    Returns:
        The workers; ``workers()`` gives them from now on. A process connects once.

    Raises:
        ValueError: If more workers than GPUs are on a machine that has some, or this worker's port
            is taken.
    """
    global _connected
    if _connected is not None:
        return _connected
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        check(
            not place.is_local or place.count <= len(gpus),
            "workers on one machine must not be more than its GPUs (CUDA_VISIBLE_DEVICES=-1 "
            "computes on the CPU)",
            workers=place.count,
            gpus=len(gpus),
        )
        own = gpus[place.index_on_host % len(gpus)]  # one of them, or that of a scheduler's task
        tf.config.set_visible_devices(own, "GPU")
        tf.config.experimental.set_memory_growth(own, True)
    os.environ[AT_ONCE] = str(place.count_on_host)
    logger.info(f"Worker {place.index + 1} of {place.count}: connecting to the others.")
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    except tf.errors.UnknownError as error:  # of the server
        raise ValueError(
            "this worker's port, that of its entry in TF_CONFIG, must be free on this machine. Got "
            f"worker={place.index + 1} of {place.count}: {error.message}."
        ) from error
    _connected = Workers(place, strategy)
    return _connected


def workers() -> Workers | None:
    """Returns the workers that this process is connected to; None where it trains alone."""
    return _connected
