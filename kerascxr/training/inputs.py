"""The input of both trainers: a source, opened as a store and divided into splits."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from kerascxr.config import ClassificationConfig, DataConfig, SplitConfig, TrainingConfig
from kerascxr.data.ingest.folds import N_FOLDS, SPLITS, random_folds, split_folds
from kerascxr.data.ingest.store import Store, open_store
from kerascxr.data.phantom.drawing import PHANTOM
from kerascxr.data.pipeline import Images, read_parts
from kerascxr.data.roi import ROIS, Region
from kerascxr.data.sources.layouts import layout_names
from kerascxr.data.sources.open import choose_source, open_source
from kerascxr.evaluation.lung_masks import LungMaskCheck
from kerascxr.runs.inflated_scores import ignores_groups, why_inflated
from kerascxr.runs.reading import Run
from kerascxr.training.feature_files import FeatureFolder
from kerascxr.training.lungs import read_lungs, require_plausible, require_same_lungs
from kerascxr.training.sharing import shared

logger = logging.getLogger(__name__)


def open_data(data: DataConfig, only_tested: bool = False) -> Store:
    """Opens a source as a store, saying which was taken.

    Args:
        data: The source and where stores lie.
        only_tested: Whether the images are for a finished model: then one class will do, or none.

    Returns:
        The store.

    Raises:
        ValueError: If the source cannot be used.
    """
    source = open_source(
        data.source,
        phantom_images=data.phantom_images,
        phantom_seed=data.phantom_seed,
        only_tested=only_tested,
    )
    if source.notice:
        logger.info(source.notice)
    return open_store(source, data.stores, data.stores_gb)


def as_read(data: DataConfig, splits: dict[str, Images]) -> DataConfig:
    """Returns a config with the source and the cache that "auto" meant on this machine.

    Args:
        data: The config that the images were read by.
        splits: From ``read_splits``.
    """
    on_disk = any(images.cached_in == "disk" for images in splits.values())
    return replace(data, source=choose_source(data.source), cache="disk" if on_disk else "memory")


def open_run_store(run: Run, data: DataConfig) -> Store:
    """Opens the images that a run was trained and tested on.

    Raises:
        ValueError: If they, or the lung model of the training, are not to be had or have changed.
    """
    if ignores_groups(run):  # the store does not even have its folds
        raise ValueError(f"{run.path} {why_inflated(run)}")
    require_same_lungs(run)
    layout = run.metrics["data"].get("layout")
    try:
        store = open_data(data)
    except ValueError as error:
        if layout is None or layout == PHANTOM or layout in layout_names():
            raise
        raise ValueError(
            f"{error} {run.path} was trained on a source of the layout {layout!r}, which a script "
            "added; start the command from that script."
        ) from error
    if store.fingerprint["digest"] != run.metrics["data"]["fingerprint"]:
        raise ValueError(
            f"the images must be those that {run.path} was tested on. "
            f"Got {store.path.name}, which has changed since; bring them back, or train again."
        )
    return store


def read_splits(config: TrainingConfig, store: Store, masks: bool = False) -> dict[str, Images]:
    """Divides a store into training, validation and test images.

    Args:
        config: Size, cache and split.
        store: The images.
        masks: Whether masks come along.

    Returns:
        {"train": ..., "validation": ..., "test": ...}.

    Raises:
        ValueError: If the set is too small for folds, if the source fixes its split and the config
            asks for another, or if too many lung masks are implausible.
    """
    store.require_folds()
    if store.fixed_split and config.split != SplitConfig():
        raise ValueError(
            "split must be left as it is, and folds left out, where the source itself says what "
            "trains and what tests. "
            f"Got split={config.split}."
        )
    folds_of = split_folds(config.split)
    if config.split.groups == "kept":
        splits = dict(
            zip(folds_of, _read_parts(config, store, list(folds_of.values()), masks), strict=True)
        )
        require_lungs(config, splits.values())
        return splits
    logger.warning(
        "Groups are ignored: test images leak into training. For measuring that, not to report."
    )
    images = read_everything(config, store, masks)
    fold = random_folds(images.labels, config.split.seed)
    return {
        name: images.only(np.flatnonzero(np.isin(fold, folds))) for name, folds in folds_of.items()
    }


def seen_images(store: Store, splits: dict[str, Images]) -> list[dict[str, str]]:
    """Returns the images that decide a model, for a run's training_images.csv.

    Args:
        store: The images.
        splits: From ``read_splits``.

    Returns:
        One row per training and validation image: id, group, group as the source gives it, split,
        digest of its pixels.
    """
    rows = {row["id"]: row for row in store.rows}
    return [
        {
            "id": image,
            "group": rows[image]["group"],
            "given_group": rows[image]["given_group"],
            "split": name,
            "digest": rows[image]["digest"],
        }
        for name in ("train", "validation")
        for image in splits[name].ids
    ]


def read_everything(config: TrainingConfig, store: Store, masks: bool = False) -> Images:
    """Reads all folds of a store.

    Raises:
        ValueError: If too many lung masks are implausible.
    """
    images = read_folds(config, store, range(N_FOLDS), masks)
    require_lungs(config, [images])
    return images


def read_folds(
    config: TrainingConfig, store: Store, folds: Sequence[int], masks: bool = False
) -> Images:
    """Reads some folds of a store, a classifier's as its input."""
    [images] = _read_parts(config, store, [folds], masks)
    return images


