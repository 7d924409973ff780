"""Batches: every image once in evaluation; training depends on seed and epoch alone."""

import dataclasses
import itertools
from itertools import chain
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from kerascxr.config import AugmentConfig, SplitConfig
from kerascxr.data import arrays
from kerascxr.data.images import antialiased, resize_image, resize_mask, to_backbone_input
from kerascxr.data.ingest.folds import split_folds
from kerascxr.data.ingest.store import open_store
from kerascxr.data.order import WHOLE, Share, epoch_order
from kerascxr.data.pipeline import (
    Images,
    evaluation_batches,
    read_images,
    read_parts,
    steps_per_epoch,
    training_batches,
)
from kerascxr.data.roi import Region
from kerascxr.data.sources.open import open_source

OFF = AugmentConfig(enabled=False)


def numbered(n=10, classes=2):
    """Images whose every pixel is their number."""
    pixels = np.broadcast_to(np.arange(n, dtype=np.uint8)[:, None, None, None], (n, 8, 8, 1))
    names = tuple(f"class{kind}" for kind in range(classes))
    ids = tuple(map(str, range(n)))
    return Images(pixels, None, ids, ids, np.arange(n) % classes, names)


def order(images, epochs, **options):
    steps = steps_per_epoch(images, 4)
    batches = training_batches(images, 4, **{"seed": 3, "augment": OFF} | options)
    flat = [batch["index"].tolist() for batch in batches.take(steps * epochs).as_numpy_iterator()]
    return [list(chain(*flat[e * steps : (e + 1) * steps])) for e in range(epochs)]


def test_evaluation_sees_each_image_once_in_order():
    batches = [b["index"].tolist() for b in evaluation_batches(numbered(), 4).as_numpy_iterator()]
    assert batches == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_an_epoch_of_training_sees_each_image_once_in_another_order():
    first, second, third = order(numbered(), 3)
    assert sorted(first) == sorted(second) == sorted(third) == list(range(10))
    assert first != second != third
    assert first != list(range(10))


def test_starting_later_gives_what_an_unbroken_run_gives():
    images = numbered()
    augment = AugmentConfig(noise=0.1)

    def batches(first_epoch, n):
        dataset = training_batches(images, 4, seed=1, augment=augment, first_epoch=first_epoch)
        return list(dataset.take(n).as_numpy_iterator())

    for whole, resumed in zip(batches(0, 9)[6:], batches(2, 3), strict=True):
        np.testing.assert_array_equal(whole["index"], resumed["index"])
        np.testing.assert_array_equal(whole["image"], resumed["image"])


def test_no_epoch_of_one_seed_has_the_order_of_another_ones():
    orders = {
        tuple(epoch_order(np.zeros(20, np.int64), seed, epoch))
        for seed in range(3)
        for epoch in range(3)
    }
    assert len(orders) == 9


def test_another_seed_gives_another_order():
    assert order(numbered(), 1) == order(numbered(), 1)
    assert order(numbered(), 1) != order(numbered(), 1, seed=4)


def test_batches_are_balanced_where_that_is_asked_for():
    images = dataclasses.replace(numbered(), labels=np.repeat([0, 1], [8, 2]))
    for epoch, drawn in enumerate(order(images, 2, balanced=True)):
        assert drawn == epoch_order(images.labels, 3, epoch, balanced=True).tolist()


def test_a_batch_holds_the_images_that_it_names():
    for batch in training_batches(numbered(), 4, seed=0, augment=OFF).take(6).as_numpy_iterator():
        np.testing.assert_array_equal(batch["image"][:, 0, 0, 0], batch["index"])
        np.testing.assert_array_equal(batch["label"], batch["index"] % 2)


