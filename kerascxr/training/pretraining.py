"""Pretrains a backbone on drawn X-rays: it learns where structures and findings lie."""

import dataclasses
import logging
from typing import Any

import keras
import numpy as np
from keras import layers
from sklearn.metrics import roc_auc_score

from kerascxr.config import PretrainingConfig
from kerascxr.data.phantom.drawing import STRUCTURES, VERSION
from kerascxr.models.backbones import BACKBONES
from kerascxr.models.layers import (
    FusedBatchNormalization,
    StochasticDepth,
    SwitchableBatchNormalization,
)
from kerascxr.models.weights import load_weights
from kerascxr.names import look_up
from kerascxr.runs.atomic import replacing
from kerascxr.runs.folder import RunFolder
from kerascxr.training.drawn_batches import CELLS, FINDINGS, DrawnBatches, Exaggeration
from kerascxr.training.fitting import Fitting, Session, fit, identity_of
from kerascxr.training.precision import StepPrecision
from kerascxr.training.runtime import Runtime, as_set, environment, regime_of, set_up

logger = logging.getLogger(__name__)

WEIGHTS = "backbone.weights.h5"

_FINDING_WEIGHT = 3.0  # of a finding's map in the loss, where that of an organ is 1


def pretrain(config: PretrainingConfig, folder: RunFolder) -> dict[str, Any]:
    """Pretrains a backbone and writes its run folder.

    The first stage trains on crops, which cost less than whole images and have the same scale; the
    second one on whole images.

    Args:
        config: What to do.
        folder: The run folder.

    Returns:
        What metrics.json holds. The backbone's weights are in ``backbone.weights.h5``.

    Raises:
        FileNotFoundError: If the file of starting weights does not exist.
        ValueError: If the backbone is unknown, or the starting weights do not fit it.
        NonFiniteLossError: If the loss becomes NaN or infinite.
    """
    folder.start_clock()
    config = folder.settings(config)
    runtime = set_up(config.runtime)
    backbone = look_up(BACKBONES, config.backbone, "backbone")
    folder.write_json(
        "environment.json", environment(regime_of(runtime, True), config.runtime.seed)
    )
    folder.write_config(dataclasses.replace(config, runtime=as_set(config.runtime, runtime)))
    weights = None
    if config.crop_epochs:
        crops = dataclasses.replace(config, epochs=config.crop_epochs)
        model, rows = _fit(crops, config.crop_size, "crops", None, runtime, folder)
        weights = model.get_weights()
    if config.epochs:
        model, rows = _fit(config, config.image_size, "", weights, runtime, folder)
    features = backbone.build(config.image_size)
    features.set_weights(keras.Model(model.input, model.get_layer("pool").input).get_weights())
    with replacing(folder.path / WEIGHTS) as partial:
        features.save_weights(partial)
    best = min(rows, key=lambda row: row["val_loss"])
    metrics = {
        "task": "pretraining",
        "backbone": backbone.name,
        "phantom_version": VERSION,
        "validation": {name: best[f"val_{name}"] for name in ("loss", "auc")},
    }
    folder.write_json("metrics.json", metrics)
    folder.write_timing()
    folder.finish()
    logger.info(f"Written to {folder.path}; train with --weights {folder.path / WEIGHTS}.")
    return metrics


