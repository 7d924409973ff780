"""The epochs of a fit on several workers, in place of Keras' ``fit``."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from kerascxr.training.global_batch import check_layers, on_global_batch
from kerascxr.training.workers import Workers, all_sum


class Fitted(Protocol):
    """What is fitted; ``Fitting`` is one. Its batches are this worker's shares."""

    @property
    def model(self) -> keras.Model: ...  # noqa: D102
    @property
    def batches(self) -> Callable[[int], tf.data.Dataset]: ...  # noqa: D102
    @property
    def steps(self) -> int: ...  # noqa: D102
    @property
    def loss(self) -> Any: ...  # noqa: D102
    @property
    def metrics(self) -> list[keras.metrics.Metric]: ...  # noqa: D102


def fit_on_workers(
    fitted: Fitted,
    workers: Workers,
    callbacks: Sequence[keras.callbacks.Callback],
    epochs: range,
) -> None:
    """Trains a compiled model as Keras' ``fit`` does, with other workers.

    A step's loss is the sum over all workers' images divided by their number, its gradient is
    that of all of them, and it is clipped after it was summed.

    Args:
        fitted: The model and its batches; the loss is one, with a reduction.
        workers: All of them must call this, with equal models.
        callbacks: Keras callbacks. They get the loss of all workers' images; other metrics are
            those of this worker's images within an epoch, and of all images at its end.
        epochs: The epochs, from the first to train.

    Raises:
        LostWorkerError: If another worker is lost.
        ValueError: If the model has a layer that several workers cannot train.
    """
    model = fitted.model
    check_layers(model)
    group = keras.callbacks.CallbackList(list(callbacks), model=model, epochs=epochs.stop)
    batches = fitted.batches(epochs.start)
    # Of their own: Keras does not reset the model's before its first evaluation has built them.
    metrics = [type(item).from_config(item.get_config()) for item in fitted.metrics]
    step = _step(fitted, metrics, workers, batches.element_spec)
    iterator = iter(batches)
    model.stop_training = False
    group.on_train_begin()
    for epoch in epochs:
        for metric in metrics:
            metric.reset_state()
        losses, images = 0.0, 0.0
        group.on_epoch_begin(epoch)
        for index in range(fitted.steps):
            group.on_train_batch_begin(index)
            with workers.together():
                loss, total = (float(value) for value in step(*next(iterator)))
            losses, images = losses + loss, images + total
            group.on_train_batch_end(index, _logs(losses / images, metrics))
        for metric in metrics:
            for variable in metric.variables:  # sums and counts
                variable.assign(workers.total(np.array(variable)))
        group.on_epoch_end(epoch, _logs(losses / images, metrics))
        if model.stop_training:
            break
    model.optimizer.finalize_variable_values(model.trainable_variables)
    group.on_train_end()


def _logs(loss: float, metrics: list[keras.metrics.Metric]) -> dict[str, float]:
    logs = {"loss": loss} | {item.name: float(item.result()) for item in metrics}
    return dict(sorted(logs.items()))  # as Keras gives them


def _step(
    fitted: Fitted, metrics: list[keras.metrics.Metric], workers: Workers, specification: Any
) -> Callable[..., Any]:
    """Returns the training step: a share (x, y[, weight]) to the losses' sum and their number."""
    model, place = fitted.model, workers.place
    summed = type(fitted.loss).from_config(fitted.loss.get_config() | {"reduction": "sum"})

    def of_share(x: Any, y: Any, weight: Any = None) -> tuple[Any, Any, Any]:
        count = tf.cast(tf.shape(y)[0], tf.float32)
        images = all_sum(count)
        total = tf.cast(images, tf.int32)
        begin = place.index * total // place.count
        with tf.GradientTape() as tape:
            with on_global_batch(model, begin, total):
                logits = model(x, training=True)
            loss = summed(y, logits, weight)
            mean = loss / images
            if model.losses:  # of the weights alone: each worker has the same
                mean += tf.add_n(model.losses) / place.count
            scaled = model.optimizer.scale_loss(mean)
        gradients = tape.gradient(scaled, model.trainable_variables)
        for metric in metrics:
            metric.update_state(y, logits)
        loss, *gradients = all_sum([mean * images, *gradients])
        return loss, images, gradients

    @tf.function(input_signature=list(specification), autograph=False)
    def step(*share: Any) -> tuple[Any, Any]:
        loss, images, gradients = workers.strategy.run(of_share, args=share)
        # Outside of the strategy: Keras would sum the gradients again.
        model.optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss, images

    return step
