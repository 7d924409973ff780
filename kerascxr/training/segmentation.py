"""Segmentation: one run from config to run folder."""

import dataclasses
import functools
import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from kerascxr.config import SegmentationConfig
from kerascxr.data.graphs import do_not_convert
from kerascxr.data.ingest.reading import UNLABELLED
from kerascxr.data.ingest.store import Store
from kerascxr.data.order import Share
from kerascxr.data.pipeline import Images, evaluation_batches, steps_per_epoch, training_batches
from kerascxr.evaluation.leaks import count_leaks
from kerascxr.evaluation.metric_tables import metrics_markdown, metrics_text
from kerascxr.evaluation.segmentation import (
    THRESHOLDS,
    ThresholdChoice,
    ThresholdSearch,
    best_median_worst,
    score_image,
    summarise,
)
from kerascxr.evaluation.uncertainty import segmentation_intervals
from kerascxr.models.parameters import format_parameter_table, parameter_summary
from kerascxr.models.segmenter import Segmenter, lung_probabilities, masks_by_threshold
from kerascxr.models.unet import STAGE_HEADER, build_unet, stage_cells
from kerascxr.names import counted
from kerascxr.plots import curves, segmentation
from kerascxr.runs.atomic import replacing
from kerascxr.runs.folder import RunFolder
from kerascxr.runs.training_images import SEEN
from kerascxr.tables import csv_text, text_table
from kerascxr.training.callbacks import Progress
from kerascxr.training.fitting import Fitting, Session, fit, identity_of
from kerascxr.training.inputs import as_read, open_data, read_splits, seen_images
from kerascxr.training.losses import LOSSES
from kerascxr.training.metrics import Dice
from kerascxr.training.precision import StepPrecision, bfloat16_pays, check_step
from kerascxr.training.runtime import Runtime, as_set, environment, regime_of, set_up

logger = logging.getLogger(__name__)

_SHOWN = ("loss", "dice", "val_loss", "val_dice")


def train(config: SegmentationConfig, folder: RunFolder) -> dict[str, Any]:
    """Trains, evaluates and writes a run; takes up one that was cut off.

    Args:
        config: What to do.
        folder: The run folder, from ``RunFolder.start``.

    Returns:
        What metrics.json holds; nothing from a worker that is not the chief.

    Raises:
        LostWorkerError: If another worker is lost, where several train together.
        ValueError: If the config asks for what the data or this machine does not have.
        NonFiniteLossError: If the loss becomes NaN or infinite.
    """
    folder.start_clock()
    config = folder.settings(config)
    runtime = set_up(config.runtime, bfloat16_pays(config))
    config = _sized(config, runtime, folder)
    base_filters = config.base_filters
    assert base_filters is not None
    store = open_data(config.data)
    report_pairs(store)
    splits = read_splits(config, store, masks=True)
    # Again, right before weights are drawn: an ingest on the way here may have drawn numbers too.
    keras.utils.set_random_seed(config.runtime.seed)
    build = functools.partial(build_unet, config.image_size, base_filters, config.upsampling)
    with runtime.scope():
        model = build()
    precision = StepPrecision.of(model, build, runtime.precision)
    if config.runtime.precision == "auto":
        pairs = functools.partial(_training_pairs, splits["train"], config, runtime.share)
        precision = check_step(precision, model, pairs, _loss(config), runtime.workers)
        runtime = dataclasses.replace(runtime, precision=precision.policy)
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
    folder.write_config(
        dataclasses.replace(
            config, data=as_read(config.data, splits), runtime=as_set(config.runtime, runtime)
        )
    )
    if config.coarse_epochs:
        coarse = _train_coarse(config, precision, store, runtime, folder)
        model.set_weights(coarse.get_weights())
    progress = _fit(model, precision, splits, config, _session(config, store, runtime, folder))
    if not runtime.is_chief:
        return {}
    with replacing(folder.path / "model.keras") as partial:
        keras.Model(model.input, model.output, name=model.name).save(partial)  # not compiled
    choice = _choose_threshold(model, splits["validation"], config.batch_size)
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
            "layout": store.layout,
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
    metrics |= test(Segmenter(model, choice.threshold), splits["test"], config, folder)
    metrics["leak"] = count_leaks(splits["test"].groups, splits["train"].groups)
    for what in ("loss", "dice"):
        with folder.figure(what) as path:
            curves.training_curves(
                progress.rows,
                path,
                what=what,
                best_epoch=metrics["best_epoch"],
                title=f"{title}: {what}",
            )
    folder.write_text(SEEN, csv_text(seen_images(store, splits)))
    write_test(folder, metrics)
    folder.write_timing()
    folder.finish()
    logger.info(f"Written to {folder.path}")
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
    config: SegmentationConfig,
    precision: StepPrecision,
    store: Store,
    runtime: Runtime,
    folder: RunFolder,
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
    splits = read_splits(half, store, masks=True)
    session = _session(half, store, runtime, folder, "coarse")
    _fit(model, precision.of_like(model), splits, half, session)
    return model


