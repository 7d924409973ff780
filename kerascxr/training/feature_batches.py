"""Batches of features, in the order in which images would come."""

import numpy as np
import tensorflow as tf

from kerascxr.data.graphs import do_not_convert
from kerascxr.data.order import WHOLE, Share, index_batches


def mixed_views(views: list[np.ndarray], epoch: int, chosen: np.ndarray) -> np.ndarray:
    """Returns features of images for an epoch, half of them of the images as they are.

    An image is taken as it is in every other epoch, and in those between as one copy after the
    other. In one epoch images differ in this: BatchNorm's statistics would else be those of the
    last epoch's copies.

    Args:
        views: Features of the same images, float16 (n, ...) each: of the images as they are, then
            of their augmented copies, if there are any.
        epoch: The epoch, from 0.
        chosen: int (m,), the images.

    Returns:
        float32 (m, ...).
    """
    turns = epoch + chosen
    copies = 1 + turns // 2 % max(1, len(views) - 1)
    used = np.where((turns % 2 == 1) & (len(views) > 1), copies, 0)
    values = np.empty((len(chosen), *views[0].shape[1:]), np.float32)
    for view in np.unique(used):
        values[used == view] = views[view][chosen[used == view]]
    return values


def feature_batches(
    views: list[np.ndarray],
    labels: np.ndarray,
    batch_size: int,
    *,
    seed: int,
    first_epoch: int = 0,
    balanced: bool = False,
    share: Share = WHOLE,
) -> tf.data.Dataset:
    """Batches features as ``training_batches`` batches images: same seed, same order.

    Args:
        views: See ``mixed_views``.
        labels: int64 (n,).
        batch_size: Features a batch.
        seed: Seed of the order.
        first_epoch: The epoch to begin with.
        balanced: See ``epoch_order``.
        share: The part of each batch that is read.

    Returns:
        Batches of dicts: ``features`` float32 (batch, ...) and ``label`` int64 (batch,).
    """
    shape = views[0].shape[1:]
    targets = tf.constant(labels)

    def read(epoch: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        return mixed_views(views, int(epoch), chosen)

    @do_not_convert
    def fetch(epoch: tf.Tensor, step: tf.Tensor, indices: tf.Tensor) -> dict[str, tf.Tensor]:
        if share.count > 1:
            begin, end = share.rows(tf.size(indices, tf.int64))
            indices = indices[begin:end]
        values = tf.numpy_function(read, [epoch, indices], tf.float32, stateful=False)
        values = tf.ensure_shape(values, (None, *shape))
        return {"features": values, "label": tf.gather(targets, indices)}

    batches = index_batches(
        labels, batch_size, seed=seed, first_epoch=first_epoch, balanced=balanced
    )
    return batches.map(fetch, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