def for_pretraining(features: keras.Model) -> keras.Model:
    """Copies a backbone so that all of it learns.

    BatchNorm normalises by the batch and updates its statistics, which a backbone's own layers do
    not unless told to. Nothing is dropped: no drawing is seen twice, so there is nothing to
    regularise.

    Args:
        features: A backbone.

    Returns:
        One of the same weights, in the same order.
    """

    def learning(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = layer.get_config()
        if isinstance(layer, SwitchableBatchNormalization):
            del config["update_statistics"]
            return FusedBatchNormalization.from_config(config)
        if isinstance(layer, StochasticDepth):
            return StochasticDepth.from_config(config | {"rate": 0.0})
        return layer.__class__.from_config(config)

    copy = keras.models.clone_model(features, clone_function=learning)
    copy.set_weights(features.get_weights())
    return copy


def adopt_statistics(copy: keras.Model, images: np.ndarray) -> None:
    """Sets BatchNorm statistics to those of images, and scales so that the function stays.

    Weights whose statistics are of other images would lose much of what they know in the first
    steps, in which the batch's statistics take the place of theirs.

    Args:
        copy: From ``for_pretraining``.
        images: float32 (batch, height, width, 3), 0..255.
    """
    norms = [layer for layer in copy.layers if isinstance(layer, FusedBatchNormalization)]
    inputs = keras.Model(copy.input, [layer.input for layer in norms])(images, training=False)
    for layer, values in zip(norms, inputs, strict=True):
        gamma, beta, mean, variance = layer.get_weights()
        slope = gamma / np.sqrt(variance + layer.epsilon)
        offset = beta - slope * mean
        axes = tuple(range(len(values.shape) - 1))
        mean, variance = np.mean(values, axes), np.var(values, axes)
        new = [slope * np.sqrt(variance + layer.epsilon), offset + slope * mean, mean, variance]
        layer.set_weights(new)


def build_pretraining_model(features: keras.Model) -> keras.Model:
    """Adds heads to a backbone: maps at stride 4, 8, 16 and 32, and the findings' presence.

    The heads at stride 4 and 8 teach the first layers fine texture, which they did not learn from
    the loss at their end.

    Args:
        features: A backbone, images (batch, height, width, 3) to features at stride 32.

    Returns:
        A model of images to logits, float32: (batch, height / s, width / s, structures) with s 4,
        8, 16 and again 16, and (batch, findings).
    """
    count = len(STRUCTURES)
    maps = [
        layers.Conv2D(count, 1, dtype="float32", name=f"maps_{cell}")(_last_at(features, cell))
        for cell in CELLS
    ]
    maps.append(
        layers.Conv2DTranspose(count, 2, strides=2, dtype="float32", name="maps")(features.output)
    )
    pooled = layers.GlobalAveragePooling2D(dtype="float32", name="pool")(features.output)
    presence = layers.Dense(len(FINDINGS), dtype="float32", name="presence")(pooled)
    return keras.Model(features.input, [*maps, presence])


def _last_at(features: keras.Model, stride: int) -> keras.KerasTensor:
    """Returns the output of the last layer at a stride."""
    rows = features.input.shape[1] // stride
    return next(
        layer.output
        for layer in reversed(features.layers)
        if not isinstance(layer, layers.ZeroPadding2D)
        and not isinstance(layer.output, list)
        and layer.output.shape[1] == rows
    )


@keras.saving.register_keras_serializable(package="kerascxr")
class FindingsLoss(keras.losses.Loss):
    """Binary cross-entropy of logits, in which findings weigh more than anatomy."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the loss of each place, of targets and logits (..., structures or findings)."""
        weights = np.full(y_pred.shape[-1], _FINDING_WEIGHT, np.float32)
        weights[: y_pred.shape[-1] - len(FINDINGS)] = 1
        losses = keras.ops.binary_crossentropy(y_true, y_pred, from_logits=True)
        return keras.ops.mean(losses * (weights / weights.mean()), axis=-1)


def _fit(
    config: PretrainingConfig,
    size: tuple[int, int],
    stage: str,
    weights: list[np.ndarray] | None,
    runtime: Runtime,
    folder: RunFolder,
) -> tuple[keras.Model, list[dict[str, Any]]]:
    keras.utils.set_random_seed(config.runtime.seed)
    with runtime.scope():
        features = BACKBONES[config.backbone].build(size)
        start = load_weights(features, config.backbone, config.weights)
        features = for_pretraining(features)
        model = build_pretraining_model(features)

    def build() -> keras.Model:
        return build_pretraining_model(for_pretraining(BACKBONES[config.backbone].build(size)))

    precision = StepPrecision.of(model, build, runtime.precision)
    steps = config.drawings * config.crops // config.batch_size
    batches = DrawnBatches(
        config.image_size,
        size,
        config.batch_size,
        config.crops,
        config.runtime.seed,
        # Whole images follow crops, and then all findings are as drawn.
        Exaggeration(config.exaggeration if stage else 1.0, max(1, config.epochs * steps // 2)),
    )
    images, targets = batches.validation(config.validation_images)
    if weights is not None:
        model.set_weights(weights)
    elif start.kind != "none":
        adopt_statistics(features, images[: config.batch_size])
    loss = FindingsLoss()

    def validate() -> dict[str, float]:
        outputs = model.predict(images, batch_size=config.batch_size, verbose=0)
        values = [float(loss(target, out)) for target, out in zip(targets, outputs, strict=True)]
        present = targets[-1] > 0.5
        areas = [float(roc_auc_score(*of)) for of in zip(present.T, outputs[-1].T, strict=True)]
        found = {f"auc {name}": area for name, area in zip(FINDINGS, areas, strict=True)}
        return {"loss": sum(values), "auc": float(np.mean(areas)), **found}

    progress = fit(
        Fitting(
            model,
            lambda epoch: batches.training(epoch * steps),
            steps,
            validate,
            config.monitor,
            [loss] * len(targets),
            [],
            ("loss", "val_loss", *(f"val_auc {name}" for name in FINDINGS)),
            precision,
        ),
        Session(
            config,
            runtime,
            folder,
            identity_of(f"drawings, version {VERSION}", regime_of(runtime, True), start.sha256),
            stage,
        ),
    )
    return model, progress.rows
