"""Export of a finished U-Net as a SavedModel for TF Serving: image bytes in, lung masks out."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from kerascxr.config import SegmentationConfig
from kerascxr.data.images import decode_png, resize_image, resize_mask
from kerascxr.data.ingest.folds import split_folds
from kerascxr.data.ingest.store import Store
from kerascxr.evaluation import lung_masks
from kerascxr.evaluation.lung_masks import LungMaskCheck, lung_mask_faults
from kerascxr.evaluation.segmentation import score_image
from kerascxr.models.graphs import traced
from kerascxr.models.input_checks import ASPECT, CONSTANT
from kerascxr.models.saved import computes_in_16_bits
from kerascxr.models.segmenter import Segmenter
from kerascxr.parsing import load_config
from kerascxr.runs.atomic import write_json
from kerascxr.runs.inflated_scores import require_fair_scores
from kerascxr.runs.reading import Run, read_predictions, read_run
from kerascxr.serving.graph import masks_from_bytes, masks_from_pixels
from kerascxr.serving.publishing import (
    describe,
    examples_of,
    files_spec,
    pixels_spec,
    publish,
    some_of,
    tensor,
    write_model,
    write_warm_up,
)
from kerascxr.serving.rounding import HINT, computed_on_gpu
from kerascxr.training.feature_files import FeatureFolder
from kerascxr.training.inputs import open_run_store
from kerascxr.training.lungs import load_segmenter, read_lungs

logger = logging.getLogger(__name__)

TOLERANCE = 1e-3  # of a Dice, and of the share of a mask's pixels: those at the threshold may turn
_OF_16_BITS = 10.0  # times as much where the U-Net computes with 16-bit numbers, or a GPU does


def export_masks(run_path: Path, to: Path) -> Path:
    """Exports a U-Net as ``to/<version>/``.

    Args:
        run_path: A finished segmentation run.
        to: The model's folder; the version is the next number there, from 1.

    Returns:
        The version's folder. It is written only if the reloaded SavedModel reproduces, for test
        images, the Dice of the run's predictions.csv and the masks that Keras computes at the
        images' own size, both to ``TOLERANCE`` (ten times that for a U-Net of 16-bit numbers,
        or with a GPU).

    Raises:
        ValueError: If the run is not finished or of another task, its images are missing or have
            changed (their split included), or the masks differ.
    """
    run = read_run(run_path, "segmentation")
    require_fair_scores(run)
    config = load_config(SegmentationConfig, run_path / "config.yaml")
    store = open_run_store(run, config.data)
    dice = {row["id"]: float(row["dice"]) for row in read_predictions(run_path / "predictions.csv")}
    samples = examples_of(store, split_folds(config.split)["test"], some_of(list(dice)))
    segmenter = load_segmenter(run_path)
    checked = _check_masks(run_path, config, store)

    files, pixels = files_spec(), pixels_spec(segmenter.size)

    def fill(folder: Path) -> None:
        write_model(
            folder,
            [segmenter.model],
            {
                "serving_default": (traced(masks_from_bytes(segmenter), files), files),
                "pixels": (traced(masks_from_pixels(segmenter), pixels), pixels),
            },
        )
        write_json(folder / "metadata.json", _describe(run, segmenter, checked))
        rounds = computes_in_16_bits(segmenter.model) or computed_on_gpu([run])
        allowed = TOLERANCE * (_OF_16_BITS if rounds else 1.0)
        difference = _compare(folder, segmenter, samples, dice, allowed)
        logger.info(
            f"The reloaded export reproduces the Dice of {len(samples)} test images: largest "
            f"difference {difference:.1e}."
        )
        write_warm_up(folder, to.name, [sample["image"] for sample in samples])

    return publish(run, to, fill)


def _check_masks(run: Path, config: SegmentationConfig, store: Store) -> LungMaskCheck:
    """Checks the masks of the test images, and logs how many are plausible.

    Unlike a classifier, which leans on them, the U-Net is exported whatever it gives.
    """
    folds = split_folds(config.split)["test"]
    masks = read_lungs(store, folds, run, config.image_size, FeatureFolder.of(config.data))
    check = LungMaskCheck.of([lung_mask_faults(mask[..., 0]) for mask in masks])
    poor = check.share > lung_masks.MOST_IMPLAUSIBLE
    logger.log(logging.WARNING if poor else logging.INFO, f"Of the test images: {check}")
    return check


def _compare(
    folder: Path,
    segmenter: Segmenter,
    samples: list[dict[str, Any]],
    dice: dict[str, float],
    allowed: float,
) -> float:
    """Compares the reloaded export with the run; returns the largest difference of a Dice."""
    loaded = tf.saved_model.load(str(folder))
    worst = 0.0
    for sample in samples:
        image = decode_png(sample["image"])
        small = tf.cast(resize_image(image, segmenter.size), tf.float32)[None]
        lungs = loaded.signatures["pixels"](images=small)["lung_probabilities"]
        truth = resize_mask(decode_png(sample["mask"]), segmenter.size)
        found = segmenter.binarise(lungs)[0, ..., 0].numpy()
        scored = score_image(truth[..., 0].numpy(), found)["dice"]
        worst = np.maximum(worst, abs(scored - dice[sample["id"].decode()]))  # NaN stays
        given = loaded.signatures["serving_default"](images=tf.constant([sample["image"]]))
        mask = decode_png(given["mask_bytes"][0]).numpy()
        ours = segmenter.of_lungs(segmenter.probabilities(small))[0]
        expected = segmenter.mask_at(ours, tf.shape(image)[:2]).numpy()
        turned = 1.0 if mask.shape != expected.shape else float(np.mean(mask != expected))
        if not np.maximum(worst, turned) <= allowed:
            raise ValueError(
                f"the export must reproduce the run's masks to {allowed:g}. Got a difference of "
                f"{worst:.2g} in Dice and of {turned:.2g} in pixels; {HINT}."
            )
    return float(worst)


def _describe(run: Run, segmenter: Segmenter, checked: LungMaskCheck) -> dict[str, Any]:
    pixels: list[int | None] = [None, *segmenter.size, 1]
    components = tensor("int32", [None], "components before all but the two largest were removed")
    return describe(
        run,
        segmenter.size,
        {
            "serving_default": {
                "mask_bytes": tensor(
                    "string", [None], "the lung mask: a PNG of 0 and 255, at the image's own size"
                ),
                "lung_fraction": tensor(
                    "float32", [None], "the share of the image that is lung, 0..1"
                ),
                "components": components,
                "warnings": tensor(
                    "string",
                    [None],
                    f"about the image, joined by '; ', or '': {CONSTANT}, {ASPECT}",
                ),
            },
            "pixels": {
                "probabilities": tensor("float32", pixels, "of each pixel to be lung, 0..1"),
                "lung_probabilities": tensor(
                    "float32",
                    pixels,
                    "the same, 0 in all but the two largest components: the lung mask is where, "
                    "resized to the image's size, they reach the threshold",
                ),
                "components": components,
            },
        },
        ("n", "dice", "iou", "hd95", "assd", "pooled_dice"),
        {
            "threshold": segmenter.threshold,
            "size": list(segmenter.size),
            "lung_masks": checked.to_dict(),
        },
    )