@given(
    counts=st.lists(st.integers(1, 40), min_size=2, max_size=5),
    seed=st.integers(0, 2**31 - 1),
    epoch=st.integers(0, 100),
)
def test_balanced_sampling_draws_each_class_equally_often(counts, seed, epoch):
    labels = np.repeat(np.arange(len(counts)), counts)
    drawn = epoch_order(labels, seed, epoch, balanced=True)
    assert len(drawn) == len(labels)
    by_class = np.bincount(labels[drawn], minlength=len(counts))
    assert by_class.max() - by_class.min() <= 1
    # No image comes a third time before every other of its class has come a second time.
    for kind in range(len(counts)):
        times = np.bincount(drawn[labels[drawn] == kind], minlength=len(labels))[labels == kind]
        assert times.max() - times.min() <= 1
    if epoch:
        assert len(labels) < 8 or (drawn != epoch_order(labels, seed, 0, balanced=True)).any()


def first_of(store, folds):
    return read_images(store, range(folds), (8, 8)).ids


def test_a_store_is_read_in_one_order_with_its_ids_and_labels(phantom_store):
    folds = split_folds(SplitConfig())["test"]
    first = read_images(phantom_store, folds, (32, 48))
    second = read_images(phantom_store, folds, (32, 48), cache="disk")
    assert first.ids == second.ids
    rows = {row["id"]: row for row in phantom_store.rows}
    source = open_source("phantom", phantom_images=160, phantom_seed=0)
    drawn = {item.id: item.image.draw()[0] for item in source.examples if item.id in first.ids}
    assert {int(rows[name]["fold"]) for name in first.ids} == set(folds)
    assert len(first.ids) == sum(int(row["fold"]) in folds for row in rows.values())
    in_order = [int(rows[name]["fold"]) for name in first.ids]
    assert in_order == sorted(in_order)  # lung masks are read in the same order
    assert read_images(phantom_store, [1, 0], (8, 8)).ids == first_of(phantom_store, 2)
    assert first.pixels.shape == (len(first), 32, 48, 1)
    np.testing.assert_array_equal(first.pixels, second.pixels)
    for name, label, pixels in zip(first.ids, first.labels, first.pixels, strict=True):
        assert first.classes[label] == rows[name]["label"]
        assert abs(pixels.mean() - drawn[name].mean()) < 3


def test_a_fixed_split_of_few_images_leaves_folds_empty(tmp_path):
    lines = ["path,label,split"]
    for index in range(9):
        pixels = np.random.default_rng(index).integers(0, 256, (9, 9)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")
        lines.append(f"{index}.png,{'ab'[index % 2]},{'train' if index < 6 else 'test'}")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    source = open_source(str(tmp_path / "list.csv"), phantom_images=1, phantom_seed=0)
    store = open_store(source, tmp_path / "stores")
    folds = split_folds(SplitConfig())
    assert len(read_images(store, folds["train"] + folds["validation"], (8, 8))) == 6
    assert len(read_images(store, folds["test"], (8, 8))) == 3
    empty = [fold for fold in range(17) if str(fold) not in {row["fold"] for row in store.rows}]
    with pytest.raises(ValueError, match="must hold images"):
        read_images(store, empty, (8, 8))


def test_both_caches_give_the_same_images_and_leave_no_file(phantom_store):
    before = sorted(phantom_store.path.parent.iterdir())
    memory, disk, auto = (
        read_images(phantom_store, [0, 1], (16, 16), masks=True, cache=cache)
        for cache in ("memory", "disk", "auto")
    )
    assert isinstance(disk.pixels, np.memmap)
    assert not isinstance(memory.pixels, np.memmap)
    assert (memory.cached_in, disk.cached_in) == ("memory", "disk")
    np.testing.assert_array_equal(memory.pixels, disk.pixels)
    np.testing.assert_array_equal(memory.masks, disk.masks)
    np.testing.assert_array_equal(memory.masks, auto.masks)
    assert set(np.unique(memory.masks)) == {0, 255}
    assert sorted(phantom_store.path.parent.iterdir()) == before


@pytest.mark.parametrize("cache", ["memory", "disk"])
def test_parts_read_in_one_pass_are_the_parts_read_by_themselves(phantom_store, cache):
    parts = [(19, 2), (5,), (0, 1, 18)]
    together = read_parts(phantom_store, parts, (16, 16), masks=True, cache=cache)
    for part, folds in zip(together, parts, strict=True):
        alone = read_images(phantom_store, folds, (16, 16), masks=True)
        assert (part.ids, part.groups, part.cached_in) == (alone.ids, alone.groups, cache)
        for name in ("pixels", "masks", "labels"):
            np.testing.assert_array_equal(getattr(part, name), getattr(alone, name))
    with pytest.raises(ValueError, match=r"folds \[99\] of .* must hold images"):
        read_parts(phantom_store, [(0,), (99,)], (16, 16))


@pytest.mark.parametrize(("available", "kind"), [(40, np.memmap), (41, np.ndarray)])
def test_images_are_in_memory_while_they_take_less_than_a_quarter(
    tmp_path, monkeypatch, available, kind
):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=available))
    assert type(arrays.new_array((10,), "auto", tmp_path)) is kind
    assert type(arrays.new_array((5,), "auto", tmp_path, np.float16)) is kind


