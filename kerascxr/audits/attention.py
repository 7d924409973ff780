"""Where a classifier's evidence lies: the share of Grad-CAM's mass inside the lungs."""

from typing import Any

import numpy as np
import tensorflow as tf

from kerascxr.config import ClassificationConfig
from kerascxr.data.images import resize_mask, to_backbone_input
from kerascxr.data.ingest.folds import split_folds
from kerascxr.data.ingest.store import Store
from kerascxr.data.pipeline import Images, read_images
from kerascxr.data.roi import ROIS, Region
from kerascxr.models.gradcam import GradCAM
from kerascxr.models.saved import load_saved
from kerascxr.runs.reading import Run
from kerascxr.training.feature_files import FeatureFolder
from kerascxr.training.lungs import read_lungs

_BATCH = 32


def measure_attention(
    run: Run, config: ClassificationConfig, store: Store, test: Images, found: np.ndarray
) -> dict[str, Any]:
    """Returns, by true class, the share of Grad-CAM's mass in the lungs, and theirs of the area.

    Images on which Grad-CAM is 0 everywhere, which ``without_evidence`` counts, have no share and
    are left out; of a class with no others both are None.

    Grad-CAM is that of the run's own model, for the class that it predicts, on the input that the
    model was trained on. The lungs get the run's region of interest too, so that both have the
    coordinates of that input.
    """
    model = load_saved(run.path / "model.keras")
    maps = tf.function(GradCAM(model).maps, reduce_retracing=True, autograph=False)
    own, seen = found, test
    if config.roi != "none":
        if ROIS[config.roi].needs_lungs:
            folds = split_folds(config.split)["test"]
            own = read_lungs(
                store, folds, config.lungs, config.image_size, FeatureFolder.of(config.data)
            )
        seen = read_test(config, store, config.roi, own)
    visible = tf.function(lambda lungs, own: visible_lungs(config, lungs, own), autograph=False)
    logits = tf.function(lambda x: model(x, training=False), reduce_retracing=True, autograph=False)
    shares, areas = [], []
    for begin in range(0, len(test), _BATCH):
        x = to_backbone_input(seen.pixels[begin : begin + _BATCH])
        heat = maps(x, tf.argmax(logits(x), axis=1, output_type=tf.int32)).numpy()
        inside = np.stack(
            [
                visible(*pair).numpy()
                for pair in zip(found[begin:][:_BATCH], own[begin:][:_BATCH], strict=True)
            ]
        )
        total = heat.sum(axis=(1, 2))
        with np.errstate(invalid="ignore"):  # no heat at all: left out of the means
            shares.append((heat * inside).sum(axis=(1, 2)) / total)
        areas.append(inside.mean(axis=(1, 2)))
    share, area = np.concatenate(shares), np.concatenate(areas)
    by_class: dict[str, Any] = {}
    for index, name in enumerate(test.classes):
        chosen = test.labels == index
        defined = chosen & np.isfinite(share)
        by_class[name] = {
            "images": int(chosen.sum()),
            "without_evidence": int(chosen.sum() - defined.sum()),
            "inside": float(share[defined].mean()) if defined.any() else None,
            "area": float(area[defined].mean()) if defined.any() else None,
        }
    return by_class


def visible_lungs(config: ClassificationConfig, lungs: tf.Tensor, own: tf.Tensor) -> tf.Tensor:
    """Returns where a classifier's input shows the lungs.

    Args:
        config: The classifier's image size and region of interest.
        lungs: uint8 (h, w, 1), 0 or 255, of the full image.
        own: The lung mask that the region of interest is computed from, likewise.

    Returns:
        bool (*image_size).
    """
    if config.roi == "none":
        return resize_mask(lungs, config.image_size)[..., 0] > 0
    roi = ROIS[config.roi]
    return (roi.move or roi.apply)(lungs, own, config.image_size)[..., 0] >= 128


def read_test(
    config: ClassificationConfig, store: Store, roi: str, found: np.ndarray | None
) -> Images:
    """Reads the test images under a region of interest, with the lungs found in them."""
    folds = split_folds(config.split)["test"]
    region = Region(roi, found, config.control_marker)
    return read_images(store, folds, config.image_size, region=region, cache=config.data.cache)
