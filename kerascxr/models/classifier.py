"""A classifier: a backbone, a head, and how much of it is trained."""

import logging
from pathlib import Path
from typing import Literal

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from kerascxr.models.backbones import BACKBONES, Backbone
from kerascxr.models.graphs import traced
from kerascxr.models.layers import (
    HEAD_PREFIX,
    FeatureStandardization,
    LinearProbe,
    SwitchableBatchNormalization,
)
from kerascxr.models.weights import load_weights
from kerascxr.names import look_up

logger = logging.getLogger(__name__)

Depth = Literal[0, 1, 2, "all"]

_POOL = "head_pool"
_BATCH = 64
_STANDARDIZATION = "head_standardization"
_LOGITS = "head_logits"


def build_classifier(
    backbone: str | Backbone,
    n_classes: int,
    *,
    image_size: tuple[int, int] | None = None,
    weights: str | Path | None = None,
    depth: Depth = "all",
    dropout: float = 0.3,
    update_statistics: bool = True,
) -> keras.Model:
    """Builds a classifier: backbone and head as one flat graph.

    Head: global average pool, standardisation by constants (see ``standardize_features``), Dense
    1024 ReLU, dropout, Dense 512 ReLU, dropout, Dense n_classes.

    Args:
        backbone: A key of ``BACKBONES``, or one of its values.
        n_classes: Number of classes, at least 2.
        image_size: (height, width) in pixels, each at least 32; the backbone's own if None.
        weights: None: random weights. "imagenet", "drawn", "auto" or the path of a file: see
            ``load_weights``.
        depth: How much is trainable: 0, 1, 2 or "all"; see ``fine_tune``.
        dropout: Share of the head's activations dropped in training, 0 <= dropout < 1.
        update_statistics: Whether BatchNorm statistics of trainable layers are updated in training;
            see ``fine_tune``.

    Returns:
        A functional model with the backbone's name, not compiled, images float32 (batch, height,
        width, 3) in 0..255 to logits float32 (batch, n_classes) under any precision policy. A
        softmax turns logits into probabilities.

    Raises:
        ValueError: If an argument is out of its range, the backbone is unknown, or the weights file
            does not fit.
        FileNotFoundError: If ``weights`` is the path of no file.
        ConnectionError: If "imagenet" weights are not cached and cannot be downloaded.

    Source:
        The head is the reference study's; its standardisation is this project's.

    Examples:
        >>> import kerascxr
        >>> model = kerascxr.models.build_classifier("shufflenetv2", n_classes=4, depth=1)
        >>> model.output.shape
        (None, 4)
        >>> kerascxr.models.parameter_summary(model)["trainable"]
        2053636
    """
    if isinstance(backbone, str):
        backbone = look_up(BACKBONES, backbone, "backbone")
    if n_classes < 2:
        raise ValueError(f"n_classes must be at least 2. Got n_classes={n_classes}.")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be at least 0 and below 1. Got dropout={dropout}.")
    features = backbone.build(image_size or backbone.image_size)
    # The mean is taken in float32: a float16 sum over a large image could overflow.
    x = layers.GlobalAveragePooling2D(dtype="float32", name=_POOL)(features.output)
    x = FeatureStandardization(dtype="float32", name=_STANDARDIZATION)(x)
    x = layers.Dense(1024, "relu", name="head_dense1")(x)
    x = layers.Dropout(dropout, name="head_dropout1")(x)
    x = layers.Dense(512, "relu", name="head_dense2")(x)
    x = layers.Dropout(dropout, name="head_dropout2")(x)
    logits = layers.Dense(n_classes, dtype="float32", name=_LOGITS)(x)
    model = keras.Model(features.input, logits, name=backbone.name)
    if weights is not None:
        used = load_weights(model, backbone, weights)
        instead = weights == "auto" and used.kind != "imagenet"
        level = logging.WARNING if instead else logging.INFO
        logger.log(level, f"Weights: {used.description}")
    fine_tune(model, depth, update_statistics)
    return model


def fine_tune(model: keras.Model, depth: Depth, update_statistics: bool = True) -> None:
    """Makes the head trainable, and as much of the backbone as ``depth`` says.

    All other layers are frozen: their weights and BatchNorm statistics are fixed, and their
    stochastic depth is off. Call this before ``compile``: Keras does not notice later changes.

    Args:
        model: A classifier from ``build_classifier``, or one loaded from a file.
        depth: 0: the head. 1: also the last convolution. 2: also the last stage. "all":
            everything. ``BACKBONES`` defines where each begins.
        update_statistics: Whether trainable BatchNorm layers normalise by the batch in training and
            update their moving statistics. Random weights need it: their moving statistics (mean 0,
            variance 1) do not describe the data.

    Raises:
        ValueError: If the depth is unknown, or the model has no known backbone.

    Source:
        Yosinski et al., NeurIPS 2014, on which layers transfer.

    Examples:
        >>> import kerascxr
        >>> model = kerascxr.models.build_classifier("shufflenetv2", n_classes=4)
        >>> kerascxr.models.fine_tune(model, 0)
        >>> [layer.name for layer in model.layers if layer.trainable and layer.weights]
        ['head_standardization', 'head_dense1', 'head_dense2', 'head_logits']
    """
    learns = _learning_prefixes(model, depth)
    model.trainable = True  # or the layers' own flags would not count
    for layer in model.layers:
        layer.trainable = layer.name.startswith(learns)
        if isinstance(layer, SwitchableBatchNormalization):
            layer.update_statistics = layer.trainable and update_statistics


