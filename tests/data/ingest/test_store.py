"""Ingest: what goes in comes out, what cannot is listed, nothing is half written."""

import csv
import json
import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

from kerascxr.audits.leakage import read_pixels
from kerascxr.data.files import read_grey
from kerascxr.data.images import decode_png
from kerascxr.data.ingest import candidates, reading
from kerascxr.data.ingest import ingest as ingest_module
from kerascxr.data.ingest import store as store_module
from kerascxr.data.ingest.store import open_store
from kerascxr.data.pipeline import read_images
from kerascxr.data.sources.open import Rejected, open_source


def draw(seed, size=(24, 20)):
    return np.random.default_rng(seed).integers(0, 256, size).astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Two classes of 25 images, some in odd modes."""
    for kind, offset in (("healthy", 0), ("ill", 100)):
        place = tmp_path / "set" / kind
        place.mkdir(parents=True)
        for index in range(25):
            image = Image.fromarray(draw(offset + index))
            if index == 1:
                image = image.convert("RGBA")
            image.save(place / f"{kind}-{index}.png")
    return tmp_path / "set"


def opened(folder):
    return open_source(str(folder), phantom_images=1, phantom_seed=0)


def ingest(folder, stores):
    return open_store(opened(folder), stores)


def test_what_goes_in_comes_out(folder, tmp_path):
    store = ingest(folder, tmp_path / "stores")
    assert store.classes == ("healthy", "ill")
    assert not store.fixed_split
    seen = {}
    for fold in range(20):
        for example in store.builder.as_dataset(split=f"fold_{fold:02d}").as_numpy_iterator():
            seen[example["id"].decode()] = (example, fold)
    assert len(seen) == 50
    for row in store.rows:
        example, fold = seen[row["id"]]
        assert int(row["fold"]) == fold
        assert store.classes[example["label"]] == row["label"] == row["id"].split("/")[0]
        number = int(row["id"].rsplit("-", 1)[1]) + (100 if row["label"] == "ill" else 0)
        np.testing.assert_array_equal(example["image"][..., 0], draw(number))
        assert example["mask_state"] == b"none"


def test_a_second_opening_reuses_the_store(folder, tmp_path, monkeypatch, messages):
    first = ingest(folder, tmp_path / "stores")

    def refuse(*arguments):
        raise AssertionError("it was ingested again")

    monkeypatch.setattr(store_module, "ingest", refuse)
    messages.clear()
    second = ingest(folder, tmp_path / "stores")
    assert second == first
    assert "Using the ingested copy" in messages()[0]


def test_a_store_names_the_search_for_near_duplicates_and_stays_readable_with_another(
    folder, tmp_path, monkeypatch, messages
):
    faiss = pytest.importorskip("faiss", reason="pip install faiss-cpu to run this")
    first = ingest(folder, tmp_path / "stores")
    of_all = {"search": "exact", "images": 50}
    assert first.fingerprint["near_duplicate_search"] == of_all
    messages.clear()
    assert ingest(folder, tmp_path / "stores") == first
    assert not [line for line in messages() if "near-duplicates" in line]

    monkeypatch.setattr(candidates, "EXACT_UP_TO", 49)
    messages.clear()
    assert ingest(folder, tmp_path / "stores") == first
    (line,) = [line for line in messages() if "near-duplicates" in line]
    assert "were found by comparing each image with all others" in line
    assert f"with an index (faiss {faiss.__version__})" in line

    second = ingest(folder, tmp_path / "others")
    assert second.fingerprint["near_duplicate_search"] == {
        **{"search": "index", "images": 50, "faiss": faiss.__version__}
    }
    assert f"near-duplicates found with an index (faiss {faiss.__version__})" in messages()[-1]
    monkeypatch.setattr(faiss, "__version__", "9.9.9")
    messages.clear()
    assert ingest(folder, tmp_path / "others") == second
    assert any(
        "An ingest here would find them with an index (faiss 9.9.9)" in m for m in messages()
    )


def test_a_changed_source_is_noticed_and_named(folder, tmp_path, messages):
    first = ingest(folder, tmp_path / "stores")
    Image.fromarray(draw(999)).save(folder / "ill" / "ill-new.png")
    (folder / "healthy" / "healthy-3.png").unlink()
    messages.clear()
    second = ingest(folder, tmp_path / "stores")
    assert "1 file added, such as ill/ill-new.png" in messages()[0]
    assert "1 file removed, such as healthy/healthy-3.png" in messages()[0]
    assert second.fingerprint["digest"] != first.fingerprint["digest"]
    assert {row["id"] for row in second.rows} >= {"ill/ill-new"}


def test_a_store_that_was_replaced_while_it_is_used_is_not_read(folder, tmp_path):
    first = ingest(folder, tmp_path / "stores")
    assert len(read_images(first, range(20), (8, 8))) == 50
    Image.fromarray(draw(999)).save(folder / "ill" / "ill-3.png")
    ingest(folder, tmp_path / "stores")
    with pytest.raises(ValueError, match="another process has ingested it again"):
        read_images(first, range(20), (8, 8))


def test_an_interrupted_ingest_leaves_nothing_and_the_next_one_works(folder, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def die(*arguments):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(ingest_module, "_write_shards", die)
        with pytest.raises(Killed):
            ingest(folder, tmp_path / "stores")
    assert [path.name for path in (tmp_path / "stores").iterdir() if path.is_dir()] == []
    assert len(ingest(folder, tmp_path / "stores").rows) == 50


def test_a_disk_that_becomes_full_is_one_error_and_leaves_nothing(folder, tmp_path, monkeypatch):
    def full(self):
        try:
            raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")
        except tf.errors.ResourceExhaustedError as error:
            raise RuntimeError("Failed to finalize writing of split") from error

    monkeypatch.setattr(tfds.core.GeneratorBasedBuilder, "download_and_prepare", full)
    with pytest.raises(OSError, match=r"No space left on device: .*/stores/"):
        ingest(folder, tmp_path / "stores")
    assert not [path for path in (tmp_path / "stores").iterdir() if path.suffix != ".lock"]


def test_no_temporary_folder_stays(folder, tmp_path, monkeypatch):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    ingest(folder, tmp_path / "stores")
    assert not [*temporary.iterdir()]


def test_a_file_that_changes_or_goes_while_it_is_read_is_rejected(folder, monkeypatch):
    example = opened(folder).examples[0]
    measure = reading.measure

    def changing(pixels, file_bytes):
        Image.fromarray(255 - pixels).save(example.image)
        return measure(pixels, file_bytes)

    def removing(pixels, file_bytes):
        example.image.unlink()
        return measure(pixels, file_bytes)

    for change in (changing, removing):
        monkeypatch.setattr(reading, "measure", change)
        read = reading.read_example(example)
        assert read == Rejected(str(example.image), "changed while it was read")


def test_what_a_killed_ingest_left_is_cleared(folder, tmp_path):
    place = ingest(folder, tmp_path / "stores").path
    stale = place.with_name(f".partial-{place.name}-abcd1234")
    shutil.copytree(place, stale)
    shutil.rmtree(place)
    ingest(folder, tmp_path / "stores")
    assert not stale.exists()


def test_an_old_store_stays_until_the_new_one_is_complete(folder, tmp_path, monkeypatch):
    place = ingest(folder, tmp_path / "stores").path
    Image.fromarray(draw(999)).save(folder / "ill" / "ill-new.png")
    with monkeypatch.context() as patched, pytest.raises(ZeroDivisionError):
        patched.setattr(ingest_module, "_write_shards", lambda *arguments: 1 / 0)
        ingest(folder, tmp_path / "stores")
    assert (place / "store.json").exists()
    assert len((place / "examples.csv").read_text().splitlines()) == 51


def test_broken_files_are_set_aside_listed_and_told(folder, tmp_path, messages):
    (folder / "ill" / "empty.png").write_bytes(b"")
    whole = (folder / "ill" / "ill-0.png").read_bytes()
    (folder / "ill" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "ill" / "page.png").write_text("<html>not found</html>")
    messages.clear()
    store = ingest(folder, tmp_path / "stores")
    assert len(store.rows) == 50
    with (store.path / "rejected.csv").open(newline="") as file:
        listed = {row["path"].rsplit("/", 1)[-1]: row["reason"] for row in csv.DictReader(file)}
    assert set(listed) == {"empty.png", "cut.png", "page.png"}
    assert all(listed.values())
    (line,) = [line for line in messages() if line.startswith("3 files rejected")]
    assert all(name in line for name in listed) and "more" not in line
    (folder / "ill" / "second.png").write_bytes(b"")
    ingest(folder, tmp_path / "stores")
    assert messages()[-1].startswith("4 files rejected") and messages()[-1].endswith("; and 1 more")


def test_too_many_broken_files_are_an_error(folder, tmp_path):
    for index in range(10):
        (folder / "ill" / f"broken{index}.png").write_bytes(b"no")
    with pytest.raises(ValueError, match=r"at most one file in ten .* Got 10 of 60"):
        ingest(folder, tmp_path / "stores")
    assert not any(path.is_dir() for path in (tmp_path / "stores").iterdir())


def test_one_image_in_two_classes_is_set_aside_in_both(folder, tmp_path):
    shutil.copy(folder / "ill" / "ill-7.png", folder / "healthy" / "copy.png")
    store = ingest(folder, tmp_path / "stores")
    ids = {row["id"] for row in store.rows}
    assert not ids & {"ill/ill-7", "healthy/copy"}
    assert "the same image is in healthy and ill" in (store.path / "rejected.csv").read_text()


def test_copies_in_one_class_stay_and_share_a_fold(folder, tmp_path):
    for index in range(3):
        image = Image.open(folder / "ill" / f"ill-{index}.png").convert("L")
        image.save(folder / "ill" / f"copy-{index}.bmp")
    rows = {row["id"]: row for row in ingest(folder, tmp_path / "stores").rows}
    assert len(rows) == 53
    for index in range(3):
        one, other = rows[f"ill/ill-{index}"], rows[f"ill/copy-{index}"]
        assert (one["group"], one["fold"]) == (other["group"], other["fold"])


def test_cropped_and_brightened_copies_share_a_fold(tmp_path):
    source = open_source("phantom", phantom_images=60, phantom_seed=3)
    for index, example in enumerate(source.examples):
        pixels = read_pixels(example)
        place = tmp_path / "set" / "ab"[index % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"{index:02d}.png")
        if index < 10:
            Image.fromarray(pixels[5:-3, 4:]).save(place / f"{index:02d}-cropped.png")
            bright = np.clip(pixels * 0.8 + 40, 0, 255).astype(np.uint8)
            Image.fromarray(bright).save(place / f"{index:02d}-bright.jpg")
    store = ingest(tmp_path / "set", tmp_path / "stores")
    rows = {row["id"].partition("/")[2]: row for row in store.rows}
    for index in range(10):
        for copy in (f"{index:02d}-cropped", f"{index:02d}-bright"):
            assert rows[copy]["group"] == rows[f"{index:02d}"]["group"]
            assert rows[copy]["fold"] == rows[f"{index:02d}"]["fold"]
    assert len({row["group"] for row in store.rows}) >= 50


def test_a_rare_class_is_named(folder, tmp_path):
    for path in sorted((folder / "ill").iterdir())[:10]:
        path.unlink()
    store = ingest(folder, tmp_path / "stores")
    assert len(store.rows) == 40
    with pytest.raises(ValueError, match="'ill' with 15 images"):
        store.require_folds()


def test_masks_and_fixed_splits_come_along(tmp_path):
    lines = ["path,label,mask,split,row_mm,column_mm"]
    for index in range(40):
        Image.fromarray(draw(index)).save(tmp_path / f"{index}.png")
        mask = np.zeros((24, 20), np.uint8)
        mask[2 : 3 + index % 9, 4:9] = 255
        if index == 5:
            mask[:] = 0
        if index == 6:
            mask = np.zeros((24, 40), np.uint8)
        Image.fromarray(mask).convert("RGB").save(tmp_path / f"m{index}.png")
        split = ("train", "train", "validation", "test")[index % 4]
        lines.append(
            f"{index}.png,{'ab'[index // 4 % 2]},m{index}.png,{split}"
            + ",0.5,2" * (index == 7)
            + ",," * (index != 7)
        )
    (tmp_path / "list.csv").write_text("\n".join(lines))
    store = ingest(tmp_path / "list.csv", tmp_path / "stores")
    assert store.fixed_split
    for row in store.rows:
        index = int(row["id"])
        low, high = {"train": (0, 14), "validation": (14, 17), "test": (17, 20)}[
            ("train", "train", "validation", "test")[index % 4]
        ]
        assert low <= int(row["fold"]) < high
        assert row["mask_state"] == {5: "empty", 6: "aspect"}.get(index, "ok")
    folds = "+".join(f"fold_{fold:02d}" for fold in range(20))
    for example in store.builder.as_dataset(split=folds).as_numpy_iterator():
        if example["mask_state"] == b"ok":
            index = int(example["id"])
            assert (example["mask"] > 0).sum() == 5 * (1 + index % 9)
    assert store.spacings((12, 40)) == {"7": (1.0, 1.0)}  # from 24 x 20 pixels


def _list_with_split(folder, splits):
    """Writes 40 images, the first two the same, and a list of them with a split."""
    folder.mkdir(exist_ok=True)
    lines = ["path,label,split"]
    for index in range(40):
        Image.fromarray(draw(max(index, 1))).save(folder / f"{index}.png")
        lines.append(f"{index}.png,{'ab'[index // 2 % 2]},{splits[index % 2]}")
    (folder / "list.csv").write_text("\n".join(lines))
    return folder / "list.csv"


def test_swapping_a_fixed_split_changes_the_fingerprint_and_groups_it_cuts_are_named(
    tmp_path, messages
):
    path = _list_with_split(tmp_path / "set", ("train", "test"))
    first = ingest(path, tmp_path / "stores")
    assert first.fingerprint["groups_cut_by_split"] == 1
    (warning,) = [line for line in messages() if "source's own splits" in line]
    assert "divide 1 group of near-duplicates" in warning
    assert "(first: 0)" in warning
    _list_with_split(tmp_path / "set", ("test", "train"))
    second = ingest(path, tmp_path / "stores")
    assert second.fingerprint["digest"] != first.fingerprint["digest"]


def test_two_processes_at_once_ingest_a_source_once(folder, tmp_path, monkeypatch):
    times, original = [], store_module.ingest

    def slowly(*arguments):
        times.append(1)
        time.sleep(0.5)
        original(*arguments)

    monkeypatch.setattr(store_module, "ingest", slowly)
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda _: ingest(folder, tmp_path / "stores"), range(2))
    assert len(times) == 1
    assert one == other
    assert len(one.rows) == 50


def test_the_changed_settings_of_a_phantom_are_named(tmp_path, monkeypatch, messages):
    def pretend(source, signature, place):
        described = {"images": 1, "digest": "d", "rejected": 0, "classes": {}}
        described["groups_cut_by_split"] = 0
        store = {"format": ingest_module.FORMAT, "signature": signature, "classes": ["a"]}
        store |= {"fixed_split": False, "fingerprint": described, "layout": "phantom"}
        (place / "store.json").write_text(json.dumps(store))

    monkeypatch.setattr(store_module, "ingest", pretend)
    for images, seed in ((100, 0), (120, 1)):
        source = open_source("phantom", phantom_images=images, phantom_seed=seed)
        open_store(source, tmp_path)
    assert [line for line in messages() if "Ingesting" in line] == [
        "phantom was ingested with other settings: phantom_images 100 -> 120, phantom_seed 0 -> 1."
        " Ingesting it again."
    ]


def _odd_png(path, kind):
    """Writes a PNG of which TensorFlow's decoder alone would not give what is meant."""
    image = Image.fromarray(draw(5))
    if kind == "rotated":
        exif = Image.Exif()
        exif[274] = 6
        image.save(path, exif=exif)
    elif kind == "transparent":
        image.save(path, transparency=7)
    elif kind == "16 bits":
        Image.fromarray(draw(5).astype(np.uint16) * 257).save(path)
    elif kind == "colour":
        image.convert("RGB").save(path)
    elif kind == "two levels":
        image.convert("1").save(path)
    else:
        image.save(path)


