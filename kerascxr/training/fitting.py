"""The fit that both trainers share: optimizer, callbacks, going on after a kill, the best epoch."""

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from kerascxr.config import OptimizerConfig, PretrainingConfig, TrainingConfig
from kerascxr.runs.folder import RunFolder
from kerascxr.runs.reading import MAY_DIFFER
from kerascxr.training.callbacks import (
    AveragedWeights,
    EpochBar,
    MetricTable,
    NonFiniteLossError,
    Progress,
    StopOnNonFinite,
    Validate,
)
from kerascxr.training.precision import FLOAT32, StepPrecision
from kerascxr.training.runtime import Runtime, versions
from kerascxr.training.worker_loop import fit_on_workers
from kerascxr.training.workers import Workers

logger = logging.getLogger(__name__)


@keras.saving.register_keras_serializable(package="kerascxr")
class WarmupCosineDecay(keras.optimizers.schedules.LearningRateSchedule):
    """A linear rise from 0, then a cosine decay to 0: the values of Keras' ``CosineDecay``.

    Keras' own branches on the step, and AdamW evaluates the schedule once for each variable that
    decays: a branch in the graph for each took a tenth of the time to prepare a U-Net's training.
    """

    def __init__(self, learning_rate: float, warmup_steps: int, decay_steps: int):
        """Keeps the figures.

        Args:
            learning_rate: The highest rate.
            warmup_steps: Steps of the rise, at least 0.
            decay_steps: Steps of the decay, above 0.
        """
        super().__init__()
        self.learning_rate = learning_rate
        self.warmup_steps = warmup_steps
        self.decay_steps = decay_steps

    def __call__(self, step: Any) -> Any:
        """Returns the learning rate of a step counted from 0, a float32 scalar."""
        step = ops.cast(step, "float32")
        done = ops.minimum(step - self.warmup_steps, self.decay_steps) / self.decay_steps
        decayed = self.learning_rate * (0.5 * (1.0 + ops.cos(math.pi * done)))
        if not self.warmup_steps:
            return decayed
        risen = self.learning_rate * (step / self.warmup_steps)
        return ops.where(step < self.warmup_steps, risen, decayed)

    def get_config(self) -> dict[str, Any]:
        """Returns what builds an equal schedule."""
        return {
            "learning_rate": self.learning_rate,
            "warmup_steps": self.warmup_steps,
            "decay_steps": self.decay_steps,
        }


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
    schedule: Any = WarmupCosineDecay(config.learning_rate, warmup, total - warmup)
    optimizer = keras.optimizers.AdamW(
        schedule,
        weight_decay=config.weight_decay,
        global_clipnorm=config.clip_norm or None,
        use_ema=config.ema > 0,
        ema_momentum=config.ema,
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


@dataclass(frozen=True)
class Fitting:
    """What is fitted, and to what.

    Attributes:
        model: The model to train.
        batches: Returns endless training batches (x, y[, weight]) from an epoch on.
        steps: Batches per epoch.
        validate: Returns the validation metrics of the model.
        monitor: The one of them that picks the best epoch.
        loss: The loss.
        metrics: Keras metrics of the training batches.
        shown: The metrics in the line printed for an epoch.
        precision: What a training step computes in; validation is in float32.
    """

    model: keras.Model
    batches: Callable[[int], tf.data.Dataset]
    steps: int
    validate: Callable[[], dict[str, float]]
    monitor: str
    loss: keras.losses.Loss | list[keras.losses.Loss]
    metrics: list[keras.metrics.Metric]
    shown: tuple[str, ...]
    precision: StepPrecision = FLOAT32

    def validate_in_float32(self) -> dict[str, float]:
        """Returns the validation metrics, within a training step's precision."""
        with self.precision.paused():
            return self.validate()


@dataclass(frozen=True)
class Session:
    """The run that a fitting belongs to.

    Attributes:
        config: Epochs, patience, optimizer.
        runtime: Devices.
        folder: The run folder.
        identity: What the numbers depend on besides the config, e.g. {"data": digest}; an
            unfinished run resumes only with the same.
        stage: Name of a training before the main one; its checkpoints and tables bear it.
    """

    config: TrainingConfig | PretrainingConfig
    runtime: Runtime
    folder: RunFolder
    identity: Mapping[str, str]
    stage: str = ""


def identity_of(data: str, regime: Mapping[str, Any], weights: str = "") -> dict[str, str]:
    """Returns what a run's numbers depend on besides its config.

    Args:
        data: Digest of the data fingerprint.
        regime: From ``regime_of``; its devices and the number of workers may change.
        weights: SHA-256 of the starting weights; "" for random ones.
    """
    return {
        "data": data,
        "starting weights": weights,
        **{key: str(value) for key, value in regime.items() if key not in MAY_DIFFER},
        **versions(),
    }


def fit(fitting: Fitting, session: Session) -> Progress:
    """Trains a model, or resumes an interrupted training, and sets its best weights.

    Args:
        fitting: What is fitted.
        session: The run that it belongs to.

    Returns:
        The epochs' rows and the best epoch.

    Raises:
        LostWorkerError: If another worker is lost, where several train together.
        NonFiniteLossError: If the loss, or every epoch's validation metric, is NaN or infinite.
        ValueError: If the data, the starting weights, the training regime or the packages have
            changed since the run began, or several workers do not have the same.
    """
    model, config, runtime, folder = (
        fitting.model,
        session.config,
        session.runtime,
        session.folder,
    )
    steps, stage = fitting.steps, session.stage
    epochs = config.epochs
    assert epochs is not None
    with runtime.scope(), fitting.precision.step(model):
        optimizer = build_optimizer(config.optimizer, epochs, steps)
        model.compile(
            optimizer=optimizer,
            loss=fitting.loss,
            metrics=fitting.metrics,
            jit_compile=runtime.jit_compile,
        )
        model.optimizer.build(model.trainable_variables)
    workers = runtime.workers
    is_chief = runtime.is_chief
    mode = "min" if config.monitor == "loss" else "max"
    monitor = fitting.monitor
    progress = Progress(
        folder.checkpoint / stage,
        f"val_{monitor}",
        mode,
        config.patience,
        session.identity,
        config.runtime.checkpoint_seconds if is_chief else math.inf,
    )
    progress.set_model(model)
    resumed = progress.restore()
    if workers is not None:
        # What the config leaves to the machine may be another on a machine with a GPU.
        planned = {"epochs": str(epochs), "parameters": str(model.count_params())}
        workers.require_equal({**session.identity, **planned})
        resumed = _begin_together(progress, workers, resumed)
    if resumed:
        logger.info(f"Going on after epoch {progress.next_epoch} of {epochs}.")
    if not progress.complete:
        first = progress.next_epoch
        stopped = first > 0 and first - 1 - progress.best_epoch >= config.patience
        table = MetricTable(folder.path, progress, epochs, fitting.shown, stage)
        callbacks: list[keras.callbacks.Callback] = [StopOnNonFinite()]
        if config.optimizer.ema:
            callbacks.append(AveragedWeights(in_model=resumed))
        validate = fitting.validate_in_float32
        if workers is not None:
            validate = partial(_chiefs_figures, workers, validate)
        callbacks.append(Validate(validate))
        if config.runtime.tensorboard and is_chief:
            callbacks.append(
                keras.callbacks.TensorBoard(folder.path / "tensorboard" / stage, write_graph=False)
            )
        clock = keras.callbacks.LambdaCallback(on_epoch_end=lambda *of: folder.write_timing())
        callbacks += [EpochBar(steps, epochs), progress, table, clock] if is_chief else [progress]
        if first < epochs and not stopped:
            with fitting.precision.step(model):
                if workers is not None:
                    fit_on_workers(fitting, workers, callbacks, range(first, epochs))
                else:
                    model.fit(
                        fitting.batches(first),
                        initial_epoch=first,
                        epochs=epochs,
                        steps_per_epoch=steps,
                        callbacks=callbacks,
                        shuffle=False,
                        verbose=0,  # Keras' bar would not end before the line of an epoch
                    )
        if is_chief:
            table.write()
            progress.finish()
    if is_chief:
        progress.restore_best()
    best = progress.rows[progress.best_epoch]
    figure = best[f"val_{monitor}"]
    if not math.isfinite(figure):
        raise NonFiniteLossError(
            f"the validation {monitor} must be finite in some epoch. Got {figure} in all "
            f"{len(progress.rows)} epochs; try a lower --optimizer.learning_rate or "
            "--runtime.precision float32."
        )
    logger.info(
        f"Best epoch {progress.best_epoch + 1} of {len(progress.rows)}: "
        f"validation {monitor} {figure:.4f}."
    )
    return progress


def _begin_together(progress: Progress, workers: Workers, resumed: bool) -> bool:
    """Gives all workers the chief's variables and state; returns whether it resumes a training."""
    state = {"progress": progress.state(), "resumed": resumed}
    state = workers.of_chief(state)
    if not workers.is_chief:
        progress.take_over(state["progress"])
    workers.take_over(progress.variables())
    return bool(state["resumed"])


def _chiefs_figures(workers: Workers, validate: Callable[[], dict[str, float]]) -> dict[str, float]:
    """Validates on the chief: all choose the same best epoch, and stop after the same one."""
    figures = validate() if workers.is_chief else {}
    names = workers.of_chief({name: repr(float(value)) for name, value in figures.items()})
    return {name: float(value) for name, value in names.items()}