def test_some_of_the_images_on_disk_are_on_disk_too(phantom_store):
    memory, disk = (
        read_images(phantom_store, [0, 1], (16, 16), masks=True, cache=cache)
        for cache in ("memory", "disk")
    )
    wanted = [3, 0, 5]
    few = disk.only(wanted)
    assert few.cached_in == "disk" and isinstance(few.masks, np.memmap)
    assert memory.only(wanted).cached_in == "memory"
    np.testing.assert_array_equal(few.pixels, memory.pixels[wanted])
    np.testing.assert_array_equal(few.only([2]).masks, memory.masks[[5]])
    assert len(disk.only([])) == 0


def test_splits_of_a_store_share_no_image(phantom_store):
    ids = [
        name
        for folds in split_folds(SplitConfig(offset=7)).values()
        for name in read_images(phantom_store, folds, (8, 8)).ids
    ]
    assert len(ids) == len(set(ids)) == len(phantom_store.rows)


def test_resizing_averages_and_rounds_to_8_bits():
    board = np.indices((8, 8)).sum(0) % 2 * 255
    small = resize_image(board.astype(np.uint8)[..., None], (2, 2)).numpy()
    assert small.dtype == np.uint8
    assert np.abs(small.astype(int) - 128).max() <= 2  # without averaging it would be 0 or 255


def test_masks_stay_binary_when_resized():
    mask = np.zeros((31, 29, 1), np.uint8)
    mask[5:20, 7:22] = 255
    small = resize_mask(mask, (16, 16)).numpy()
    assert set(np.unique(small)) == {0, 255}
    assert abs((small > 0).mean() - (mask > 0).mean()) < 0.05


def test_resizing_is_the_same_eagerly_and_mapped():
    image = np.random.default_rng(0).integers(0, 256, (37, 41, 1)).astype(np.uint8)
    mapped = tf.data.Dataset.from_tensors(image).map(lambda one: resize_image(one, (16, 24)))
    np.testing.assert_array_equal(next(iter(mapped)), resize_image(image, (16, 24)))


def test_backbones_get_three_equal_channels_of_0_to_255():
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 1)).astype(np.uint8)
    x = to_backbone_input(images).numpy()
    assert x.shape == (2, 4, 4, 3)
    assert x.dtype == np.float32
    for channel in range(3):
        np.testing.assert_array_equal(x[..., channel], images[..., 0])


def test_an_image_of_the_size_wanted_stays_as_it_is():
    image = np.random.default_rng(0).integers(0, 256, (17, 24, 1)).astype(np.uint8)
    resampled = tf.image.resize(image, (17, 24), method="bilinear", antialias=True)
    np.testing.assert_array_equal(resize_image(image, (17, 24)), image)
    np.testing.assert_array_equal(np.round(resampled), image)
    unknown = tf.data.Dataset.from_tensors(image).map(
        lambda one: resize_image(tf.ensure_shape(one, (None, None, 1)), (17, 24))
    )
    assert unknown.element_spec.shape == (17, 24, 1)
    np.testing.assert_array_equal(next(iter(unknown)), image)


