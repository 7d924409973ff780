"""The fit that both trainers share: optimizer, callbacks, going on after a kill, the best epoch."""

import logging
import math
import sys
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from kerascxr.config import OptimizerConfig, TrainingConfig
from kerascxr.runs.folder import RunFolder
from kerascxr.training.callbacks import MetricTable, Progress, StopOnNonFinite, Validate
from kerascxr.training.runtime import Runtime

logger = logging.getLogger(__name__)


def build_optimizer(config: OptimizerConfig, epochs: int, steps: int) -> keras.optimizers.Optimizer:
    """Returns AdamW with a linear warm-up and a cosine decay to zero over the planned epochs.

    Args:
        config: Rates.
        epochs: Epochs planned.
        steps: Steps an epoch.

    Source:
        Loshchilov and Hutter, Decoupled Weight Decay Regularization, ICLR 2019.
    """
    total = epochs * steps
    warmup = min(round(config.warmup_epochs * steps), total - 1)
    schedule: Any = keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else config.learning_rate,
        decay_steps=total - warmup,
        warmup_target=config.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    optimizer = keras.optimizers.AdamW(
        schedule,
        weight_decay=config.weight_decay,
        global_clipnorm=config.clip_norm or None,
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def fit(
    model: keras.Model,
    batches: Callable[[int], tf.data.Dataset],
    steps: int,
    validate: Callable[[], dict[str, float]],
    *,
    loss: keras.losses.Loss,
    metrics: list[keras.metrics.Metric],
    shown: tuple[str, ...],
    identity: str,
    config: TrainingConfig,
    runtime: Runtime,
    folder: RunFolder,
    stage: str = "",
) -> Progress:
    """Trains a model, or goes on with a training that was cut off, and gives it its best weights.

    Args:
        model: What to train.
        batches: Returns the training batches (x, y[, weight]) without end, from an epoch on.
        steps: Batches an epoch.
        validate: Returns the validation figures of the model as it is; ``config.monitor`` is one.
        loss: The loss.
        metrics: What Keras reports of training batches.
        shown: Which figures an epoch's printed line has.
        identity: Names the data; an unfinished run goes on only with the same.
        config: Epochs, patience, optimizer.
        runtime: Devices.
        folder: The run folder.
        stage: Name of a training before the main one; its checkpoints and tables bear it.

    Returns:
        The epochs' rows and the best epoch.

    Raises:
        NonFiniteLossError: If the loss becomes NaN or infinite.
        ValueError: If the data have changed since the run began.
    """
    epochs = config.epochs
    assert epochs is not None
    with runtime.scope():
        optimizer = build_optimizer(config.optimizer, epochs, steps)
        model.compile(
            optimizer=optimizer, loss=loss, metrics=metrics, jit_compile=runtime.jit_compile
        )
        model.optimizer.build(model.trainable_variables)
    mode = "min" if config.monitor == "loss" else "max"
    progress = Progress(
        folder.checkpoint / stage,
        f"val_{config.monitor}",
        mode,
        config.patience,
        identity,
        config.runtime.checkpoint_seconds,
    )
    progress.set_model(model)
    if progress.restore():
        logger.info(f"Going on after epoch {progress.next_epoch} of {epochs}.")
    if not progress.complete:
        first = progress.next_epoch
        stopped = first > 0 and first - 1 - progress.best_epoch >= config.patience
        table = MetricTable(folder.path, progress, epochs, shown, stage)
        callbacks: list[keras.callbacks.Callback] = [StopOnNonFinite(), Validate(validate)]
        if config.runtime.tensorboard:
            callbacks.append(
                keras.callbacks.TensorBoard(folder.path / "tensorboard" / stage, write_graph=False)
            )
        callbacks += [progress, table]
        if first < epochs and not stopped:
            model.fit(
                batches(first),
                initial_epoch=first,
                epochs=epochs,
                steps_per_epoch=steps,
                callbacks=callbacks,
                shuffle=False,
                verbose=1 if sys.stdout.isatty() else 0,
            )
        table.write()
        progress.finish()
    progress.restore_best()
    best = progress.rows[progress.best_epoch]
    figure = best[f"val_{config.monitor}"]
    assert math.isfinite(figure)
    logger.info(
        f"Best epoch {progress.best_epoch + 1} of {len(progress.rows)}: "
        f"validation {config.monitor} {figure:.4f}."
    )
    return progress
