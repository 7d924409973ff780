"""From a store to batches: evaluation in a fixed order, training shuffled and augmented."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Literal

import numpy as np
import tensorflow as tf

from kerascxr.config import AugmentConfig
from kerascxr.data.arrays import chosen_rows, new_array
from kerascxr.data.control_markers import CONTROL_MARKERS
from kerascxr.data.graphs import do_not_convert
from kerascxr.data.images import decode_png, resize_mask
from kerascxr.data.ingest.store import Store
from kerascxr.data.order import WHOLE, Share, index_batches
from kerascxr.data.roi import ROIS, Region
from kerascxr.evaluation.lung_masks import lung_mask_faults
from kerascxr.progress import ProgressBar

Batch = dict[str, tf.Tensor]

_READ_BATCH = 64


@dataclass(frozen=True)
class Images:
    """Some folds' images at one size, decoded and resized, always in the same order.

    Attributes:
        pixels: uint8 (n, height, width, 1), in memory or mapped from a file; (n, height, width, 2)
            where the lungs come along as a channel.
        masks: uint8 (n, height, width, 1), 0 or 255, or None.
        ids: Each image's id.
        groups: Each image's group: near-duplicates, or one patient, share one.
        given_groups: What the source calls each image's group, or ""; () where none has any.
        labels: int64 (n,).
        classes: Class names in label order.
        source: The name of the store that they are from, for lists of what is cached.
        spacings: Id -> distance of rows and of columns in mm at this size, where it is known.
        lung_faults: Why each image's lung mask is implausible; None where no lung masks are used.
        folder: Where arrays of them are made that are too large for memory.
    """

    pixels: np.ndarray
    masks: np.ndarray | None
    ids: tuple[str, ...]
    groups: tuple[str, ...]
    labels: np.ndarray
    classes: tuple[str, ...]
    source: str = ""
    spacings: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    lung_faults: tuple[tuple[str, ...], ...] | None = None
    given_groups: tuple[str, ...] = ()
    folder: Path | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the pixels, which nobody changes."""
        digest = hashlib.sha256(str(self.pixels.shape).encode())
        for begin in range(0, len(self), _READ_BATCH):
            part = self.pixels[begin : begin + _READ_BATCH]
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()

    def names(self, index: int) -> dict[str, str]:
        """Returns what names an image in a table: id, group and, if any, given_group."""
        given = {"given_group": self.given_groups[index]} if self.given_groups else {}
        return {"id": self.ids[index], "group": self.groups[index], **given}

    @property
    def cached_in(self) -> Literal["memory", "disk"]:
        """Where the pixels are kept."""
        return "disk" if isinstance(self.pixels, np.memmap) else "memory"

    def only(self, indices: Sequence[int] | np.ndarray) -> "Images":
        """Returns some of them, in the order given; of images on disk, on disk."""
        chosen = np.asarray(indices, np.int64)
        pixels, masks = (
            None if array is None else chosen_rows(array, chosen, self.folder)
            for array in (self.pixels, self.masks)
        )
        assert pixels is not None
        return Images(
            pixels=pixels,
            masks=masks,
            ids=tuple(self.ids[index] for index in chosen),
            groups=tuple(self.groups[index] for index in chosen),
            labels=self.labels[chosen],
            classes=self.classes,
            source=self.source,
            spacings=self.spacings,
            lung_faults=self.lung_faults and tuple(self.lung_faults[index] for index in chosen),
            given_groups=self.given_groups and tuple(self.given_groups[index] for index in chosen),
            folder=self.folder,
        )


def encoded_examples(store: Store, folds: Sequence[int]) -> tf.data.Dataset:
    """Reads some folds of a store in the order given, images and masks as their PNG files' bytes.

    Raises:
        ValueError: If the folds are all empty, as those of a small fixed split can be.
    """
    import tensorflow_datasets as tfds

    names = [f"fold_{fold:02d}" for fold in folds]
    names = [name for name in names if name in store.builder.info.splits]
    if not names:
        raise ValueError(f"folds {sorted(folds)} of {store.path.name} must hold images. Got n=0.")
    # Files and reads in one fixed order, so that a seed means the same run each time.
    return store.builder.as_dataset(
        split="+".join(names),
        shuffle_files=False,
        decoders={"image": tfds.decode.SkipDecoding(), "mask": tfds.decode.SkipDecoding()},
        read_config=tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False),
    )