@pytest.mark.parametrize(
    "kind", ["plain", "rotated", "transparent", "16 bits", "colour", "two levels"]
)
def test_a_file_is_stored_as_it_is_only_if_it_decodes_to_what_was_read(kind, tmp_path):
    path = tmp_path / "image.png"
    _odd_png(path, kind)
    pixels = read_grey(path)
    stored = reading._encode_image(pixels, path)
    np.testing.assert_array_equal(decode_png(stored).numpy()[..., 0], pixels)
    assert (stored == path.read_bytes()) == (kind == "plain")


def test_encoded_images_decode_to_themselves():
    pixels = draw(3)
    decoded = decode_png(reading._encode(pixels)).numpy()
    np.testing.assert_array_equal(decoded[..., 0], pixels)


def test_lists_of_other_names_in_one_folder_have_stores_of_their_own(tmp_path):
    for index in range(2):
        Image.fromarray(draw(index)).save(tmp_path / f"{index}.png")
    names = ("a b.csv", "a_b.csv", "a  b.csv", "a-b.csv", "a_b.CSV")
    places = set()
    for name in names:
        (tmp_path / name).write_text("path,label\n0.png,x\n1.png,y\n")
        source = open_source(str(tmp_path / name), phantom_images=1, phantom_seed=0)
        places.add(store_module.store_name(source).casefold())
    assert len(places) == len(names)
