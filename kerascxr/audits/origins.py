"""Whether a set's origins give its classes away, by a frozen backbone's features of each image."""

import logging
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from kerascxr.config import ClassificationConfig
from kerascxr.data.ingest.store import Store
from kerascxr.data.pipeline import Images
from kerascxr.evaluation.origin_probes import Sourced, measure_sources, why_not
from kerascxr.training.engines import likely_engine
from kerascxr.training.feature_files import FeatureFolder
from kerascxr.training.features import BackboneFeatures

logger = logging.getLogger(__name__)


def check_sources(
    model: keras.Model,
    splits: Mapping[str, Images],
    origins: Mapping[str, str],
    config: ClassificationConfig,
) -> dict[str, Any]:
    """Measures what origins say of classes, and what is left of the classes within one origin.

    Args:
        model: A classifier from ``build_classifier`` with the weights that a run starts from.
        splits: "train", on which linear probes are trained, and "test", on which they are scored.
        origins: Image id -> where it comes from, "" where unknown; see ``origins_of``.
        config: Where features are kept, and what computes them.

    Returns:
        See ``measure_sources``; ``{"skipped": sentence}`` where origins are unknown or only one.
        No features are computed then.
    """
    found = {
        name: np.array([origins.get(image, "") for image in splits[name].ids], dtype=str)
        for name in ("train", "test")
    }
    reason = why_not(found["train"], found["test"])
    if reason:
        logger.info(reason)
        return {"skipped": reason}
    engine = likely_engine(config.feature_engine)
    features = BackboneFeatures(model, 0, FeatureFolder.of(config.data), engine=engine)
    train, test = (
        Sourced(
            features.of(images).astype(np.float32),
            images.labels,
            found[name],
            np.array(images.groups, dtype=str),
        )
        for name, images in ((name, splits[name]) for name in ("train", "test"))
    )
    logger.info("Probing what the origins say of the classes.")
    return measure_sources(train, test, splits["train"].classes)


def origins_of(store: Store) -> dict[str, str]:
    """Returns each image's origin by its id, "" where the source does not say."""
    return {row["id"]: row["origin"] for row in store.rows}