def read_images(
    store: Store,
    folds: Sequence[int],
    size: tuple[int, int],
    *,
    masks: bool = False,
    region: Region | None = None,
    cache: str = "auto",
) -> Images:
    """Decodes and resizes some folds of a store, once; all epochs read the result.

    Args:
        store: Where from.
        folds: Which folds, each 0..19.
        size: Height and width wanted, in pixels.
        masks: Whether masks come along; then only images whose mask is usable are read.
        region: What is read of each image; by default all of it.
        cache: "memory", "disk" (a temporary file beside the store) or "auto": memory while the
            images take less than a quarter of what is free.

    Returns:
        The images.

    Raises:
        ValueError: If the folds hold no (usable) image.
    """
    [images] = read_parts(store, [folds], size, masks=masks, region=region, cache=cache)
    return images


def read_parts(
    store: Store,
    parts: Sequence[Sequence[int]],
    size: tuple[int, int],
    *,
    masks: bool = False,
    region: Region | None = None,
    cache: str = "auto",
) -> list[Images]:
    """Reads several parts of a store in one pass; the other arguments as ``read_images``.

    Args:
        store: Where from.
        parts: The folds of each part, each 0..19. The region's lungs are in their order.
        size: Height and width wanted, in pixels.
        masks: Whether masks come along.
        region: What is read of each image.
        cache: Where the images are kept, all parts in one array.

    Returns:
        The images of each part.

    Raises:
        ValueError: If the folds of a part hold no (usable) image.
    """
    rows = [row for row in store.rows if not masks or row["mask_state"] == "ok"]
    counts = [sum(int(row["fold"]) in folds for row in rows) for folds in map(set, parts)]
    for folds, count in zip(parts, counts, strict=True):
        if not count:
            kind = "images with a usable mask" if masks else "images"
            raise ValueError(
                f"folds {sorted(folds)} of {store.path.name} must hold {kind}. Got n=0."
            )
    encoded = encoded_examples(store, [fold for folds in parts for fold in sorted(folds)])
    if masks:
        encoded = encoded.filter(do_not_convert(lambda one: tf.equal(one["mask_state"], "ok")))
    region = region or Region()
    look, lungs = ROIS[region.roi], region.lungs
    marker = CONTROL_MARKERS[region.control_marker] if region.control_marker else None
    nothing = tf.zeros((1, 1, 1), tf.uint8)

    @do_not_convert
    def decode(place: tf.Tensor, example: Batch) -> tuple[tf.Tensor, ...]:
        inside = nothing
        if look.needs_lungs:
            assert lungs is not None
            inside = tf.numpy_function(lambda i: lungs[i], [place], tf.uint8, stateful=False)
            inside = tf.ensure_shape(inside, lungs.shape[1:])
        image = decode_png(example["image"])
        if marker is not None:
            image, inside = marker.plant(image, inside, example["label"], len(store.classes))
        planes = [look.apply(image, inside, size)]
        if masks:
            planes.append(resize_mask(decode_png(example["mask"]), size))
        return example["id"], example["label"], *planes

    n = sum(counts)
    shape = (2 if masks else 1, n, *size, look.channels)
    target = new_array(shape, cache, store.path.parent)
    numbered = encoded.enumerate().map(decode, num_parallel_calls=tf.data.AUTOTUNE)
    batches = numbered.batch(_READ_BATCH)
    bar = ProgressBar(total=n, desc="Decoding", unit="image", leave=False)
    ids: list[str] = []
    labels: list[int] = []
    with bar:
        for names, numbers, *planes in batches.prefetch(2).as_numpy_iterator():
            place = slice(len(ids), len(ids) + len(names))
            for plane, values in enumerate(planes):
                target[plane, place] = values
            ids.extend(name.decode() for name in names)
            labels.extend(numbers)
            bar.update(len(names))
    groups = {row["id"]: (row["group"], row["given_group"]) for row in store.rows}
    is_given = any(given for _, given in groups.values())
    store.require_unchanged()
    faults = None
    if lungs is not None and look.needs_lungs:
        faults = tuple(lung_mask_faults(mask[..., 0]) for mask in lungs)
    ends = np.cumsum(counts)
    return [
        Images(
            pixels=target[0][part],
            masks=target[1][part] if masks else None,
            ids=tuple(ids[part]),
            groups=tuple(groups[name][0] for name in ids[part]),
            labels=np.array(labels[part], np.int64),
            classes=store.classes,
            source=store.path.name,
            spacings=store.spacings(size),
            lung_faults=faults and faults[part],
            given_groups=tuple(groups[name][1] for name in ids[part]) if is_given else (),
            folder=store.path.parent,
        )
        for part in map(slice, [0, *ends[:-1]], ends)
    ]