def _session(
    config: SegmentationConfig, store: Store, runtime: Runtime, folder: RunFolder, stage: str = ""
) -> Session:
    regime = regime_of(runtime, config.augment.enabled)
    identity = identity_of(store.fingerprint["digest"], regime)
    return Session(config, runtime, folder, identity, stage)


def _fit(
    model: keras.Model,
    precision: StepPrecision,
    splits: dict[str, Images],
    config: SegmentationConfig,
    session: Session,
) -> Progress:
    validation = evaluation_batches(splits["validation"], config.batch_size).map(_pair)
    return fit(
        Fitting(
            model,
            functools.partial(_training_pairs, splits["train"], config, session.runtime.share),
            steps_per_epoch(splits["train"], config.batch_size),
            lambda: model.evaluate(validation, verbose=0, return_dict=True),
            config.monitor,
            _loss(config),
            [Dice()],
            _SHOWN,
            precision,
        ),
        session,
    )


def _loss(config: SegmentationConfig) -> keras.losses.Loss:
    if config.loss == "bce_dice":
        return LOSSES["bce_dice"](bce_weight=config.bce_weight, dice_weight=config.dice_weight)
    return LOSSES[config.loss]()


def report_pairs(store: Store) -> int:
    """Says which images cannot take part, by name: a mask that is missing, empty, full or skew.

    Returns:
        How many.
    """
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
            logger.info(f"Left out, {reason}: {counted(len(ids), 'image')} ({shown}).")
    return sum(row["mask_state"] in reasons for row in store.rows)