def _read_parts(
    config: TrainingConfig, store: Store, parts: Sequence[Sequence[int]], masks: bool
) -> list[Images]:
    def read(parts: Sequence[Sequence[int]], region: Region) -> list[Images]:
        return read_parts(
            store,
            parts,
            config.image_size,
            masks=masks,
            region=region,
            cache=config.data.cache,
        )

    region = Region()
    if isinstance(config, ClassificationConfig):
        region = Region(config.roi, None, config.control_marker)
        if ROIS[config.roi].needs_lungs:
            features = FeatureFolder.of(config.data)
            found = []
            for folds in parts:  # one after the other: a part's lungs take the memory of its images
                lungs = read_lungs(store, folds, config.lungs, config.image_size, features)
                found += read([folds], replace(region, lungs=lungs))
            return found
    key = (store.path, store.fingerprint["digest"], tuple(map(tuple, parts)), config.image_size)
    more = (masks, region.roi, region.control_marker)
    return list(shared("images", key + more, lambda: read(parts, region)))


def require_lungs(config: TrainingConfig, parts: Iterable[Images]) -> None:
    """Logs how many of the lung masks are plausible, if there are any.

    Raises:
        ValueError: If too few are, see ``LungMaskCheck``.
    """
    faults = _lung_faults(parts)
    if faults:
        run = config.lungs if isinstance(config, ClassificationConfig) else None
        require_plausible(faults, run)


def describe_lungs(parts: Iterable[Images]) -> dict[str, Any]:
    """Returns the entry ``lung_masks`` of metrics.json's ``data``; nothing without lung masks."""
    faults = _lung_faults(parts)
    return {"lung_masks": LungMaskCheck.of(faults).to_dict()} if faults else {}


def _lung_faults(parts: Iterable[Images]) -> list[tuple[str, ...]]:
    return [one for images in parts for one in images.lung_faults or ()]


def check_classes(splits: dict[str, Images]) -> None:
    """Checks that there are two or more classes and that each split has them all.

    Raises:
        ValueError: If not.
    """
    classes = splits["train"].classes
    if len(classes) < 2:
        raise ValueError(
            "classification must have at least two classes. "
            f"Got classes={classes}; is this a set for segmentation?"
        )
    for name in SPLITS:
        missing = set(range(len(classes))) - set(splits[name].labels.tolist())
        if missing:
            names = ", ".join(classes[index] for index in sorted(missing))
            raise ValueError(f"each split must have every class. Got {name} without {names}.")
