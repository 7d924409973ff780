"""The order in which an epoch takes the images: a function of the seed and the epoch alone."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from kerascxr.data.graphs import do_not_convert


@dataclass(frozen=True)
class Share:
    """The part of each batch that one of several workers computes: rows next to each other.

    Attributes:
        index: The worker, from 0.
        count: The number of workers.
    """

    index: int = 0
    count: int = 1

    def rows(self, size: Any) -> tuple[Any, Any]:
        """Returns the first row of a batch and the one behind the last; they may be the same.

        Args:
            size: Rows of the whole batch, an integer or an integer tensor.
        """
        return self.index * size // self.count, (self.index + 1) * size // self.count


WHOLE = Share()
"""All of each batch: one worker."""


def epoch_order(labels: np.ndarray, seed: int, epoch: int, balanced: bool = False) -> np.ndarray:
    """Returns the order of the images in an epoch.

    Args:
        labels: int (n,), each image's class.
        seed: The run's seed.
        epoch: The epoch, from 0; it and the seed settle the order.
        balanced: Whether each class is drawn equally often, its images in turn: images of large
            classes are left out for an epoch, those of small ones come again.

    Returns:
        int64 (n,), indices.
    """
    random = np.random.default_rng([seed, epoch])
    if not balanced:
        return random.permutation(len(labels))
    kinds = np.unique(labels)
    share = -(-len(labels) // len(kinds))
    columns = []
    for kind in kinds:
        members = np.flatnonzero(labels == kind)
        rounds = [random.permutation(members) for _ in range(-(-share // len(members)))]
        columns.append(np.concatenate(rounds)[:share])
    # One of each class in turn, so that every batch is balanced too.
    return np.stack(columns, axis=1).reshape(-1)[: len(labels)]


def index_batches(
    labels: np.ndarray,
    batch_size: int,
    *,
    seed: int,
    first_epoch: int = 0,
    balanced: bool = False,
) -> tf.data.Dataset:
    """Batches indices in ``epoch_order``, epoch after epoch without end.

    Args:
        labels: int64 (n,).
        batch_size: Indices a batch.
        seed: Seed of the order.
        first_epoch: The epoch to begin with.
        balanced: See ``epoch_order``.

    Returns:
        (epoch, step in the epoch, indices): int64 scalars and int64 (batch,).
    """

    @do_not_convert
    def one_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
        order = tf.numpy_function(
            lambda number: epoch_order(labels, seed, int(number), balanced),
            [epoch],
            tf.int64,
            stateful=False,
        )
        order = tf.ensure_shape(order, (len(labels),))
        batches = tf.data.Dataset.from_tensor_slices(order).batch(batch_size).enumerate()
        return batches.map(lambda step, chosen: (epoch, step, chosen))

    return tf.data.Dataset.range(first_epoch, 2**31).flat_map(one_epoch)