@do_not_convert
def _pair(batch: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.cast(batch["image"], tf.float32), tf.cast(batch["mask"], tf.float32) / 255.0


def _training_pairs(
    images: Images, config: SegmentationConfig, share: Share, epoch: int
) -> tf.data.Dataset:
    of_run: dict[str, Any] = {"seed": config.runtime.seed, "augment": config.augment}
    batches = training_batches(images, config.batch_size, first_epoch=epoch, share=share, **of_run)
    return batches.map(_pair, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def _pixels_of(model: keras.Model) -> tf.TensorSpec:
    return tf.TensorSpec((None, *model.input_shape[1:]), tf.uint8)


def _choose_threshold(model: keras.Model, images: Images, batch_size: int) -> ThresholdChoice:
    """Returns the threshold whose masks, as they are used, have the best mean Dice."""

    @tf.function(input_signature=[_pixels_of(model)], autograph=False)
    def compute(pixels: tf.Tensor) -> tf.Tensor:
        return masks_by_threshold(lung_probabilities(model, pixels), THRESHOLDS)

    search = ThresholdSearch()
    for batch in evaluation_batches(images, batch_size):
        for truth, masks in zip(
            batch["mask"].numpy(), compute(batch["image"]).numpy(), strict=True
        ):
            search.add(truth[..., 0], masks)
    return search.choose()


@dataclasses.dataclass(frozen=True)
class _Prediction:
    names: dict[str, str]  # see ``Images.names``
    label: str
    image: np.ndarray  # uint8 (height, width)
    truth: np.ndarray  # uint8 (height, width), 0 or 255
    mask: np.ndarray  # uint8 (height, width), 0 or 255, as it is used
    all_components: np.ndarray  # likewise, before the small components are removed


def _compute_masks(segmenter: Segmenter) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """Returns the function from images to ``mask`` and ``all_components`` of ``_Prediction``."""

    @tf.function(input_signature=[_pixels_of(segmenter.model)], autograph=False)
    def compute(pixels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        probabilities = segmenter.probabilities(pixels)
        lungs = segmenter.of_lungs(probabilities)
        return segmenter.binarise(lungs)[..., 0], segmenter.binarise(probabilities)[..., 0]

    return compute


def _predictions(
    compute: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]], images: Images, batch_size: int
) -> Iterator[_Prediction]:
    for batch in evaluation_batches(images, batch_size):
        found = [values.numpy() for values in compute(batch["image"])]
        known = [batch[name].numpy()[..., 0] for name in ("image", "mask")]
        for index, image, truth, mask, all_components in zip(
            batch["index"].numpy(), *known, *found, strict=True
        ):
            label = images.classes[images.labels[index]]
            yield _Prediction(images.names(index), label, image, truth, mask, all_components)


def test(
    segmenter: Segmenter,
    images: Images,
    config: SegmentationConfig,
    folder: RunFolder,
) -> dict[str, Any]:
    """Scores a U-Net on images and writes predictions.csv, the sample figure and, if wanted, masks.

    Args:
        segmenter: The U-Net, with the threshold from validation.
        images: Images with masks.
        config: Batch size and options.
        folder: Where to write.

    Returns:
        ``test``: the scores and their ``intervals`` of the masks as they are used;
        ``test_all_components``: the same before the small components are removed.
    """
    compute = _compute_masks(segmenter)
    rows, all_components = [], []
    names = _mask_names(images.ids)
    for item in _predictions(compute, images, config.batch_size):
        named: dict[str, Any] = dict(item.names)
        if images.classes[0] != UNLABELLED:
            named["label"] = item.label
        spacing = images.spacings.get(named["id"])
        rows.append(named | score_image(item.truth, item.mask, spacing))
        all_components.append(named | score_image(item.truth, item.all_components, spacing))
        if config.save_masks:
            with replacing(folder.path / "masks" / names[named["id"]]) as path:
                Image.fromarray(item.mask).save(path)
    folder.write_text("predictions.csv", csv_text(rows))
    chosen = best_median_worst(rows)
    shown = list(_predictions(compute, images.only(list(chosen.values())), config.batch_size))
    with folder.figure("sample_predictions") as path:
        segmentation.overlay_grid(
            [item.image for item in shown],
            [item.truth for item in shown],
            [item.mask for item in shown],
            [
                f"{kind}: {rows[index]['id']}, Dice {rows[index]['dice']:.3f}"
                for kind, index in chosen.items()
            ],
            path,
        )
    return {
        name: summarise(of) | {"intervals": segmentation_intervals(of)}
        for name, of in (("test", rows), ("test_all_components", all_components))
    }


def _mask_names(ids: Sequence[str]) -> dict[str, str]:
    """Returns a file name for each id: a/b_c and a_b/c also get a digest, or they would be one."""
    flat = {image: image.replace("/", "_") for image in ids}
    often = Counter(flat.values())
    return {
        image: name
        + (f"-{hashlib.sha256(image.encode()).hexdigest()[:12]}" * (often[name] > 1))
        + ".png"
        for image, name in flat.items()
    }


def write_test(folder: RunFolder, metrics: dict[str, Any]) -> None:
    """Writes metrics.json and metrics.md of a test, and prints the table.

    Args:
        folder: Where to.
        metrics: What metrics.json is to hold: what ``test`` gave, "title", "threshold", "data".
    """
    before = metrics["test_all_components"]
    note = (
        f"\nThreshold {metrics['threshold']}, chosen on validation. Distances are in pixels of the "
        "model's input; those in mm account for the resizing.\n\nMasks as they are used: the two "
        f"largest components of each image. Before the smaller ones are removed: Dice "
        f"{before['dice']:.4f}, pooled Dice {before['pooled_dice']:.4f}, IoU "
        f"{before['iou']:.4f}.\n\nData: {metrics['data']['source']}, test images.\n"
    )
    folder.write_json("metrics.json", metrics)
    folder.write_text("metrics.md", metrics_markdown(metrics["test"], metrics["title"]) + note)
    logger.info(f"\nTest, {metrics['title']}\n\n{metrics_text(metrics['test'])}\n{note}")
