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
from kerascxr.models.weights import load_weights
from kerascxr.names import look_up
from kerascxr.runs.atomic import replacing
from kerascxr.runs.folder import RunFolder
from kerascxr.training.drawn_batches import CELL, FINDINGS, DrawnBatches
from kerascxr.training.fitting import Fitting, Session, fit, identity_of
from kerascxr.training.runtime import Runtime, as_set, environment, regime_of, set_up

logger = logging.getLogger(__name__)

WEIGHTS = "backbone.weights.h5"


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
        weights = _fit(crops, config.crop_size, "crops", None, runtime, folder)[0].get_weights()
    model, rows = _fit(config, config.image_size, "", weights, runtime, folder)
    with replacing(folder.path / WEIGHTS) as partial:
        keras.Model(model.input, model.get_layer("pool").input).save_weights(partial)
    best = min(rows, key=lambda row: row["val_loss"])
    metrics = {
        "task": "pretraining",
        "backbone": backbone.name,
        "phantom_version": VERSION,
        "validation": {name: best[f"val_{name}"] for name in ("loss", "auc")},
    }
    folder.write_json("metrics.json", metrics)
    folder.finish()
    logger.info(f"Written to {folder.path}; train with --weights {folder.path / WEIGHTS}.")
    return metrics


def build_pretraining_model(features: keras.Model) -> keras.Model:
    """Adds three heads to a backbone: maps at stride 16 and 32, and the findings' presence.

    Args:
        features: A backbone, images (batch, height, width, 3) to features at stride 32.

    Returns:
        A model of images to logits, float32: twice (batch, height / 16, width / 16, structures)
        and (batch, findings).
    """
    rows = features.input.shape[1] // CELL
    middle = next(
        layer.output
        for layer in reversed(features.layers)
        if not isinstance(layer.output, list) and layer.output.shape[1] == rows
    )
    count = len(STRUCTURES)
    early = layers.Conv2D(count, 1, dtype="float32", name="maps_early")(middle)
    late = layers.Conv2DTranspose(count, 2, strides=2, dtype="float32", name="maps")(
        features.output
    )
    pooled = layers.GlobalAveragePooling2D(dtype="float32", name="pool")(features.output)
    presence = layers.Dense(len(FINDINGS), dtype="float32", name="presence")(pooled)
    return keras.Model(features.input, [early, late, presence])


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
        model = build_pretraining_model(features)
    if weights is not None:
        model.set_weights(weights)
    batches = DrawnBatches(
        config.image_size, size, config.batch_size, config.crops, config.runtime.seed
    )
    steps = config.drawings * config.crops // config.batch_size
    images, targets = batches.validation(config.validation_images)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)

    def validate() -> dict[str, float]:
        outputs = model.predict(images, batch_size=config.batch_size, verbose=0)
        values = [float(loss(target, out)) for target, out in zip(targets, outputs, strict=True)]
        present = targets[-1] > 0.5
        return {"loss": sum(values), "auc": float(roc_auc_score(present, outputs[-1]))}

    progress = fit(
        Fitting(
            model,
            lambda epoch: batches.training(epoch * steps),
            steps,
            validate,
            [loss] * 3,
            [],
            ("loss", "val_loss", "val_auc"),
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