def pooled_features(model: keras.Model, depth: Depth, inputs: np.ndarray) -> np.ndarray:
    """Returns the pooled features as the first training step computes them.

    BatchNorm layers that update their statistics normalise by the batch here as well. All weights
    and statistics are restored afterwards.

    Args:
        model: A classifier from ``build_classifier``.
        depth: Where ``inputs`` enter the model, see ``cut_at_depth``.
        inputs: float (n, ...), the frozen part's output; processed in batches of 64.

    Returns:
        float32 (n, channels).
    """
    if depth == 0:
        return np.asarray(inputs, np.float32)
    pool = keras.Model(cut_at_depth(model, depth), model.get_layer(_POOL).output)
    kept = pool.get_weights()
    run = traced(lambda batch: pool(batch, training=True), tf.TensorSpec((None, *inputs.shape[1:])))
    pooled = [
        run(inputs[begin : begin + _BATCH].astype(np.float32))
        for begin in range(0, len(inputs), _BATCH)
    ]
    pool.set_weights(kept)
    return np.concatenate(pooled)


def standardize_features(model: keras.Model, pooled: np.ndarray) -> None:
    """Sets the constants of the head's standardisation; call it before the head is trained.

    Args:
        model: A classifier from ``build_classifier``.
        pooled: float (n, channels), the backbone's pooled features of training images, by
            ``pooled_features``.
    """
    model.get_layer(_STANDARDIZATION).measure(pooled)


def cut_at_depth(model: keras.Model, depth: Depth) -> keras.KerasTensor:
    """Returns the tensor at which a depth divides a classifier into frozen and trainable layers.

    Args:
        model: A classifier from ``build_classifier``.
        depth: 0: the pooled features; 1: the last convolution's input; 2: the last stage's.

    Raises:
        ValueError: If the depth is "all", which leaves nothing frozen, or unknown.
    """
    if depth == "all":
        raise ValueError("depth must be 0, 1 or 2 for a split. Got depth='all': nothing is frozen.")
    if depth == 0:
        return model.get_layer(_POOL).output
    learns = _learning_prefixes(model, depth)
    # Layers are in the order of the graph: the first trainable one takes the frozen part's output.
    return next(layer for layer in model.layers if layer.name.startswith(learns)).input


def split_at_depth(model: keras.Model, depth: Depth) -> tuple[keras.Model, keras.Model]:
    """Cuts a classifier at the first trainable layer, so that the frozen part has to run only once.

    Args:
        model: A classifier from ``build_classifier``.
        depth: 0: the cut is after the pooling; 1: before the last convolution; 2: before the last
            stage.

    Returns:
        ``(frozen, rest)``, which share the model's layers: ``rest(frozen(images))`` equals the
        head's logits, and training ``rest`` trains the model. ``frozen`` returns one tensor:
        (batch, channels) float32 at depth 0, (batch, h, w, channels) in the policy's compute dtype
        at depth 1 and 2.

    Raises:
        ValueError: If the depth is "all", which leaves nothing frozen, or unknown.
    """
    cut = cut_at_depth(model, depth)
    frozen = keras.Model(model.input, cut, name=f"{model.name}_frozen_{depth}")
    rest = keras.Model(cut, head_logits(model), name=f"{model.name}_rest_{depth}")
    return frozen, rest


def head_logits(model: keras.Model) -> keras.KerasTensor:
    """Returns the logits of a classifier's head: its output if it has no linear probe."""
    return model.get_layer(_LOGITS).output


def linear_probe_of(model: keras.Model) -> LinearProbe | None:
    """Returns a classifier's linear probe, or None."""
    return next((layer for layer in model.layers if isinstance(layer, LinearProbe)), None)


def pooled_layer(model: keras.Model) -> keras.layers.Layer:
    """Returns a classifier's pooling layer; its input is the backbone's output."""
    return model.get_layer(_POOL)


def backbone_of(model: keras.Model) -> Backbone:
    """Returns the backbone of a classifier, found by its layers' names.

    The two widths of ShuffleNetV2 have layers of the same names; the model's name differs.

    Raises:
        ValueError: If no known backbone has these layers.
    """
    names = [layer.name for layer in model.layers]
    fits = [
        backbone
        for backbone in BACKBONES.values()
        if all(
            any(name.startswith(prefix) for name in names)
            for prefix in (*backbone.last_stage, *backbone.last_convolution)
        )
    ]
    if not fits or _POOL not in names:
        raise ValueError(
            "model must be a classifier from build_classifier: no layers with the prefixes of "
            f"{', '.join(BACKBONES)}. Got model={model.name!r}."
        )
    return next((backbone for backbone in fits if backbone.name == model.name), fits[0])


def _learning_prefixes(model: keras.Model, depth: Depth) -> tuple[str, ...]:
    """Returns the prefixes of the names of the layers that are trainable at a depth."""
    if depth == "all":
        return ("",)
    backbone = backbone_of(model)
    prefixes: dict[Depth, tuple[str, ...]] = {
        0: (HEAD_PREFIX,),
        1: (HEAD_PREFIX, *backbone.last_convolution),
        2: (HEAD_PREFIX, *backbone.last_convolution, *backbone.last_stage),
    }
    if depth not in prefixes:
        raise ValueError(f"depth must be 0, 1, 2 or 'all'. Got depth={depth!r}.")
    return prefixes[depth]
