"""Where the lungs are in a store's images: by the source's own masks, or found by a U-Net."""

import hashlib
import logging
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import overload

import numpy as np
import tensorflow as tf

from kerascxr.config import PACKAGED
from kerascxr.data.arrays import gathered
from kerascxr.data.graphs import do_not_convert
from kerascxr.data.images import decode_png, resize_image, resize_mask
from kerascxr.data.ingest.store import Store
from kerascxr.data.pipeline import encoded_examples
from kerascxr.data.roi import ROIS
from kerascxr.evaluation.lung_masks import LungMaskCheck
from kerascxr.models import lung_model
from kerascxr.models.download import file_digest
from kerascxr.models.graphs import traced
from kerascxr.models.saved import load_saved
from kerascxr.models.segmenter import Segmenter
from kerascxr.progress import ProgressBar
from kerascxr.runs.atomic import replacing
from kerascxr.runs.cache import use
from kerascxr.runs.locks import locked
from kerascxr.runs.reading import Run, read_run
from kerascxr.training.engines import computed_by
from kerascxr.training.feature_files import FeatureFolder

logger = logging.getLogger(__name__)

_FORMAT = 3  # of what is kept
_BATCH = 16
_PACKED_AT_ONCE = 1024


@overload
def choose_lungs(given: Path | None) -> Path: ...
@overload
def choose_lungs(given: Path | None, store: Store) -> Path | None: ...
def choose_lungs(given: Path | None, store: Store | None = None) -> Path | None:
    """Decides where lung masks come from, and logs it if it is the package's lung model.

    Args:
        given: A finished segmentation run or ``PACKAGED``, which are taken; None for no choice.
        store: The images, if masks of their source can be used.

    Returns:
        What ``read_lungs`` and ``load_segmenter`` take: None for the source's own masks, if each
        image has a usable one; otherwise ``PACKAGED``.

    Raises:
        ValueError: If it is the package's lung model, and that is absent or altered.
    """
    if given is None and store is not None and not _without_mask(store):
        return None
    if given in (None, PACKAGED):
        title = lung_model.read_card()["title"]
        logger.info(f"Lung masks: by the lung model that comes with kerascxr ({title}).")
        return PACKAGED
    return given


def lungs_title(lungs: Path | None) -> str:
    """Returns where lung masks come from, for people; see ``choose_lungs``."""
    if lungs is None:
        return "the source's masks"
    return "the lung model that comes with kerascxr" if lungs == PACKAGED else str(lungs)


def require_plausible(
    faults: Sequence[tuple[str, ...]], lungs: Path | None, option: str = "--lungs"
) -> LungMaskCheck:
    """Checks a set's lung masks and logs how many are plausible.

    Args:
        faults: What ``lung_mask_faults`` returned for each mask.
        lungs: Where the masks come from, see ``choose_lungs``.
        option: The option that takes a segmentation run, for the message.

    Returns:
        The check.

    Raises:
        ValueError: If too few masks are plausible.
    """
    check = LungMaskCheck.of(faults)
    check.require_plausible(lungs_title(lungs), option)
    logger.info(check)
    return check


def load_segmenter(run: Path) -> Segmenter:
    """Reads a finished segmentation run, or the package's lung model.

    Raises:
        ValueError: If it is none.
    """
    if run == PACKAGED:
        return lung_model.load_lung_segmenter()
    threshold = float(read_run(run, "segmentation").metrics["threshold"])
    return Segmenter(load_saved(run / "model.keras"), threshold)


