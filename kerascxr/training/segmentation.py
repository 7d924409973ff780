"""Segmentation: one run from config to run folder."""

import dataclasses
import logging
import time
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from kerascxr.config import SegmentationConfig
from kerascxr.data.ingest.ingest import UNLABELLED
from kerascxr.data.ingest.store import Store
from kerascxr.data.pipeline import (
    Images,
    evaluation_batches,
    steps_per_epoch,
    training_batches,
)
from kerascxr.evaluation.masks import binarise, largest_components
from kerascxr.evaluation.metric_tables import metrics_markdown, metrics_text
from kerascxr.evaluation.segmentation import (
    ThresholdSearch,
    best_median_worst,
    score_image,
    summarise,
)
from kerascxr.evaluation.uncertainty import segmentation_intervals
from kerascxr.models.parameters import format_parameter_table, parameter_summary
from kerascxr.models.unet import STAGE_HEADER, build_unet, stage_cells
from kerascxr.plots import curves, segmentation
from kerascxr.runs.atomic import replacing
from kerascxr.runs.folder import RunFolder
from kerascxr.tables import csv_text, text_table
from kerascxr.training.callbacks import Progress
from kerascxr.training.fitting import Fitting, Session, fit, identity_of
from kerascxr.training.inputs import open_data, read_splits
from kerascxr.training.losses import LOSSES
from kerascxr.training.metrics import Dice
from kerascxr.training.runtime import Runtime, environment, regime_of, set_up

logger = logging.getLogger(__name__)

_SHOWN = ("loss", "dice", "val_loss", "val_dice")
_LUNGS = 2
_GREY_CURVES = (1.0, 0.8, 1.25)


def train(config: SegmentationConfig, folder: RunFolder) -> dict[str, Any]:
    """Trains, evaluates and writes a run; takes up one that was cut off.

    Args:
        config: What to do.
        folder: The run folder, from ``RunFolder.start``.

    Returns:
        What metrics.json holds.

    Raises:
        ValueError: If the config asks for what the data or this machine does not have.
        NonFiniteLossError: If the loss becomes NaN or infinite.
    """
    started = time.perf_counter()
    runtime = set_up(config.runtime)
    config = _sized(config, runtime, folder)
    base_filters = config.base_filters
    assert base_filters is not None
    store = open_data(config.data)
    _report_pairs(store, folder)
    splits = read_splits(config, store, masks=True)
    # Again, right before weights are drawn: an ingest on the way here may have drawn numbers too.
    keras.utils.set_random_seed(config.runtime.seed)
    with runtime.scope():
        model = build_unet(config.image_size, base_filters, config.upsampling)
    parameters = parameter_summary(model)
    title = f"U-Net, {base_filters} base filters"
    logger.info(text_table(STAGE_HEADER, stage_cells(model)) + "\n")
    logger.info(format_parameter_table({title: parameters}))
    regime = regime_of(runtime, config.augment.enabled)
    folder.write_json(
        "environment.json",
        environment(regime, config.runtime.seed)
        | {"weights": {"kind": "none"}, "data_fingerprint": store.fingerprint},
    )
    if config.coarse_epochs:
        coarse = _train_coarse(config, store, runtime, folder)
        model.set_weights(coarse.get_weights())
    progress = _fit(model, splits, config, store, runtime, folder)
    with replacing(folder.path / "model.keras") as partial:
        keras.Model(model.input, model.output, name=model.name).save(partial)  # not compiled
    search = ThresholdSearch()
    for item in _predictions(model, splits["validation"], config):
        search.add(item.truth, item.probabilities)
    choice = search.choose()
    logger.info(
        f"Threshold {choice.threshold}: the best on validation, mean Dice {choice.dice:.4f}."
    )
    metrics: dict[str, Any] = {
        "task": "segmentation",
        "title": title,
        "base_filters": base_filters,
        "regime": regime,
        "data": {
            "source": store.path.name,
            "fingerprint": store.fingerprint["digest"],
            "images": {name: len(images) for name, images in splits.items()},
        },
        "parameters": parameters,
        "stages": stage_cells(model),
        "best_epoch": progress.best_epoch + 1,
        "epochs": len(progress.rows),
        "threshold": choice.threshold,
        "validation": {"dice": choice.dice},
    }
    metrics |= test(model, splits["test"], config, choice.threshold, folder)
    for what in ("loss", "dice"):
        with folder.figure(what) as path:
            curves.training_curves(
                progress.rows,
                path,
                what=what,
                best_epoch=metrics["best_epoch"],
                title=f"{title}: {what}",
            )
    write_test(folder, metrics)
    folder.write_json("timing.json", {"seconds": time.perf_counter() - started})
    folder.finish()
    return metrics