@settings(max_examples=40)
@given(st.tuples(*[st.integers(1, 90)] * 4), st.integers(1, 3), st.booleans(), st.integers(0, 9))
def test_antialiased_resizing_has_the_bits_of_tensorflows(sides, channels, batched, seed):
    height, width, *size = sides
    shape = (*[2] * batched, height, width, channels)
    image = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
    expected = tf.image.resize(image, size, method="bilinear", antialias=True)
    np.testing.assert_array_equal(antialiased(image, tuple(size)), expected)
    given_as_tensor = antialiased(tf.cast(image, tf.float32), tf.constant(size))
    np.testing.assert_array_equal(given_as_tensor, expected)


def test_antialiased_resizing_keeps_the_shape_that_is_known_when_traced():
    spec = tf.TensorSpec((None, None, 1), tf.uint8)
    traced = tf.function(lambda image: antialiased(image, (16, 24))).get_concrete_function(spec)
    assert traced.structured_outputs.shape == (16, 24, 1)


def test_shrinking_averages_all_pixels():
    """Stripes between the sample points: without averaging, they would vanish."""
    image = np.zeros((64, 64, 1), np.uint8)
    image[:, ::4] = 240
    small = resize_image(image, (16, 16)).numpy()[:, 1:-1]
    assert np.abs(small.astype(int) - 60).max() <= 12


def test_every_batch_of_every_epoch_and_seed_is_augmented_by_draws_of_its_own():
    pixels = np.full((4, 8, 8, 1), 128, np.uint8)
    masks = np.where(np.arange(8) < 4, 255, 0).astype(np.uint8) * np.ones((4, 8, 1), np.uint8)
    names = tuple("abcd")
    images = Images(pixels, masks[..., None], names, names, np.zeros(4, np.int64), ("a",))
    noise = AugmentConfig(
        rotation_degrees=0, shift=0, zoom=0, brightness=0, contrast=0, noise=0.1, flip=False
    )
    seen = set()
    for seed in (0, 1):
        batches = training_batches(images, 2, seed=seed, augment=noise)
        for batch in batches.take(4).as_numpy_iterator():  # two epochs of two
            assert batch["image"].dtype == batch["mask"].dtype == np.float32
            np.testing.assert_array_equal(batch["mask"], masks[:2, ..., None])
            seen |= {image.tobytes() for image in batch["image"]}
    assert len(seen) == 2 * 4 * 2


def test_batches_that_divide_the_images_and_ones_that_do_not():
    assert [steps_per_epoch(numbered(n), 4) for n in (1, 4, 5, 8, 9)] == [1, 1, 2, 2, 3]


def test_some_images_keep_all_that_belongs_to_each():
    pixels = np.arange(4, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 1), np.uint8)
    faults = (("a",), (), ("b", "c"), ())
    images = Images(
        pixels,
        pixels + 10,
        tuple("wxyz"),
        tuple("ppqr"),
        np.arange(4),
        tuple("abcd"),
        "set-1",
        {"w": (1.0, 2.0)},
        faults,
    )
    some = images.only([2, 0])
    assert (some.ids, some.groups, some.labels.tolist()) == (("y", "w"), ("q", "p"), [2, 0])
    assert some.pixels[:, 0, 0, 0].tolist() == [2, 0]
    assert some.masks[:, 0, 0, 0].tolist() == [12, 10]
    assert some.lung_faults == (("b", "c"), ("a",))
    assert (some.classes, some.source, some.spacings) == (
        images.classes,
        "set-1",
        images.spacings,
    )


