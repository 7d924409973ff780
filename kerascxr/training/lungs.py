"""Where the lungs are in a store's images: by the source's own masks, or found by a U-Net."""

import hashlib
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from kerascxr.data.images import decode_png, resize_image, resize_mask
from kerascxr.data.ingest.store import Store
from kerascxr.data.pipeline import encoded_examples
from kerascxr.models.graphs import traced
from kerascxr.models.saved import load_saved
from kerascxr.models.segmenter import Segmenter
from kerascxr.progress import ProgressBar
from kerascxr.runs.atomic import replacing
from kerascxr.runs.cache import use
from kerascxr.runs.locks import locked
from kerascxr.runs.reading import read_run

_FORMAT = 2  # of what is kept
_BATCH = 16


def load_segmenter(run: Path) -> Segmenter:
    """Reads a finished segmentation run.

    Raises:
        ValueError: If it is none.
    """
    threshold = float(read_run(run, "segmentation").metrics["threshold"])
    return Segmenter(load_saved(run / "model.keras"), threshold)


def read_lungs(
    store: Store, folds: Sequence[int], run: Path | None, size: tuple[int, int], kept: Path
) -> np.ndarray:
    """Returns the lungs in some folds' images, in the order in which images are read.

    Args:
        store: The images.
        folds: Which folds, each 0..19.
        run: A finished segmentation run that finds them; None for the source's own masks.
        size: The (height, width) that the source's masks are wanted in; a U-Net's have its own.
        kept: A folder where what a U-Net found is kept.

    Returns:
        uint8 (n, h, w, 1), 0 or 255; all 0 where the U-Net finds no lung.

    Raises:
        ValueError: If an image has no usable mask, or the run is none.
    """
    if run is None:
        return _from_source(store, folds, size)
    segmenter = load_segmenter(run)
    digest = hashlib.sha256((run / "model.keras").read_bytes())
    known = (_FORMAT, store.fingerprint["digest"], sorted(folds), segmenter.threshold)
    digest.update(str(known).encode())
    path = kept / f"lungs-{digest.hexdigest()[:32]}.npz"
    use(path.with_suffix(""), segmenter)
    waiting = "Another process is finding the lungs in the same images; waiting for it."
    with locked(kept / f".{path.stem}.lock", waiting):
        found = _read_kept(path, segmenter.size)
        if found is None:
            found = _from_unet(store, folds, segmenter)
            with replacing(path) as partial, partial.open("wb") as file:
                np.savez(file, bits=np.packbits(found.reshape(len(found), -1) > 0, axis=1))
    return found


def _read_kept(path: Path, size: tuple[int, int]) -> np.ndarray | None:
    """Returns the masks in a kept file; None if it is missing or damaged."""
    try:
        with np.load(path) as file:  # a zip file: reading compares checksums
            flat = np.unpackbits(file["bits"], axis=1, count=size[0] * size[1])
    except (FileNotFoundError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return 255 * flat.reshape(-1, *size, 1)


def _from_source(store: Store, folds: Sequence[int], size: tuple[int, int]) -> np.ndarray:
    without = [row["id"] for row in store.rows if row["mask_state"] != "ok"]
    if without:
        raise ValueError(
            "each image must have a lung mask where the roi needs the lungs. Got "
            f"{len(without):,} of {len(store.rows):,} without a usable one ({without[0]}, ...); "
            "--lungs RUN takes a finished segmentation run to find them."
        )
    masks = encoded_examples(store, folds).map(
        lambda example: resize_mask(decode_png(example["mask"]), size),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    return np.concatenate(list(masks.batch(_BATCH).as_numpy_iterator()))


def _from_unet(store: Store, folds: Sequence[int], segmenter: Segmenter) -> np.ndarray:
    images = encoded_examples(store, folds).map(
        lambda example: resize_image(decode_png(example["image"]), segmenter.size),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    spec = tf.TensorSpec((None, *segmenter.size, 1), images.element_spec.dtype)
    find = traced(segmenter.masks, spec)
    chosen = set(map(str, folds))
    total = sum(row["fold"] in chosen for row in store.rows)
    found = []
    with ProgressBar(total=total, desc="Finding lungs", unit="image") as bar:
        for batch in images.batch(_BATCH).prefetch(2):
            found.append(find(batch).numpy())
            bar.update(len(found[-1]))
    return np.concatenate(found)