def _sized(config: SegmentationConfig, runtime: Runtime, folder: RunFolder) -> SegmentationConfig:
    """Fills in what the config leaves to the machine."""
    defaults: dict[str, Any] = {"base_filters": 64, "coarse_epochs": 0, "epochs": 40}
    if not runtime.on_gpu:
        defaults = {"base_filters": 16, "coarse_epochs": 10, "epochs": 3}
    left = {name: value for name, value in defaults.items() if getattr(config, name) is None}
    if left and not runtime.on_gpu:
        taken = ", ".join(f"--{name} {value}" for name, value in left.items())
        logger.info(
            f"No GPU, so small: {taken}. configs/unet_laptop.yaml trains longer, "
            "configs/unet_gpu.yaml is the full network."
        )
    return dataclasses.replace(config, **left)


def _train_coarse(
    config: SegmentationConfig, store: Store, runtime: Runtime, folder: RunFolder
) -> keras.Model:
    """Trains a U-Net of the same weights on images of half the size, a quarter of the work."""
    height, width = config.image_size
    assert config.coarse_epochs and config.base_filters
    half = dataclasses.replace(
        config,
        image_size=(height // 2, width // 2),
        epochs=config.coarse_epochs,
        coarse_epochs=0,
        patience=config.coarse_epochs,
    )
    with runtime.scope():
        model = build_unet(half.image_size, config.base_filters, half.upsampling)
    _fit(model, read_splits(half, store, masks=True), half, store, runtime, folder, "coarse")
    return model


def _fit(
    model: keras.Model,
    splits: dict[str, Images],
    config: SegmentationConfig,
    store: Store,
    runtime: Runtime,
    folder: RunFolder,
    stage: str = "",
) -> Progress:
    regime = regime_of(runtime, config.augment.enabled)
    if config.loss == "bce_dice":
        loss = LOSSES["bce_dice"](bce_weight=config.bce_weight, dice_weight=config.dice_weight)
    else:
        loss = LOSSES[config.loss]()
    validation = evaluation_batches(splits["validation"], config.batch_size).map(_pair)
    return fit(
        Fitting(
            model,
            lambda epoch: _training_pairs(splits["train"], config, epoch),
            steps_per_epoch(splits["train"], config.batch_size),
            lambda: model.evaluate(validation, verbose=0, return_dict=True),
            loss,
            [Dice()],
            _SHOWN,
        ),
        Session(config, runtime, folder, identity_of(store.fingerprint["digest"], regime), stage),
    )


def _report_pairs(store: Store, folder: RunFolder) -> None:
    """Says which images cannot take part, by name: a mask that is missing, empty, full or skew."""
    reasons = {
        "none": "no mask",
        "empty": "an empty mask",
        "full": "a mask that is all lung",
        "aspect": "a mask of another shape",
    }
    for state, reason in reasons.items():
        ids = [row["id"] for row in store.rows if row["mask_state"] == state]
        if ids:
            shown = ", ".join(ids[:5]) + (", ..." if len(ids) > 5 else "")
            logger.info(f"Left out, {reason}: {len(ids)} images ({shown}).")


def _pair(batch: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.cast(batch["image"], tf.float32), tf.cast(batch["mask"], tf.float32) / 255.0


def _training_pairs(images: Images, config: SegmentationConfig, epoch: int) -> tf.data.Dataset:
    batches = training_batches(
        images,
        config.batch_size,
        seed=config.runtime.seed,
        augment=config.augment,
        first_epoch=epoch,
    )
    return batches.map(_pair, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


@dataclasses.dataclass(frozen=True)
class _Prediction:
    id: str
    group: str
    label: str
    image: np.ndarray  # uint8 (height, width)
    truth: np.ndarray  # uint8 (height, width), 0 or 255
    probabilities: np.ndarray  # float32 (height, width)


def predict_probabilities(
    model: keras.Model, images: np.ndarray, test_time_augmentation: bool
) -> np.ndarray:
    """Returns each pixel's probability of being lung.

    Args:
        model: A U-Net.
        images: (batch, height, width, 1), 0..255.
        test_time_augmentation: Whether the mean over three grey curves (exponents 0.8, 1, 1.25) is
            taken. No flips: the heart has a side.

    Returns:
        float32 (batch, height, width).
    """
    images = np.asarray(images, np.float32)
    curves = _GREY_CURVES if test_time_augmentation else _GREY_CURVES[:1]
    total = np.zeros(images.shape[:3], np.float32)
    for exponent in curves:
        logits = model.predict_on_batch(255.0 * (images / 255.0) ** exponent)[..., 0]
        total += 1.0 / (1.0 + np.exp(-np.clip(logits.astype(np.float32), -60.0, 60.0)))
    return total / len(curves)


def _predictions(
    model: keras.Model, images: Images, config: SegmentationConfig
) -> Iterator[_Prediction]:
    for batch in evaluation_batches(images, config.batch_size).as_numpy_iterator():
        probabilities = predict_probabilities(model, batch["image"], config.test_time_augmentation)
        for index, image, truth, given in zip(
            batch["index"], batch["image"], batch["mask"], probabilities, strict=True
        ):
            label = images.classes[images.labels[index]]
            yield _Prediction(
                images.ids[index],
                images.groups[index],
                label,
                image[..., 0],
                truth[..., 0],
                given,
            )


def test(
    model: keras.Model,
    images: Images,
    config: SegmentationConfig,
    threshold: float,
    folder: RunFolder,
) -> dict[str, Any]:
    """Scores a U-Net on images and writes predictions.csv, the sample figure and, if wanted, masks.

    Args:
        model: The U-Net.
        images: Images with masks.
        config: Batch size and options.
        threshold: From validation.
        folder: Where to write.

    Returns:
        ``test``: the scores and their ``intervals``; ``test_two_largest_components``: the same
        after dropping all but the two largest components of each prediction.
    """
    rows, tidied = [], []
    for item in _predictions(model, images, config):
        named: dict[str, Any] = {"id": item.id, "group": item.group}
        if images.classes[0] != UNLABELLED:
            named["label"] = item.label
        mask = binarise(item.probabilities, threshold)
        rows.append(named | score_image(item.truth, mask))
        tidied.append(named | score_image(item.truth, largest_components(mask, _LUNGS)))
        if config.save_masks:
            with replacing(folder.path / "masks" / f"{item.id.replace('/', '_')}.png") as path:
                Image.fromarray((mask * 255).astype(np.uint8)).save(path)
    folder.write_text("predictions.csv", csv_text(rows))
    chosen = best_median_worst(rows)
    shown = list(_predictions(model, images.only(list(chosen.values())), config))
    with folder.figure("sample_predictions") as path:
        segmentation.overlay_grid(
            [item.image for item in shown],
            [item.truth for item in shown],
            [binarise(item.probabilities, threshold) for item in shown],
            [
                f"{kind}: {rows[index]['id']}, Dice {rows[index]['dice']:.3f}"
                for kind, index in chosen.items()
            ],
            path,
        )
    return {
        name: summarise(of) | {"intervals": segmentation_intervals(of)}
        for name, of in (("test", rows), ("test_two_largest_components", tidied))
    }


def write_test(folder: RunFolder, metrics: dict[str, Any]) -> None:
    """Writes metrics.json and metrics.md of a test, and prints the table.

    Args:
        folder: Where to.
        metrics: What metrics.json is to hold: what ``test`` gave, "title", "threshold", "data".
    """
    tidied = metrics["test_two_largest_components"]
    note = (
        f"\nThreshold {metrics['threshold']}, chosen on validation. Distances are in pixels of the "
        "model's input.\n\nWith all but the two largest components of each prediction dropped: "
        f"Dice {tidied['dice']:.4f}, pooled Dice {tidied['pooled_dice']:.4f}, "
        f"IoU {tidied['iou']:.4f}.\n\nData: {metrics['data']['source']}, test images.\n"
    )
    folder.write_json("metrics.json", metrics)
    folder.write_text("metrics.md", metrics_markdown(metrics["test"], metrics["title"]) + note)
    logger.info(f"\nTest, {metrics['title']}\n\n{metrics_text(metrics['test'])}\n{note}")
    logger.info(f"Written to {folder.path}")