def test_images_keep_their_groups_spacings_and_the_faults_of_their_lungs(tmp_path):
    lines = ["path,label,mask,group,row_mm,column_mm"]
    for name, rows in (("upper", 8), ("empty", 0)):
        mask = np.where(np.arange(16)[:, None] < rows, 255, 0) * np.ones((1, 20))
        Image.fromarray(mask.astype(np.uint8)).save(tmp_path / f"{name}.png")
    for index in range(60):
        values = np.random.default_rng(index).integers(0, 256, (16, 20)).astype(np.uint8)
        Image.fromarray(values).save(tmp_path / f"{index}.png")
        spacing = "0.5,0.25" if index % 2 else ","
        mask = "empty" if index == 3 else "upper"
        lines.append(f"{index}.png,{'ab'[index % 2]},{mask}.png,g{index // 2},{spacing}")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    source = open_source(str(tmp_path / "list.csv"), phantom_images=1, phantom_seed=0)
    store = open_store(source, tmp_path / "stores")
    plain = read_images(store, range(20), (8, 5))
    assert plain.groups == tuple(str(int(name) // 2 * 2) for name in plain.ids)
    odd = {name for name in plain.ids if int(name) % 2}
    assert plain.spacings == {name: (1.0, 1.0) for name in odd}
    assert plain.lung_faults is None and plain.masks is None
    masked = read_images(store, range(20), (8, 5), masks=True)
    assert masked.ids == tuple(name for name in plain.ids if name != "3")
    assert (masked.masks[:, :4] == 255).all() and not masked.masks[:, 4:].any()
    lungs = np.zeros((60, 32, 32, 1), np.uint8)
    found = read_images(store, range(20), (8, 5), region=Region("lungs_only", lungs))
    assert len(found.lung_faults) == 60 and all(found.lung_faults)
    assert found.ids == plain.ids and found.spacings == plain.spacings
    lungs[:, :, :16] = 255
    lungs[1::3] = 255 - lungs[1::3]
    halves = read_images(store, range(20), (8, 5), region=Region("lungs_only", lungs)).pixels
    assert not halves[1::3, :, 0].any() and halves[1::3, :, 4].all()
    assert not halves[0::3, :, 4].any() and not halves[2::3, :, 4].any()
    found = read_images(store, range(20), (8, 5), region=Region("none", lungs))
    assert found.lung_faults is None
    changed = dataclasses.replace(store, fingerprint=store.fingerprint | {"digest": "another"})
    with pytest.raises(ValueError, match="must stay as it is while it is read"):
        read_images(changed, [0], (8, 5))


def test_workers_shares_are_the_whole_batch_as_it_would_be_augmented():
    """Each kind of draw; the last batch has two images, so a worker has none of it."""
    images = numbered()
    images = dataclasses.replace(images, masks=255 * (images.pixels % 2))
    augment = AugmentConfig(probability=0.7, noise=0.1, bias_field=0.1, gamma=0.3, jpeg=40, blur=1)

    def batches(share):
        options = {"seed": 1, "augment": augment, "first_epoch": 1, "share": share}
        return list(training_batches(images, 4, **options).take(3).as_numpy_iterator())

    whole = batches(WHOLE)
    assert [len(batch["index"]) for batch in whole] == [4, 4, 2]
    parts = [batches(Share(index, 3)) for index in range(3)]
    for step, batch in enumerate(whole):
        for name in batch:
            joined = np.concatenate([part[step][name] for part in parts])
            if name == "image":  # a convolution of fewer images may round otherwise
                np.testing.assert_allclose(joined, batch[name], rtol=1e-6, atol=1e-6)
            else:
                np.testing.assert_array_equal(joined, batch[name])


@given(st.integers(0, 50), st.integers(1, 9))
def test_shares_are_next_to_each_other_and_alike(size, count):
    parts = [Share(index, count).rows(size) for index in range(count)]
    assert parts[0][0] == 0 and parts[-1][1] == size
    assert all(one[1] == other[0] for one, other in itertools.pairwise(parts))
    sizes = [end - begin for begin, end in parts]
    assert max(sizes) - min(sizes) <= 1
