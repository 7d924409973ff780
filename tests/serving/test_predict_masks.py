"""Lung masks of folders: each image's own size and name, areas, and nothing lost to a kill."""

import csv
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pydicom
import pytest
import tensorflow as tf
from PIL import Image

from kerascxr import __main__ as verbs
from kerascxr.data.files import read_grey
from kerascxr.data.images import resize_image
from kerascxr.evaluation.lung_areas import measure_lungs
from kerascxr.evaluation.lung_masks import lung_mask_faults
from kerascxr.plots.overlay import overlay
from kerascxr.serving import predict_masks
from kerascxr.serving.files import find_files
from kerascxr.serving.loaded_run import load_run
from kerascxr.serving.mask_predictors import MaskPredictor, load_mask_predictor
from tests.support.hostile_files import dicom

UIDS = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1", "SOPInstanceUID": "1.2.3", "Modality": "CR"}
UIDS |= {"StudyInstanceUID": "1.2.5", "SeriesInstanceUID": "1.2.6"}


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def chest(shape, seed):
    """A bright ellipse and a bright speck, on noise."""
    rows, columns = (np.linspace(0, 1, side) for side in shape)
    inside = (rows[:, None] - 0.5) ** 2 / 0.06 + (columns - 0.5) ** 2 / 0.04 < 1
    inside[: shape[0] // 8, : shape[1] // 8] = True
    noise = np.random.default_rng(seed).normal(0, 12, shape)
    return np.clip(40 + 150 * inside + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two images of one name, a DICOM file, a plain grey one, and one that cannot be read."""
    folder = tmp_path_factory.mktemp("images")
    for place, (name, shape) in enumerate({"a": (40, 67), "b": (64, 48)}.items()):
        (folder / name).mkdir()
        Image.fromarray(chest(shape, place)).save(folder / name / "1.png")
    spacing = {"PixelSpacing": [0.2, 0.5], "ImagerPixelSpacing": [9, 9]}
    pixels = chest((60, 44), 2).tobytes()
    (folder / "c.dcm").write_bytes(dicom(pixels, 60, 44, **UIDS, **spacing))
    (folder / "e.dcm").write_bytes(dicom(pixels, 60, 44, ImagerPixelSpacing=[0.1, 0.1]))
    Image.fromarray(np.full((20, 90), 90, np.uint8)).save(folder / "flat.png")
    (folder / "cut.png").write_bytes((folder / "a/1.png").read_bytes()[:200])
    return folder


@pytest.fixture(scope="module")
def finished(folder, runs, tmp_path_factory):
    to = tmp_path_factory.mktemp("out") / "masks of these"
    assert verbs.main(["predict", str(runs[1]), str(folder), "--to", str(to)]) == 1
    return to


def test_each_image_has_its_mask_and_overlay_at_its_own_size(folder, runs, finished):
    rows = {row["path"]: row for row in read(finished / "lungs.csv")}
    files = [path for path in find_files([str(folder)]) if path.name != "cut.png"]
    assert sorted(rows) == sorted(map(str, files))
    assert len({row["mask"] for row in rows.values()}) == len(files) == 5
    expected = load_run(runs[1]).predict(files)
    find = load_mask_predictor(runs[1]).find
    for path, mask in zip(files, expected.masks, strict=True):
        row = rows[str(path)]
        assert path.stem in row["mask"]
        image, written = read_grey(path), np.asarray(Image.open(finished / row["mask"]))
        np.testing.assert_array_equal(written, np.where(mask, 255, 0))
        assert written.dtype == np.uint8 and mask.shape == image.shape
        small = resize_image(image[..., None], (32, 32))[None]
        _, components = find(tf.cast(small, tf.float32))
        assert row["components_before_cleanup"] == str(int(components[0]))
        drawn = np.asarray(Image.open(finished / row["mask"].replace("masks/", "overlays/")))
        np.testing.assert_array_equal(drawn, overlay(image, mask))
    assert any(mask.any() for mask in expected.masks)


def test_pictures_are_compressed_at_the_fastest_level(finished):
    for path in (*finished.glob("masks/*.png"), *finished.glob("overlays/*.png")):
        data = path.read_bytes()
        stream = data[data.index(b"IDAT") + 4 :]
        assert stream[1] >> 6 == 0  # FLEVEL, RFC 1950


def test_the_table_has_areas_sides_and_the_pixels_size(folder, finished):
    rows = {row["path"]: row for row in read(finished / "lungs.csv")}
    known = {str(folder / "c.dcm"): (0.2, 0.5), str(folder / "e.dcm"): (0.1, 0.1)}
    for path, row in rows.items():
        mask = np.asarray(Image.open(finished / row["mask"])) > 0
        areas = measure_lungs(mask, known.get(path))
        for name in ("lung_fraction", "lung_pixels", "lung_mm2"):
            value = getattr(areas, name)
            assert row[name] == ("" if value is None else repr(value))
        for name in ("right_lung_pixels", "left_lung_pixels", "right_lung_mm2", "left_lung_mm2"):
            value = getattr(areas, name)
            assert row[name] == ("" if value is None else repr(value))
        assert int(row["components_before_cleanup"]) >= areas.components
        faults = [f"the mask {fault}" for fault in lung_mask_faults(mask)]
        assert [item for item in row["warnings"].split("; ") if "the mask" in item] == faults
        assert [row["row_mm"], row["column_mm"]] == list(map(repr, known.get(path, ()))) or (
            path not in known and row["row_mm"] == row["column_mm"] == row["lung_mm2"] == ""
        )
    assert rows[str(folder / "c.dcm")]["spacing_from"] == "PixelSpacing"
    assert rows[str(folder / "e.dcm")]["spacing_from"] == "ImagerPixelSpacing"
    assert rows[str(folder / "a/1.png")]["spacing_from"] == ""
    flat = rows[str(folder / "flat.png")]["warnings"]
    assert "nearly constant" in flat and "unusual shape" in flat
    wide = rows[str(folder / "a/1.png")]["warnings"]  # it would be too narrow if turned
    assert "nearly constant" not in wide and "unusual shape" not in wide


def test_a_dicom_file_has_a_dicom_seg_and_one_without_identity_a_warning(folder, finished, runs):
    rows = {row["path"]: row for row in read(finished / "lungs.csv")}
    row, bare = rows[str(folder / "c.dcm")], rows[str(folder / "e.dcm")]
    dataset = pydicom.dcmread(finished / row["dicom_seg"])
    series = dataset.ReferencedSeriesSequence[0]
    assert series.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID == "1.2.3"
    mask = np.asarray(Image.open(finished / row["mask"])) > 0
    np.testing.assert_array_equal(dataset.pixel_array.reshape(-1, 60, 44).max(axis=0) > 0, mask)
    assert dataset.DeviceSerialNumber == load_mask_predictor(runs[1]).identity[:64]
    assert bare["dicom_seg"] == "" and "no DICOM SEG: the file has no" in bare["warnings"]
    assert (
        "no DICOM SEG" not in row["warnings"] and rows[str(folder / "a/1.png")]["dicom_seg"] == ""
    )
    assert [path.name for path in (finished / "dicom_seg").iterdir()] == [
        row["dicom_seg"].removeprefix("dicom_seg/")
    ]


@pytest.mark.parametrize(
    ("tags", "sides"),
    [
        ({"PatientOrientation": ["L", "F"], "ViewPosition": "PA"}, True),
        ({"PatientOrientation": ["R", "F"]}, False),  # mirrored
        ({"ViewPosition": "LL"}, False),
    ],
)
def test_sides_are_left_out_where_the_file_says_that_right_is_not_left(tmp_path, tags, sides):
    mask = np.zeros((60, 44), bool)
    mask[20:40, 6:18] = mask[20:45, 26:38] = True
    path = tmp_path / "x.dcm"
    path.write_bytes(dicom(bytes(60 * 44), 60, 44, **UIDS, **tags))
    item = SimpleNamespace(path=str(path), image=mask.astype(np.uint8), is_dicom=True)
    folders = predict_masks._Folders(tmp_path / "masks", None, tmp_path / "dicom_seg")
    row = predict_masks._write(item, mask, folders, "model")
    assert row["lung_pixels"] == "540"
    cells = (row["right_lung_pixels"], row["left_lung_pixels"])
    assert cells == (("240", "300") if sides else ("", ""))
    assert ("not distinguished" in row["warnings"]) is not sides
    assert len(pydicom.dcmread(tmp_path / row["dicom_seg"]).SegmentSequence) == (2 if sides else 1)


def test_what_cannot_be_read_is_listed(folder, runs, tmp_path, capsys):
    odd = tmp_path / "\udcff.png"
    odd.write_bytes((folder / "a/1.png").read_bytes())
    to = tmp_path / "out"
    argv = ["predict", str(runs[1]), f"{folder}/cut.png", str(tmp_path / "*.png")]
    assert verbs.main([*argv, f"{folder}/a", "--to", str(to), "--overlays", "false"]) == 1
    shown = capsys.readouterr().out
    assert "2 files could not be read" in shown
    for name, words in (("cut.png", "truncated"), ("\\xff.png", "is not UTF-8")):
        (line,) = [line for line in shown.splitlines() if name in line]
        assert words in line
    assert len(read(to / "lungs.csv")) == 1
    assert sorted(path.name for path in to.iterdir()) == [
        ".lungs.csv.writing.lock",
        "lungs.csv",
        "masks",
        "rejected.csv",
    ]


def test_killed_it_goes_on_and_gives_the_same_files(folder, runs, tmp_path, monkeypatch, messages):
    monkeypatch.setattr(predict_masks, "_BATCH", 2)
    predictor = load_mask_predictor(runs[1])
    files = find_files([f"{folder}/a", f"{folder}/b", f"{folder}/*.png", f"{folder}/c.dcm"])
    whole, to = tmp_path / "whole", tmp_path / "out"
    unreadable = predict_masks.predict_masks(predictor, files, whole, None)

    class Killed(BaseException):
        pass

    write, seen = predict_masks._write, []

    def die(item, *more):
        if len(seen) == 2:
            raise Killed
        seen.append(item.path)
        return write(item, *more)

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(predict_masks, "_write", die)
        predict_masks.predict_masks(predictor, files, to, None)
    assert not (to / "lungs.csv").exists()
    again = []
    monkeypatch.setattr(
        predict_masks, "_write", lambda item, *more: again.append(item.path) or write(item, *more)
    )
    assert predict_masks.predict_masks(predictor, files, to, None) == unreadable
    assert messages()[-1] == "Resuming after 2 of 5 files."
    assert sorted(again) == sorted(str(path) for path in files[2:] if path.name != "cut.png")
    names = sorted(str(path.relative_to(whole)) for path in whole.rglob("*") if path.is_file())
    assert names == sorted(str(path.relative_to(to)) for path in to.rglob("*") if path.is_file())
    for name in names:
        if name.endswith(".dcm"):  # which has the time at which it was made
            one, other = pydicom.dcmread(whole / name), pydicom.dcmread(to / name)
            assert one.SOPInstanceUID == other.SOPInstanceUID
            assert one.PixelData == other.PixelData
            continue
        assert (whole / name).read_bytes() == (to / name).read_bytes()


def test_each_row_has_its_own_images_components(tmp_path):
    for name in "ab":
        Image.fromarray(chest((30, 40), 0)).save(tmp_path / f"{name}.png")

    def find(images):
        return images / 255, tf.constant([3, 7])

    model = MaskPredictor("m", "id", (16, 24), 0.5, find)
    items = [predict_masks._read(tmp_path / f"{name}.png", (16, 24)) for name in "ab"]
    folders = predict_masks._Folders(tmp_path / "masks", None, tmp_path / "dicom_seg")
    with ThreadPoolExecutor(1) as pool:
        rows = predict_masks._rows(pool, model, items, folders)
    assert [row["components_before_cleanup"] for row in rows] == ["3", "7"]


def test_an_image_has_the_height_and_width_of_the_models_input(tmp_path):
    Image.fromarray(chest((30, 40), 0)).save(tmp_path / "a.png")
    (tmp_path / "b.png").touch()
    for name in "ab":
        item = predict_masks._read(tmp_path / f"{name}.png", (16, 24))
        assert item.small.shape == (16, 24, 1) and bool(item.error) == (name == "b")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--to", "{to}/a.csv"], "--to must be a folder"),
        (["--to", "{to}/a.parquet"], "--to must be a folder"),
        (["--to", "{run}/DONE"], "--to must be a folder"),
        (["--to", "{to}/out", "--segmentation", "{run}"], "--segmentation must be left out"),
    ],
)
def test_wrong_input_is_one_line(folder, runs, tmp_path, capsys, more, words):
    more = [item.format(to=tmp_path, run=runs[1]) for item in more]
    assert verbs.main(["predict", str(runs[1]), str(folder), *more]) == 2
    message = capsys.readouterr().err
    assert words in message and message.rstrip().count("\n") == 0
    assert not list(tmp_path.iterdir())
    argv = ["predict", str(runs[0]), str(folder), "--to", f"{tmp_path}/a.csv", "--overlays", "true"]
    assert verbs.main(argv) == 2
    assert "must be a folder for a classifier" in capsys.readouterr().err