def read_lungs(
    store: Store, folds: Sequence[int], run: Path | None, size: tuple[int, int], kept: FeatureFolder
) -> np.ndarray:
    """Returns the lungs in some folds' images, in the order in which images are read.

    Args:
        store: The images.
        folds: Which folds, each 0..19.
        run: A finished segmentation run that finds them, or ``PACKAGED``; None for the source's
            own masks.
        size: The (height, width) that the source's masks are wanted in; a U-Net's have its own.
        kept: Where what a U-Net found is kept; its limit is enforced after a new file.

    Returns:
        uint8 (n, h, w, 1), 0 or 255; all 0 where the U-Net finds no lung.

    Raises:
        ValueError: If an image has no usable mask, or the run is none.
    """
    if run is None:
        return _from_source(store, folds, size)
    segmenter = load_segmenter(run)
    digest = hashlib.sha256(lungs_digest(run).encode())
    known = (_FORMAT, computed_by("keras"), store.fingerprint["digest"])
    digest.update(f"{known} {sorted(folds)} {segmenter.threshold}".encode())
    path = kept.path / f"lungs-{digest.hexdigest()[:32]}.npz"
    use(path.with_suffix(""), segmenter)
    waiting = "Another process is finding the lungs in the same images; waiting for it."
    with locked(kept.lock(path.stem), waiting):
        found = _read_kept(path, segmenter.size)
        computed = found is None
        if found is None:
            found = _from_unet(store, folds, segmenter)
            store.require_unchanged()
            parts = np.array_split(found, -(-len(found) // _PACKED_AT_ONCE))
            bits = [np.packbits(part.reshape(len(part), -1) > 0, axis=1) for part in parts]
            with replacing(path) as partial, partial.open("wb") as file:
                np.savez(file, bits=np.concatenate(bits))
    if computed:
        kept.enforce_limit()  # its own file stays: it is in use as long as the segmenter exists
    return found


def _read_kept(path: Path, size: tuple[int, int]) -> np.ndarray | None:
    """Returns the masks in a kept file; None if it is missing or damaged."""

    def unpacked(bits: np.ndarray) -> Iterator[np.ndarray]:
        for begin in range(0, len(bits), _PACKED_AT_ONCE):
            part = bits[begin : begin + _PACKED_AT_ONCE]
            flat = np.unpackbits(part, axis=1, count=size[0] * size[1])
            yield 255 * flat.reshape(-1, *size, 1)

    try:
        with np.load(path) as file:  # a zip file: reading compares checksums
            bits = file["bits"]
        return gathered(unpacked(bits), len(bits), "auto", path.parent)
    except (FileNotFoundError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def lungs_digest(run: Path | None) -> str:
    """Returns the SHA-256 of the model that finds lungs; "" where the source's masks are used."""
    if run is None:
        return ""
    if run == PACKAGED:
        return lung_model.read_card()["sha256"][lung_model.WEIGHTS]
    return file_digest(run / "model.keras")


def require_same_lungs(run: Run) -> None:
    """Checks that a run's region of interest is known and its lung model still the same.

    Args:
        run: A finished run; one that used no lung model passes.

    Raises:
        ValueError: If the lung model is missing or has changed, or no entry of ``ROIS`` has the
            name of the run's region: a script of the user's own may have added it.
    """
    roi = run.config.get("roi", "none")
    if roi not in ROIS:
        raise ValueError(
            f"the roi of {run.path} must be one of {', '.join(ROIS)}. Got roi={roi!r}; start the "
            "command from the script that adds it."
        )
    known = run.metrics["data"].get("lungs_sha256")
    if not known:
        return
    lungs = Path(run.config["lungs"])
    try:
        unchanged = lungs_digest(lungs) == known
    except OSError:
        unchanged = False
    if not unchanged:
        raise ValueError(
            f"the lung model {lungs_title(lungs)} is missing or has changed since {run.path} was "
            "trained with it; bring it back, or train again."
        )


def _without_mask(store: Store) -> list[str]:
    return [row["id"] for row in store.rows if row["mask_state"] != "ok"]


def _from_source(store: Store, folds: Sequence[int], size: tuple[int, int]) -> np.ndarray:
    without = _without_mask(store)
    if without:
        raise ValueError(
            "each image must have a lung mask where the roi needs the lungs. Got "
            f"{len(without):,} of {len(store.rows):,} without a usable one ({without[0]}, ...); "
            "--lungs RUN takes a finished segmentation run to find them."
        )
    masks = encoded_examples(store, sorted(folds)).map(
        do_not_convert(lambda example: resize_mask(decode_png(example["mask"]), size)),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    batches = masks.batch(_BATCH).as_numpy_iterator()
    found = gathered(batches, _count(store, folds), "auto", store.path.parent)
    store.require_unchanged()
    return found


def _from_unet(store: Store, folds: Sequence[int], segmenter: Segmenter) -> np.ndarray:
    images = encoded_examples(store, sorted(folds)).map(
        do_not_convert(lambda example: resize_image(decode_png(example["image"]), segmenter.size)),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    spec = tf.TensorSpec((None, *segmenter.size, 1), images.element_spec.dtype)
    find = traced(segmenter.masks, spec)
    total = _count(store, folds)

    def masks() -> Iterator[np.ndarray]:
        with ProgressBar(total=total, desc="Finding lungs", unit="image") as bar:
            for batch in images.batch(_BATCH).prefetch(2):
                found = find(batch).numpy()
                bar.update(len(found))
                yield found

    return gathered(masks(), total, "auto", store.path.parent)


def _count(store: Store, folds: Sequence[int]) -> int:
    """Returns the number of images in some folds."""
    chosen = set(map(str, folds))
    return sum(row["fold"] in chosen for row in store.rows)
