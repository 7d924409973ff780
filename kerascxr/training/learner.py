"""What is fitted: the whole classifier on images, or what learns of it on backbone features."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import keras
import numpy as np
import tensorflow as tf
from scipy import special

from kerascxr.config import ClassificationConfig, DataConfig
from kerascxr.data.graphs import do_not_convert
from kerascxr.data.images import to_backbone_input
from kerascxr.data.order import WHOLE, Share, epoch_order
from kerascxr.data.pipeline import Images, evaluation_batches, training_batches
from kerascxr.evaluation.metrics import METRICS
from kerascxr.models.classifier import (
    cut_at_depth,
    linear_probe_of,
    pooled_features,
    split_at_depth,
    standardize_features,
)
from kerascxr.models.graphs import traced
from kerascxr.models.layer_statistics import layer_statistics
from kerascxr.runs.folder import RunFolder
from kerascxr.training.callbacks import has_checkpoint
from kerascxr.training.engines import EngineName, Precision, likely_engine
from kerascxr.training.feature_batches import feature_batches, mixed_views
from kerascxr.training.feature_files import FeatureFolder
from kerascxr.training.features import BackboneFeatures

logger = logging.getLogger(__name__)

Outputs = tuple[np.ndarray, np.ndarray | None]
"""See ``Learner.outputs``."""

_PREDICT_BATCH = 64
_STANDARDIZE_ON = 512  # images: enough for a mean and a deviation, seconds where nothing is cached


@dataclass(frozen=True)
class Learner:
    """A model to fit and what it is fitted and validated on.

    Attributes:
        model: The classifier, or the part of it that learns; both share their layers.
        training_pairs: Batches (x, y[, weight]) without end, from an epoch on.
        validation_figures: Loss and metrics of the model as it is.
        monitor: The one of them that picks the best epoch.
        outputs: Of images, in order, by the whole classifier as it is, in full precision:
            probabilities, float64 (n, n_classes), and layer statistics, float32 (n, m); None in
            place of these where they would take another pass.
        cached_copies: Number of versions of each training image whose features are cached; 0 where
            the whole model runs on images in every epoch.
        features: The cached features; None without.
        feature_logits: What ``model`` gives for cached features; None without.
    """

    model: keras.Model
    training_pairs: Callable[[int], tf.data.Dataset]
    validation_figures: Callable[[], dict[str, float]]
    monitor: str
    outputs: Callable[[Images], Outputs]
    cached_copies: int = 0
    features: BackboneFeatures | None = None
    feature_logits: Callable[[np.ndarray], np.ndarray] | None = None

    @property
    def engine(self) -> EngineName | None:
        """What computes the cached features; None without."""
        return self.features.engine_name if self.features is not None else None

    @property
    def copies_precision(self) -> Precision | None:
        """In what the features of augmented copies were computed; None without."""
        return self.features.copies_precision if self.cached_copies > 1 and self.features else None

    @classmethod
    def build(
        cls,
        model: keras.Model,
        splits: dict[str, Images],
        config: ClassificationConfig,
        folder: RunFolder,
        copies_precision: Precision = "float32",
        share: Share = WHOLE,
    ) -> "Learner":
        """Decides how to fit, says so in a line, and prepares it.

        Args:
            model: The classifier, with weights and depth.
            splits: Training and validation images.
            config: Options.
            folder: The run folder.
            copies_precision: See ``BackboneFeatures``.
            share: The part of each training batch that this worker computes.
        """
        changed = f"{'with' if config.augment.enabled else 'without'} augmentation"
        if config.depth == "all":
            logger.info(f"Training everything, {changed}.")
            return cls._on_images(model, splits, config, share)
        n_views = config.augmented_copies if config.augment.enabled else 1
        features = BackboneFeatures(
            model,
            config.depth,
            FeatureFolder.of(config.data),
            augment=config.augment,
            seed=config.runtime.seed,
            engine=likely_engine(config.feature_engine),
            copies_precision=copies_precision,
        )
        if not _uses_cached_features(config):
            logger.info(
                f"Training on images, {changed}: the frozen part of the backbone runs in every "
                "epoch."
            )
            if not has_checkpoint(folder.checkpoint):
                _standardize_by_images(model, splits["train"], config)
            return cls._on_images(model, splits, config, share)
        features.engine_for(splits["validation"])  # the features' files are named after it
        _check_room(
            config.data,
            features.bytes_for(
                n_views * len(splits["train"]) + min(n_views, 2) * len(splits["validation"])
            ),
            features.missing_bytes(splits["train"], n_views)
            + features.missing_bytes(splits["validation"], min(n_views, 2)),
        )
        logger.info(
            "Training on backbone features: the frozen part of the backbone runs once. "
            + (
                f"Training images come in {n_views} versions."
                if n_views > 1
                else "Augmentation is off (--augmented_copies N stores N versions of each image; "
                "--features false augments in every epoch)."
                if config.augment.enabled
                else "Augmentation is off (--augment.enabled false)."
            )
        )
        return replace(
            cls._on_features(model, splits, config, features, n_views, share),
            cached_copies=n_views,
            features=features,
        )

    @classmethod
    def _on_images(
        cls,
        model: keras.Model,
        splits: dict[str, Images],
        config: ClassificationConfig,
        share: Share,
    ) -> "Learner":
        pair = _pairing(splits["train"], config)

        def training_pairs(epoch: int) -> tf.data.Dataset:
            batches = training_batches(
                splits["train"],
                config.batch_size,
                seed=config.runtime.seed,
                augment=config.augment,
                first_epoch=epoch,
                balanced=config.class_balance == "sampling",
                share=share,
            )
            return batches.map(
                do_not_convert(
                    lambda batch: pair(to_backbone_input(batch["image"]), batch["label"])
                ),
                num_parallel_calls=tf.data.AUTOTUNE,
            ).prefetch(tf.data.AUTOTUNE)

        validation = evaluation_batches(splits["validation"], config.batch_size).map(
            _backbone_images, num_parallel_calls=tf.data.AUTOTUNE
        )
        return cls(
            model,
            training_pairs,
            lambda: _figures(model.predict(validation, verbose=0), splits["validation"]),
            config.monitor,
            lambda images: (predict_probabilities(model, images, config.batch_size), None),
        )

    @classmethod
    def _on_features(
        cls,
        model: keras.Model,
        splits: dict[str, Images],
        config: ClassificationConfig,
        features: BackboneFeatures,
        n_views: int,
        share: Share,
    ) -> "Learner":
        seed = config.runtime.seed
        views = [features.of(splits["train"], view) for view in range(n_views)]
        # Validation is like training: an epoch that is best on images as they are may be a poor
        # one on altered images.
        held_out = [features.of(splits["validation"], view) for view in range(min(n_views, 2))]
        _, rest = split_at_depth(model, config.depth)
        chosen = epoch_order(splits["train"].labels, seed, 0)[:_STANDARDIZE_ON]
        sample = mixed_views(views, 0, np.sort(chosen))
        standardize_features(model, pooled_features(model, config.depth, sample))
        pair = _pairing(splits["train"], config)

        def training_pairs(epoch: int) -> tf.data.Dataset:
            batches = feature_batches(
                views,
                splits["train"].labels,
                config.batch_size,
                seed=seed,
                first_epoch=epoch,
                balanced=config.class_balance == "sampling",
                share=share,
            )
            return batches.map(
                do_not_convert(lambda batch: pair(batch["features"], batch["label"])),
                num_parallel_calls=tf.data.AUTOTUNE,
            ).prefetch(tf.data.AUTOTUNE)

        # Keras' predict makes a new pipeline at each call, which takes longer than a small set.
        run = traced(
            lambda batch: rest(batch, training=False), tf.TensorSpec((None, *rest.input_shape[1:]))
        )

        def logits(view: np.ndarray) -> np.ndarray:
            begins = range(0, len(view), _PREDICT_BATCH)
            parts = (view[begin : begin + _PREDICT_BATCH] for begin in begins)
            return np.concatenate([run(part.astype(np.float32)) for part in parts])

        def figures() -> dict[str, float]:
            as_is, *copies = (_figures(logits(view), splits["validation"]) for view in held_out)
            for augmented in copies:
                value = augmented[config.monitor]
                as_is |= {
                    f"augmented_{config.monitor}": value,
                    f"mean_{config.monitor}": (as_is[config.monitor] + value) / 2,
                }
            return as_is

        monitor = config.monitor if n_views == 1 else f"mean_{config.monitor}"
        outputs = by_features(model, features)
        return cls(rest, training_pairs, figures, monitor, outputs, feature_logits=logits)


def by_features(model: keras.Model, features: BackboneFeatures) -> Callable[[Images], Outputs]:
    """Returns what computes ``Learner.outputs``, the backbone running in the features' engine.

    Args:
        model: A classifier, of any depth.
        features: Of the same model.

    Returns:
        A function of images to probabilities, and to layer statistics if the backbone names its
        stages.
    """

    @cache  # traced when it is first called: a run with a linear probe calls that of the whole
    def behind() -> tuple[int, Callable[..., tf.Tensor]]:
        inputs = [cut_at_depth(model, 2)]
        if linear_probe_of(model) is not None:
            inputs.append(layer_statistics(model).output)
        rest = keras.Model(inputs, model.output)
        signature = (tf.TensorSpec((None, *tensor.shape[1:])) for tensor in inputs)
        return len(inputs), traced(lambda *parts: rest(list(parts), training=False), *signature)

    def outputs(images: Images) -> Outputs:
        n_inputs, run = behind()
        logits: list[tf.Tensor] = []
        statistics: list[np.ndarray] = []
        for parts in features.stream(images):
            logits.append(run(*parts[:n_inputs]))
            statistics += parts[1:]
        return softmax(np.concatenate(logits)), np.concatenate(statistics) if statistics else None

    return outputs


def predict_probabilities(model: keras.Model, images: Images, batch_size: int) -> np.ndarray:
    """Returns class probabilities of every image, in order.

    Args:
        model: A classifier.
        images: The images.
        batch_size: Images a batch.

    Returns:
        float64 (n, n_classes), each row summing to 1.
    """
    batches = evaluation_batches(images, batch_size).map(
        _backbone_images, num_parallel_calls=tf.data.AUTOTUNE
    )
    return softmax(model.predict(batches, verbose=0))


@do_not_convert
def _backbone_images(batch: dict[str, tf.Tensor]) -> tf.Tensor:
    return to_backbone_input(batch["image"])


def softmax(logits: np.ndarray) -> np.ndarray:
    """Returns probabilities, float64 (n, k), of logits (n, k)."""
    return np.asarray(special.softmax(logits.astype(np.float64), axis=1))


def _uses_cached_features(config: ClassificationConfig) -> bool:
    """Returns whether training uses cached features; "auto" means that it does, on any machine."""
    return config.depth != "all" and config.features is not False


def _check_room(data: DataConfig, size: int, missing: int) -> None:
    """Checks that features fit.

    Args:
        data: The folder, and its limit.
        size: The bytes of all features.
        missing: The bytes of those that are not cached yet.

    Raises:
        ValueError: If they do not.
    """
    room = FeatureFolder.of(data).free_bytes()
    hint = "or give --features false, which trains on images and takes longer"
    if size > data.features_gb * 1e9:
        raise ValueError(
            f"cached features take {size / 1e9:.3g} GB, and --data.features_gb allows "
            f"{data.features_gb:g}: raise it, {hint}."
        )
    if missing > room:
        raise ValueError(
            f"features to be cached take {missing / 1e9:.3g} GB, and {data.features} has room for "
            f"{room / 1e9:.3g}: free some (see kerascxr cache), {hint}."
        )


def _standardize_by_images(
    model: keras.Model, images: Images, config: ClassificationConfig
) -> None:
    chosen = np.sort(epoch_order(images.labels, config.runtime.seed, 0)[:_STANDARDIZE_ON])
    pixels = tf.data.Dataset.from_tensor_slices(images.pixels[chosen]).batch(_PREDICT_BATCH)
    frozen, _ = split_at_depth(model, config.depth)
    features = frozen.predict(pixels.map(do_not_convert(to_backbone_input)), verbose=0)
    standardize_features(model, pooled_features(model, config.depth, features))


def _pairing(images: Images, config: ClassificationConfig) -> Callable[..., tuple[tf.Tensor, ...]]:
    """Returns what makes (x, one-hot y[, weight]) of inputs and labels."""
    n_classes = len(images.classes)
    counts = np.bincount(images.labels, minlength=n_classes)
    class_weights = tf.constant(len(images) / (n_classes * counts), tf.float32)

    def pair(x: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, ...]:
        y = tf.one_hot(label, n_classes)
        if config.class_balance == "weights":
            return x, y, tf.gather(class_weights, label)
        return x, y

    return pair


def _figures(logits: np.ndarray, images: Images) -> dict[str, float]:
    """Scores logits as the test does; NaN where the network has come to give NaN."""
    names = ("accuracy", "precision", "recall", "f1", "auc")
    probabilities = softmax(logits)
    if not np.isfinite(probabilities).all():
        return dict.fromkeys(("loss", *names), float("nan"))
    scores = {name: METRICS[name].function(images.labels, probabilities) for name in names}
    of_truth = probabilities[np.arange(len(images)), images.labels]
    loss = float(-np.log(np.maximum(of_truth, 1e-12)).mean())
    undefined = float("nan")  # of a single class, which no training has
    return {"loss": loss} | {
        name: undefined if value is None else value for name, value in scores.items()
    }