def _fetch(images: Images, indices: tf.Tensor) -> Batch:
    """Reads a batch by index: image, label, index and, where there are masks, mask."""

    def read(array: np.ndarray) -> tf.Tensor:
        # Not stateful: the same indices give the same pixels, so calls may run side by side.
        values = tf.numpy_function(lambda i: array[i], [indices], tf.uint8, stateful=False)
        return tf.ensure_shape(values, (None, *array.shape[1:]))

    batch = {
        "image": read(images.pixels),
        "label": tf.gather(tf.constant(images.labels), indices),
        "index": indices,
    }
    if images.masks is not None:
        batch["mask"] = read(images.masks)
    return batch


def evaluation_batches(images: Images, batch_size: int) -> tf.data.Dataset:
    """Batches every image once, in order; the last batch may be smaller.

    Args:
        images: From ``read_images``.
        batch_size: Images a batch.

    Returns:
        Batches of dicts: ``image`` uint8 (batch, height, width, 1), ``label`` and ``index`` int64
        (batch,), and ``mask`` uint8 (batch, height, width, 1), 0 or 255, where there are masks.
    """
    indices = tf.data.Dataset.range(len(images)).batch(batch_size)
    fetch = do_not_convert(partial(_fetch, images))
    return indices.map(fetch, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def steps_per_epoch(images: Images, batch_size: int) -> int:
    """Returns how many batches an epoch of ``training_batches`` has."""
    return -(-len(images) // batch_size)


def training_batches(
    images: Images,
    batch_size: int,
    *,
    seed: int,
    augment: AugmentConfig,
    first_epoch: int = 0,
    balanced: bool = False,
    share: Share = WHOLE,
) -> tf.data.Dataset:
    """Batches images shuffled and changed, epoch after epoch without end.

    Order and changes depend on the seed and the epoch alone: starting at ``first_epoch`` gives what
    a run from epoch 0 would have reached. Each epoch has ``steps_per_epoch`` batches.

    Args:
        images: From ``read_images``.
        batch_size: Images a batch.
        seed: Seed of order and changes.
        augment: How images change.
        first_epoch: The epoch to begin with.
        balanced: See ``epoch_order``.
        share: The part of each batch that is read and changed; it is changed as in the whole batch.

    Returns:
        Batches of dicts as from ``evaluation_batches``, but ``image`` and ``mask`` are float32.
    """
    change = None
    if augment.enabled:
        from kerascxr.data.augment import Augment  # keras-cv takes seconds to import

        change = Augment(augment)

    @do_not_convert
    def prepare(epoch: tf.Tensor, step: tf.Tensor, indices: tf.Tensor) -> Batch:
        size = tf.size(indices, tf.int64)
        begin, end = share.rows(size)
        batch = _fetch(images, indices if share.count == 1 else indices[begin:end])
        image, mask = tf.cast(batch["image"], tf.float32), batch.get("mask")
        if change is not None:
            rows = None if share.count == 1 else (begin, size)
            image, mask = change(image, tf.stack([seed + epoch * 2**32, step]), mask, rows)
        batch["image"] = image
        if mask is not None:
            batch["mask"] = tf.cast(mask, tf.float32)
        return batch

    batches = index_batches(
        images.labels, batch_size, seed=seed, first_epoch=first_epoch, balanced=balanced
    )
    return batches.map(prepare, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
