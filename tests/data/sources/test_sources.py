"""Every layout is recognised and read; wrong input ends in one line that says what to do."""

import csv
import io
import os
import re
import subprocess
import sys
import time
import types

import numpy as np
import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from kerascxr.data.files import read_mask
from kerascxr.data.phantom.drawing import PHANTOM
from kerascxr.data.sources import open as open_module
from kerascxr.data.sources.class_folders import case_groups
from kerascxr.data.sources.examples import Example, Source, natural_key, unique_ids
from kerascxr.data.sources.layouts import LAYOUTS, Layout, layout_names
from kerascxr.data.sources.open import check_source, open_source
from kerascxr.progress import ProgressBar
from kerascxr.tables import csv_text

CLASSES = ("COVID", "Lung_Opacity", "Normal", "Viral Pneumonia")


def touch(root, *names):
    """Makes image files; sources never open them, so one pixel will do."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (1, 1)).save(path)


def open_(source, images=20, seed=0):
    opened = open_source(str(source), phantom_images=images, phantom_seed=seed)
    assert opened.layout in {*layout_names(), PHANTOM}
    return opened


def ids(source):
    return [example.id for example in source.examples]


def aside(source):
    return {item.path: item.reason for item in source.rejected}


def names(paths):
    return [path.name for path in paths]


def refuse(source, *words):
    with pytest.raises(ValueError) as caught:
        open_(source)
    message = str(caught.value)
    for word in words:
        assert word in message
    assert "\n" not in message
    assert message.endswith(".")
    return message


def radiography(root, level="images/", masks=True, count=2):
    for label in CLASSES:
        for number in range(1, count + 1):
            touch(root, f"{label}/{level}{label}-{number}.png")
            if masks:
                touch(root, f"{label}/masks/{label}-{number}.png")
    return root


# ---- radiography database


@pytest.mark.parametrize("level", ["images/", ""])
@pytest.mark.parametrize("masks", [True, False])
def test_radiography(tmp_path, level, masks):
    source = open_(radiography(tmp_path / "db", level, masks))
    assert (source.name, source.layout, source.classes) == ("db", "radiography", CLASSES)
    assert ids(source) == [f"{label}/{label}-{n}" for label in CLASSES for n in (1, 2)]
    for example in source.examples:
        assert example.label == example.id.split("/")[0]
        assert example.image.is_file()
        assert names(example.masks) == ([example.image.name] if masks else [])
        assert all(path.parent.name == "masks" for path in example.masks)
        assert (example.group, example.origin, example.split) == (None, None, None)
    assert source.rejected == ()
    assert source.notice == ""


@pytest.mark.parametrize("given", [".", "COVID-19_Radiography_Dataset"])
def test_radiography_one_level_down(tmp_path, given):
    radiography(tmp_path / "COVID-19_Radiography_Dataset")
    touch(tmp_path, "other/a.png")
    source = open_(tmp_path / given)
    assert source.layout == "radiography"
    assert ids(source)[0] == "COVID/COVID-1"


def test_images_without_classes_will_do_only_where_there_are_none(tmp_path):
    radiography(tmp_path / "a" / "COVID-19_Radiography_Dataset")
    touch(tmp_path / "plain", "1.png", "below/2.png")
    found = [
        open_source(str(path), phantom_images=1, phantom_seed=0, only_tested=True).layout
        for path in (tmp_path / "a", tmp_path / "plain")
    ]
    assert found == ["radiography", "images"]


def test_masks_beside_images_without_classes_are_no_images(tmp_path):
    def open_tested():
        return open_source(str(tmp_path), phantom_images=1, phantom_seed=0, only_tested=True)

    touch(tmp_path, "1.png", "2.png", "masks/1.png", "masks/2.png")
    assert ids(open_tested()) == ["1", "2"]
    for name in ("1.png", "2.png"):
        (tmp_path / name).unlink()
    with pytest.raises(ValueError, match=r"have images beside masks/.*has none"):
        open_tested()


def test_radiography_order_when_classes_are_missing(tmp_path):
    touch(tmp_path, "Viral Pneumonia/a.png", "Normal/b.png", "COVID/c.png")
    source = open_(tmp_path)
    assert source.layout == "radiography"
    assert source.classes == ("COVID", "Normal", "Viral Pneumonia")


def test_natural_order(tmp_path):
    radiography(tmp_path, count=11)
    assert ids(open_(tmp_path))[:11] == [f"COVID/COVID-{n}" for n in range(1, 12)]


def test_mask_without_image_and_image_without_mask(tmp_path):
    radiography(tmp_path)
    (tmp_path / "COVID/images/COVID-1.png").unlink()
    (tmp_path / "Normal/masks/Normal-2.png").unlink()
    source = open_(tmp_path)
    assert aside(source) == {"COVID/masks/COVID-1.png": "a mask without an image of its name"}
    by_id = {example.id: example for example in source.examples}
    assert "COVID/COVID-1" not in by_id
    assert by_id["Normal/Normal-2"].masks == ()
    assert by_id["Normal/Normal-1"].masks != ()


def workbook(path, rows, header=("FILE NAME", "FORMAT", "SIZE", "URL")):
    path.parent.mkdir(exist_ok=True)
    book = openpyxl.Workbook()
    for row in (header, *rows):
        book.active.append(row)
    book.save(path)


def test_metadata_gives_origins_and_groups(tmp_path):
    radiography(tmp_path, count=120)
    # The names are in another case than the files', as in the real workbooks.
    urls = {1: "case/1", 2: "case/1", 3: "case/3", **dict.fromkeys(range(4, 100), "collection")}
    rows = [(f"NORMAL-{n}", "PNG", "256*256", f" {url}") for n, url in urls.items()]
    workbook(tmp_path / "Normal.metadata.xlsx", rows)
    source = open_(tmp_path)
    by_id = {example.id: example for example in source.examples}
    first = by_id["Normal/Normal-1"]
    assert (first.origin, first.group) == ("case/1", "case/1")
    assert by_id["Normal/Normal-2"].group == "case/1"
    assert (by_id["Normal/Normal-3"].origin, by_id["Normal/Normal-3"].group) == ("case/3", None)
    assert by_id["Normal/Normal-4"].origin == "collection"
    assert by_id["Normal/Normal-4"].group is None
    assert by_id["Normal/Normal-110"].origin is None
    assert by_id["COVID/COVID-1"].origin is None
    assert names(source.companions) == ["Normal.metadata.xlsx"]
    assert "Normal.metadata.xlsx" in source.signature()


def test_largest_group():
    assert case_groups(["a"] * 3 + ["b"] * 4 + [None] * 113) == ["a"] * 3 + [None] * 117
    assert case_groups(["a", "a", None]) == ["a", "a", None]
    assert case_groups(["a", "a", "a"]) == [None] * 3
    assert case_groups([None, None]) == [None, None]


@pytest.mark.parametrize("broken", ["text", "header", "empty"])
def test_broken_metadata_is_listed(tmp_path, broken):
    radiography(tmp_path)
    path = tmp_path / "COVID.metadata.xlsx"
    if broken == "text":
        path.write_text("no workbook")
    elif broken == "header":
        workbook(path, [("COVID-1", "x")], header=("NAME", "LINK"))
    else:
        path.touch()
    source = open_(tmp_path)
    assert len(source.examples) == 8
    assert aside(source)["COVID.metadata.xlsx"].startswith("metadata ")


# ---- class folders


def test_class_folders(tmp_path):
    touch(tmp_path, "b/x.jpg", "b/deep/er/x.jpeg", "A/y.PNG", "c c/z.tif")
    source = open_(tmp_path)
    assert (source.layout, source.classes) == ("folders", ("A", "b", "c c"))
    assert ids(source) == ["A/y", "b/deep/er/x", "b/x", "c c/z"]


def test_class_folders_with_masks(tmp_path):
    touch(tmp_path, "A/images/1.png", "A/masks/1.png", "B/2.jpg", "B/mask/2_mask.png")
    touch(tmp_path, "B/3.jpg", "B/3_mask.png")
    source = open_(tmp_path)
    assert {e.id: names(e.masks) for e in source.examples} == {
        "A/1": ["1.png"],
        "B/2": ["2_mask.png"],
        "B/3": ["3_mask.png"],
    }


def test_class_called_mask(tmp_path):
    touch(tmp_path, "mask/1.png", "no mask/2.png")
    assert ids(open_(tmp_path)) == ["mask/1", "no mask/2"]


def test_same_name_twice_keeps_the_suffix(tmp_path):
    touch(tmp_path, "A/1.png", "A/1.jpg", "A/2.png", "B/1.png", "B/images/1.png")
    found = ids(open_(tmp_path))
    assert sorted(found) == ["A/1.jpg", "A/1.png", "A/2", "B/1.png", "B/images/1.png"]


def test_odd_files_are_listed_and_junk_is_not(tmp_path):
    touch(tmp_path, "A/1.png", "B/2.png", "loose.png", ".hidden/3.png", "A/.4.png")
    touch(tmp_path, "__MACOSX/A/1.png")
    for name in ("A/Thumbs.db", "A/.DS_Store", "A/notes.txt", "A/scan.dcm", "A/1.psd", "A/raw"):
        (tmp_path / name).touch()
    (tmp_path / "docs").mkdir()
    (tmp_path / "B/gone.png").symlink_to(tmp_path / "nowhere.png")
    source = open_(tmp_path)
    assert ids(source) == ["A/1", "A/scan", "B/2"]
    assert aside(source) == {
        "A/1.psd": "not an image by its suffix '.psd'",
        "A/raw": "not an image by its suffix ''",
        "B/gone.png": "a link to nothing",
        "docs": "a folder without any image",
        "loose.png": "an image outside of any class folder",
    }


def test_link_loops_end(tmp_path):
    touch(tmp_path / "set", "A/1.png", "B/2.png")
    (tmp_path / "set/A/loop").symlink_to(tmp_path / "set/A", target_is_directory=True)
    (tmp_path / "set/A/self").symlink_to(tmp_path / "set/A/self")
    touch(tmp_path, "elsewhere/3.png")
    (tmp_path / "set/C").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert ids(open_(tmp_path / "set")) == ["A/1", "B/2", "C/3"]


# ---- image and mask folders


def test_pairs(tmp_path):
    touch(tmp_path, "images/a.png", "images/b.jpg", "images/c.png", "images/d/e.png")
    touch(tmp_path, "masks/a.png", "masks/b_mask.png", "masks/d/e.png", "masks/x.png")
    source = open_(tmp_path)
    assert (source.layout, source.classes) == ("pairs", ())
    assert {e.id: names(e.masks) for e in source.examples} == {
        "a": ["a.png"],
        "b": ["b_mask.png"],
        "c": [],
        "d/e": ["e.png"],
    }
    assert {example.label for example in source.examples} == {None}
    assert aside(source) == {"masks/x.png": "a mask without an image of its name"}


def test_what_is_rejected_is_in_order(tmp_path):
    touch(tmp_path, "images/1.png", "masks/1.png", "masks/0.png")
    (tmp_path / "masks/z.nii").touch()
    (tmp_path / "masks/10.nii").touch()
    assert list(aside(open_(tmp_path))) == ["masks/0.png", "masks/10.nii", "masks/z.nii"]


def test_second_mask_of_a_name(tmp_path):
    touch(tmp_path, "images/a.png", "masks/a.png", "masks/a_mask.png")
    source = open_(tmp_path)
    assert names(source.examples[0].masks) == ["a.png"]
    assert aside(source) == {"masks/a_mask.png": "a second mask beside a.png"}


@pytest.mark.parametrize("given", [".", "MontgomerySet"])
def test_montgomery(tmp_path, given):
    root = tmp_path / "MontgomerySet"
    for name in ("MCUCXR_0001_0.png", "MCUCXR_0002_1.png"):
        touch(root, *(f"{f}/{name}" for f in ("CXR_png", "ManualMask/leftMask")))
    touch(root, "ManualMask/rightMask/MCUCXR_0001_0.png")
    (root / "ClinicalReadings").mkdir()
    source = open_(tmp_path / given)
    assert (source.layout, source.name) == ("pairs", "MontgomerySet")
    whole, half = source.examples
    assert [path.parent.name for path in whole.masks] == ["leftMask", "rightMask"]
    assert half.masks == ()
    assert aside(source) == {
        "ManualMask/leftMask/MCUCXR_0002_1.png": (
            "a mask of one lung, where the other lung's is missing"
        )
    }


@pytest.mark.parametrize(("images", "masks"), [("CXR_png", "mask"), ("images", "masks")])
def test_shenzhen(tmp_path, images, masks):
    root = tmp_path / "ChinaSet_AllFiles"
    touch(root, f"{images}/CHNCXR_0001_0.png", f"{masks}/CHNCXR_0001_0_mask.png")
    touch(root, f"{images}/CHNCXR_0002_0.png")
    (root / images / "Thumbs.db").touch()
    source = open_(root)
    assert ids(source) == ["CHNCXR_0001_0", "CHNCXR_0002_0"]
    assert names(source.examples[0].masks) == ["CHNCXR_0001_0_mask.png"]
    assert source.examples[1].masks == ()
    assert source.classes == ()


def test_montgomery_masks_are_united(tmp_path):
    for folder, pixels in (("leftMask", [[0, 255]]), ("rightMask", [[255, 0]])):
        (tmp_path / "ManualMask" / folder).mkdir(parents=True)
        image = Image.fromarray(np.array(pixels, np.uint8))
        image.save(tmp_path / "ManualMask" / folder / "a.png")
    touch(tmp_path, "CXR_png/a.png")
    example = open_(tmp_path).examples[0]
    np.testing.assert_array_equal(read_mask(example.masks), [[255, 255]])


def test_pairs_of_which_none_match(tmp_path):
    touch(tmp_path, "images/a.png", "masks/b.png")
    refuse(tmp_path, "must have masks named like its images", "an image is called 'a.png'")


def test_pairs_without_images(tmp_path):
    touch(tmp_path, "masks/b.png")
    (tmp_path / "images").mkdir()
    refuse(tmp_path, "must have images in images/")


# ---- CSV


def listed(tmp_path, text, encoding="utf-8"):
    touch(tmp_path, *(f"x/{name}.png" for name in ("1", "2", "3", "m", "n")))
    path = tmp_path / "list.csv"
    path.write_bytes(text.encode(encoding))
    return path


def test_csv(tmp_path):
    text = (
        "path,label,mask,group,split,age\n"
        "x/2.png,ill,x/m.png;x/n.png,p1,train,3\n"
        'x/1.png,"well, so far",,,test,\n'
        "./x/3.png, ill ,,p1,validation,\n\n"
    )
    path = listed(tmp_path, text)
    source = open_(path)
    assert (source.name, source.layout, source.root) == ("list", "csv", tmp_path)
    assert source.classes == ("ill", "well, so far")
    assert ids(source) == ["x/2", "x/1", "x/3"]
    first, second, third = source.examples
    assert names(first.masks) == ["m.png", "n.png"]
    assert (first.label, first.group, first.split) == ("ill", "p1", "train")
    assert (second.label, second.group, second.masks) == ("well, so far", None, ())
    assert (third.label, third.split) == ("ill", "validation")
    assert set(source.signature()) == {
        "list.csv", "x/1.png", "x/2.png", "x/3.png", "x/m.png", "x/n.png"
    }  # fmt: skip


def test_a_suffix_may_be_in_capitals(tmp_path):
    touch(tmp_path, "1.png", "2.png")
    (tmp_path / "LIST.CSV").write_text("path,label\n1.png,a\n2.png,b\n", encoding="utf-8")
    assert ids(open_(tmp_path / "LIST.CSV")) == ["1", "2"]
    (tmp_path / "SET.ZIP").touch()
    refuse(tmp_path / "SET.ZIP", "be a folder or a .csv file", "Unpack it")


def test_csv_with_origins(tmp_path):
    source = open_(listed(tmp_path, "path,label,origin\nx/1.png,a,north\nx/2.png,b,\n"))
    assert [example.origin for example in source.examples] == ["north", None]


@pytest.mark.parametrize(
    ("columns", "notice"),
    [
        ("group,age", "Columns of list.csv that are not used: age."),
        ("age,hospital", "Columns of list.csv that are not used: age, hospital."),
        # The patients are grouped already.
        ("group,patient", "Columns of list.csv that are not used: patient."),
        ("patient_age,", "Columns of list.csv that are not used: patient_age, ''."),
        ("group,origin", ""),
    ],
)
def test_csv_columns_that_are_not_used_are_named(tmp_path, monkeypatch, columns, notice):
    path = listed(tmp_path, f"path,label,{columns}\nx/1.png,a,1,2\nx/2.png,b,1,2\n")
    assert open_(path).notice == notice
    monkeypatch.setenv("KERASCXR_DATA", str(path))
    assert open_("auto").notice == f"Data: {path}, as KERASCXR_DATA says. {notice}".strip()


@pytest.mark.parametrize("column", ["patient", "Patient ID", "patient_id", "PatientID", "subject"])
def test_a_patient_column_without_groups_is_refused(tmp_path, column):
    path = listed(tmp_path, f"path,label,{column}\nx/1.png,a,p\nx/2.png,b,p\n")
    refuse(path, f"line 1: the column {column!r} is not used", "Name the patients' column group")


def test_csv_as_excel_saves_it(tmp_path):
    path = listed(tmp_path, "path,label\r\nx/1.png,a\r\nx/2.png,b\r\n", "utf-8-sig")
    assert ids(open_(path)) == ["x/1", "x/2"]


def test_csv_without_labels(tmp_path):
    source = open_(listed(tmp_path, "path,mask\nx/1.png,x/m.png\n"))
    assert source.classes == ()
    assert source.examples[0].label is None


def test_csv_of_files_outside_its_folder(tmp_path):
    touch(tmp_path, "x/1.png", "x/2.png")
    (tmp_path / "lists").mkdir()
    path = tmp_path / "lists/list.csv"
    path.write_text(f"path,label\n../x/1.png,a\n{tmp_path}/x/2.png,b\n")
    source = open_(path)
    assert ids(source) == ["../x/1", "../x/2"]
    assert set(source.signature()) == {"list.csv", "../x/1.png", "../x/2.png"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1: the header is missing. Make the first line path,label"),
        ("file,label\n", "line 1: the header is 'file,label'. Make the first line path,label"),
        ("path,group\n", "line 1: the header is 'path,group'"),
        ("path,label,label\n", "line 1: the column 'label' is there twice"),
        ("path;label\n", "line 1: columns are separated by semicolons. Separate them by commas"),
        ("path,label\n", "line 1: no row follows the header"),
        ("path,label\nx/1.png,a\n\nx/2.png,b\n", "line 3: the row is empty. Fill it in or delete"),
        ("path,label\nx/1.png,a\n,\nx/2.png,b\n", "line 3: the row is empty"),
        ("path,label\nx/1.png,a\n,b\n", "line 3: the path is missing"),
        ("path,label\nx/1.png,a\nx/2.png,\n", "line 3: the label is missing"),
        ("path,mask\nx/1.png,x/m.png\nx/2.png,\n", "line 3: there is neither a label nor a mask"),
        ("path,label\nx/1.png,a\nx/2.png,b\n./x/1.png,a\n", "line 4: './x/1.png' is already on"),
        ("path,label\nx/1.png,a\nx/9.png,b\n", "line 3: there is no file 'x/9.png'. Paths are"),
        ("path,label,mask\nx/1.png,a,\nx/2.png,b,x/9.png\n", "line 3: there is no file 'x/9.png'"),
        ("path,label\nx/1.png,a\nx,b\n", "line 3: there is no file 'x'"),
        (
            "path,label,split\nx/1.png,a,train\nx/2.png,b,tset\n",
            "line 3: unknown split 'tset', did",
        ),
        ("path,label,split\nx/1.png,a,train\nx/2.png,b,\n", "line 3: the split is missing"),
        (
            "path,label,row_mm,column_mm\nx/1.png,a,0.1,0.1\nx/2.png,b,0.1,\n",
            "line 3: row_mm and column_mm are '0.1' and ''. Give two positive numbers, or neither",
        ),
        ("path,label,row_mm,column_mm\nx/1.png,a,0.1,0\nx/2.png,b,,\n", "are '0.1' and '0'"),
        ("path,label,row_mm,column_mm\nx/1.png,a,0,0.1\nx/2.png,b,,\n", "are '0' and '0.1'"),
        ("path,label,row_mm,column_mm\nx/1.png,a,inf,1\nx/2.png,b,,\n", "are 'inf' and '1'"),
        ("path,label,row_mm,column_mm\nx/1.png,a,1,inf\nx/2.png,b,,\n", "are '1' and 'inf'"),
        ("path,label,row_mm,column_mm\nx/1.png,a,nan,1\nx/2.png,b,,\n", "are 'nan' and '1'"),
        ("path,label,group,group\n", "line 1: the column 'group' is there twice"),
        ("path,label,groups\n", "line 1: unknown column 'groups', did you mean 'group'?"),
        ("path,label,Split\n", "line 1: unknown column 'Split', did you mean 'split'?"),
        ("path,label\nx/1.png,a\nx/2.png,b|c\n", "line 3: the label 'b|c' names several classes"),
        ("path,label\nx/1.png,a,b\n", "line 2: 3 values for 2 columns"),
        ('path,label\nx/1.png,a\n"x/2.png,b\n', "list.csv, line "),
        (
            "path,label\nx/1.png,a\nx/2.png,a\n",
            "labels must name two or more classes. Got label='a'",
        ),
    ],
)
def test_wrong_csv(tmp_path, text, words):
    path = listed(tmp_path, text)
    message = refuse(path, words)
    assert message.startswith(str(path))


def test_csv_in_another_encoding(tmp_path):
    refuse(listed(tmp_path, "path,label\nx/1.png,krank für\n", "latin-1"), "must be UTF-8")


def test_csv_line_numbers_count_lines_not_rows(tmp_path):
    refuse(listed(tmp_path, 'path,label\nx/1.png,"a\nb"\nx/9.png,c\n'), "line 4: there is no file")


# ---- words


def test_phantom():
    source = open_("phantom", images=12, seed=5)
    assert source.layout == "phantom"
    assert len(source.examples) == 12
    assert {example.image.seed for example in source.examples} == {5}


@pytest.fixture
def hub(monkeypatch):
    """A stand-in for kagglehub."""
    module = types.ModuleType("kagglehub")
    monkeypatch.setitem(sys.modules, "kagglehub", module)
    return module


def test_kaggle(tmp_path, hub):
    radiography(tmp_path / "versions/5/COVID-19_Radiography_Dataset")
    asked = []

    def dataset_download(handle):
        asked.append(handle)
        return str(tmp_path / "versions/5")

    hub.dataset_download = dataset_download
    source = open_("kaggle")
    assert asked == ["tawsifurrahman/covid19-radiography-database"]
    assert (source.name, source.layout, len(source.examples)) == ("kaggle", "radiography", 8)


def test_kaggles_bar_is_drawn_as_others_are(tmp_path, hub):
    radiography(tmp_path / "COVID-19_Radiography_Dataset")
    hub.clients = types.SimpleNamespace(tqdm=None)
    hub.dataset_download = lambda handle: str(tmp_path)
    open_("kaggle")
    assert hub.clients.tqdm is ProgressBar


def test_kagglehub_draws_its_bar_where_it_is_replaced():
    from kagglehub import clients

    assert hasattr(clients, "tqdm")


def test_kaggle_without_a_connection(hub):
    def dataset_download(handle):
        raise ConnectionError("Failed to resolve\n'www.kaggle.com'")

    hub.dataset_download = dataset_download
    refuse(
        "kaggle",
        "the Kaggle download failed (ConnectionError: Failed to resolve 'www.kaggle.com').",
        "or use --data.source phantom",
    )


def test_kaggle_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    refuse("kaggle", "kagglehub must be installed")


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(open_module.VARIABLE, raising=False)
    return tmp_path


def test_auto_takes_the_phantom_and_says_so(nowhere):
    source = open_("auto")
    assert source.layout == "phantom"
    assert "phantom" in source.notice
    assert "--data.source kaggle" in source.notice
    assert "data/COVID-19_Radiography_Dataset" in source.notice
    assert "\n" not in source.notice


def test_auto_takes_the_usual_place(nowhere):
    radiography(nowhere / "data/COVID-19_Radiography_Dataset")
    source = open_("auto")
    assert source.layout == "radiography"
    assert source.notice == "Data: data/COVID-19_Radiography_Dataset, found there."


def test_auto_takes_the_variable_first(nowhere, monkeypatch):
    radiography(nowhere / "data/COVID-19_Radiography_Dataset")
    touch(nowhere, "mine/A/1.png", "mine/B/2.png")
    monkeypatch.setenv(open_module.VARIABLE, "mine")
    source = open_("auto")
    assert source.layout == "folders"
    assert source.notice == "Data: mine, as KERASCXR_DATA says."


def test_auto_with_a_wrong_variable(nowhere, monkeypatch):
    monkeypatch.setenv(open_module.VARIABLE, "gone")
    refuse("auto", "KERASCXR_DATA is set: the data source must exist. Got source='gone'.")


def test_auto_in_the_variable_is_as_if_it_were_not_set(nowhere, monkeypatch):
    monkeypatch.setenv(open_module.VARIABLE, " auto ")
    assert "as no real ones were found" in open_("auto").notice
    radiography(nowhere / "data/COVID-19_Radiography_Dataset")
    assert open_("auto").notice == "Data: data/COVID-19_Radiography_Dataset, found there."


def test_a_check_names_the_variable_only_where_it_was_asked(nowhere, monkeypatch):
    check_source("auto")
    monkeypatch.setenv(open_module.VARIABLE, "gone")
    with pytest.raises(ValueError, match=r"^KERASCXR_DATA is set: .* Got source='gone'"):
        check_source("auto")
    with pytest.raises(ValueError, match=r"^the data source must exist\. Got source='gone'"):
        check_source("gone")


def test_variable_does_not_touch_other_sources(nowhere, monkeypatch):
    monkeypatch.setenv(open_module.VARIABLE, "gone")
    assert open_("phantom").notice == ""


# ---- wrong input


def test_misspelt_folder(tmp_path, nowhere):
    radiography(nowhere / "Radiography")
    refuse("Radiografy", "Got source='Radiografy'. Did you mean 'Radiography'?")
    refuse("RADIOGRAPHY", "Did you mean 'Radiography'?")
    refuse(tmp_path / "radiograph", f"Did you mean '{tmp_path / 'Radiography'}'?")
    refuse("kagle", "Did you mean 'kaggle'?")
    touch(nowhere, ".Hidden/1.png", "sub/x/1.png")
    assert "Did you mean" not in refuse("sub/phantm", "Give a folder")
    assert "Did you mean" not in refuse("Hidden", "Give a folder")
    refuse(
        "zzz",
        "must exist. Got source='zzz'. Give a folder, a .csv file, a URL of one, or one of: auto",
    )
    refuse("no/such/place", "There is no folder 'no/such' either")
    refuse("", "must be a folder")


def test_a_home_folder_is_found(tmp_path, nowhere, monkeypatch):
    touch(tmp_path, "home/set/A/1.png", "home/set/B/2.png")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    assert ids(open_("~/set")) == ["A/1", "B/2"]


def test_a_marked_phantom_is_another_source():
    assert open_("phantom-marked").settings != open_("phantom").settings


def test_folder_called_phantom(nowhere):
    touch(nowhere, "phantom/A/1.png", "phantom/B/2.png")
    assert open_("phantom").layout == "phantom"
    assert open_("./phantom").layout == "folders"


def test_empty_folder(tmp_path):
    refuse(tmp_path, "It is empty")


def test_folder_of_loose_images(tmp_path):
    touch(tmp_path, "1.png", "2.png")
    refuse(tmp_path, "two or more classes", "It holds 2 images but no sub-folders")


def test_one_class(tmp_path):
    touch(tmp_path, "A/1.png", "A/2.png")
    (tmp_path / "B").mkdir()
    refuse(tmp_path, "two or more classes", "It has one only, 'A'")


def test_folder_of_other_files(tmp_path):
    for name in ("A/1.nii", "A/2.nii", "B/3.nii", "B/4.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    refuse(tmp_path, "It holds no image (.bmp", "but 3 .nii, 1 .txt")


@pytest.mark.parametrize("validation", ["val", "valid", "Validation"])
def test_train_validation_and_test_folders_are_fixed_splits(tmp_path, validation):
    for split in ("train", validation, "test"):
        touch(tmp_path, f"{split}/A/1.png", f"{split}/B/images/2.png")
    source = open_(tmp_path)
    assert source.layout == "splits"
    assert source.classes == ("A", "B")
    found = {(example.id, example.label, example.split) for example in source.examples}
    assert ("train/A/1", "A", "train") in found
    assert (f"{validation}/B/2", "B", "validation") in found
    assert ("test/B/2", "B", "test") in found
    assert len(found) == 6


def test_a_further_folder_does_not_turn_splits_into_classes(tmp_path):
    touch(tmp_path, "train/A/1.png", "train/B/2.png", "test/A/1.png", "test/B/2.png", "docs/x.png")
    source = open_(tmp_path)
    assert source.classes == ("A", "B")
    assert aside(source) == {"docs": "a folder of 1 images beside the splits' folders"}


def test_what_lies_beside_splits_and_beside_images_and_masks_is_listed(tmp_path):
    touch(tmp_path / "a", "train/x/1.png", "train/y/2.png", "test/x/3.png", "test/y/4.png")
    touch(tmp_path / "a", "loose.png")
    source = open_(tmp_path / "a")
    assert len(source.examples) == 4
    assert aside(source) == {"loose.png": "an image outside of any class folder"}
    touch(tmp_path / "b", "images/1.png", "masks/1.png", "more/2.png", "more/3.png", "loose.png")
    (tmp_path / "b/notes").mkdir()
    source = open_(tmp_path / "b")
    assert ids(source) == ["1"]
    assert aside(source) == {
        "loose.png": "an image outside of the folder images",
        "more": "a folder of 2 images beside images and masks",
    }


def test_splits_without_a_test_folder_are_refused(tmp_path):
    touch(tmp_path, "train/A/1.png", "train/B/2.png", "val/A/1.png", "val/B/2.png")
    refuse(tmp_path, "a train and a test folder with class folders inside", "It has train, val")


def test_one_split_alone_and_splits_of_loose_images_are_no_classes(tmp_path):
    touch(tmp_path, "one/train/A/1.png", "one/train/B/2.png", "one/other/3.png")
    refuse(tmp_path / "one", "a train and a test folder with class folders", "It has train:")
    touch(tmp_path, "loose/train/1.png", "loose/test/2.png")
    refuse(tmp_path / "loose", "train", "no sub-folders")


def test_two_folders_for_one_split_are_refused(tmp_path):
    touch(tmp_path, *(f"{split}/{kind}/1.png" for split in ("train", "Training") for kind in "AB"))
    touch(tmp_path, "test/A/1.png", "test/B/2.png")
    refuse(tmp_path, "have one folder for train", "train and Training: merge them")


def test_splits_of_images_and_masks_have_no_classes_and_are_not_mixed_with_classes(tmp_path):
    for split in ("train", "test"):
        touch(tmp_path, f"set/{split}/images/1.png", f"set/{split}/masks/1.png")
    source = open_(tmp_path / "set")
    assert (source.classes, ids(source)) == ((), ["train/1", "test/1"])
    touch(tmp_path, "set/val/A/1.png", "set/val/B/2.png")
    refuse(tmp_path / "set", "class folders in all splits or in none", "has images and masks")


@pytest.mark.parametrize("kinds", [("C", "B", "A"), CLASSES[::-1]])
def test_classes_of_splits_are_in_order_whichever_split_has_them(tmp_path, kinds):
    touch(tmp_path, *(f"train/{kind}/1.png" for kind in kinds[:-1]))
    touch(tmp_path, *(f"test/{kind}/1.png" for kind in kinds))
    assert open_(tmp_path).classes == tuple(sorted(kinds))


def test_what_is_in_a_split_is_named_from_the_folder_of_all(tmp_path):
    for split in ("train", "test"):
        radiography(tmp_path / split)
    (tmp_path / "train/COVID/x.nii").touch()
    workbook(tmp_path / "test/Normal.metadata.xlsx", [("NORMAL-1", "PNG", "256*256", "case/1")])
    source = open_(tmp_path)
    assert [path for path in aside(source) if path.endswith("nii")] == ["train/COVID/x.nii"]
    assert "test/Normal.metadata.xlsx" in source.signature()


def test_a_file_name_that_is_not_utf8_is_rejected_and_the_rest_is_kept(tmp_path):
    touch(tmp_path, "A/1.png", "A/2.png", "B/3.png", "B/4.png")
    (tmp_path / "A/2.png").rename(tmp_path / "A" / os.fsdecode(b"caf\xe9.png"))
    source = open_(tmp_path)
    assert ids(source) == ["A/1", "B/3", "B/4"]
    reason = "a file name that is not UTF-8: rename the file"
    assert aside(source) == {"A/caf\\xe9.png": reason}
    for line in (*ids(source), *aside(source)):
        line.encode()


def test_a_file_name_that_ends_a_row_of_a_table_is_rejected(tmp_path):
    touch(tmp_path, "A/1.png", "A/2\r.png", "B/3\n.png", "B/4.png")
    source = open_(tmp_path)
    assert ids(source) == ["A/1", "B/3\n", "B/4"]
    assert aside(source) == {
        "A/2\\r.png": "a file name that has a carriage return: rename the file"
    }
    text = csv_text([{"id": name, "more": "x"} for name in ids(source)])
    assert [row["id"] for row in csv.DictReader(io.StringIO(text, newline=""))] == ids(source)
    touch(tmp_path, "a\rb/A/1.png", "a\rb/B/2.png")
    refuse(tmp_path / "a\rb", "without carriage returns", "Rename the folder")


def test_what_has_no_image_or_mask_of_a_utf8_name_is_left_out(tmp_path):
    touch(tmp_path, "A/1.png", "B/2.png", "C/3.png")
    (tmp_path / "C/3.png").rename(tmp_path / "C" / os.fsdecode(b"caf\xe9.png"))
    assert open_(tmp_path).classes == ("A", "B")
    touch(tmp_path, "set/images/1.png", "set/images/2.png", "set/masks/1.png", "set/masks/2.png")
    folder = tmp_path / "set/masks" / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    (tmp_path / "set/masks/2.png").rename(folder / "2.png")
    (tmp_path / "set/images/é").mkdir()
    (tmp_path / "set/images/2.png").rename(tmp_path / "set/images" / os.fsdecode(b"caf\xe9.png"))
    source = open_(tmp_path / "set")
    assert ids(source) == ["1"]
    for line in aside(source):
        line.encode()
    odd = tmp_path / os.fsdecode(b"caf\xe9")
    touch(odd, "A/1.png", "B/2.png")
    refuse(odd, "have a UTF-8 path", "xe9", "Rename the folder")


def test_a_csv_takes_the_names_that_people_give_to_splits(tmp_path):
    touch(tmp_path, *(f"{number}.png" for number in range(4)))
    lines = ["path,label,split", "0.png,a,Train", "1.png,b,val", "2.png,a,valid", "3.png,b,testing"]
    (tmp_path / "list.csv").write_text("\n".join(lines))
    splits = [example.split for example in open_(tmp_path / "list.csv").examples]
    assert splits == ["train", "validation", "validation", "test"]


def test_a_label_of_several_classes_is_refused(tmp_path):
    touch(tmp_path, "0.png", "1.png")
    (tmp_path / "list.csv").write_text("path,label\n0.png,Edema\n1.png,Edema|Effusion\n")
    refuse(tmp_path / "list.csv", "'Edema|Effusion' names several classes", "line 3")


def test_a_layout_is_one_entry(tmp_path, monkeypatch):
    (tmp_path / "index.txt").write_text("1.png a\n2.png b\n")
    touch(tmp_path, "1.png", "2.png")

    def read(path):
        rows = [line.split() for line in (path / "index.txt").read_text().splitlines()]
        examples = tuple(Example(name, path / name, label) for name, label in rows)
        return Source("indexed", "index", path, ("a", "b"), examples)

    layout = Layout(lambda path: (path / "index.txt").is_file(), read)
    monkeypatch.setitem(LAYOUTS, "index", layout)
    assert open_(tmp_path).layout == "index"


def test_two_downloaded_sets(tmp_path):
    touch(tmp_path, "MontgomerySet/CXR_png/1.png", "MontgomerySet/ManualMask/leftMask/1.png")
    touch(tmp_path, "ChinaSet_AllFiles/CXR_png/1.png", "ChinaSet_AllFiles/mask/1_mask.png")
    refuse(tmp_path, "must be one set", "Name one of: ChinaSet_AllFiles, MontgomerySet")


def test_other_files(tmp_path):
    for name, words in (("a.zip", "Unpack it"), ("a.png", "Give a folder, a .csv file or a word")):
        (tmp_path / name).touch()
        refuse(tmp_path / name, "must be a folder or a .csv file", words)


# ---- signature and names


def test_signature_notices_every_change(tmp_path):
    radiography(tmp_path)
    source = open_(tmp_path)
    before = source.signature()
    assert len(before) == 16
    assert before == open_(tmp_path).signature()
    name = "COVID/masks/COVID-1.png"
    os.utime(tmp_path / name, ns=(1, 1))
    after = source.signature()
    assert {key for key in before if before[key] != after[key]} == {name}
    (tmp_path / name).write_bytes(bytes(7))  # another size at the same time
    os.utime(tmp_path / name, ns=(1, 1))
    smaller = source.signature()[name]
    assert smaller[:2] == (7, 1) != after[name][:2]
    time.sleep(0.02)  # more than the clock's tick
    (tmp_path / name).write_bytes(b"another")  # of the same size, at the same time
    os.utime(tmp_path / name, ns=(1, 1))
    assert source.signature()[name][:2] == (7, 1) and source.signature()[name] != smaller
    (tmp_path / name).unlink()
    assert source.signature()[name] == (-1, -1, -1)
    touch(tmp_path, "COVID/images/COVID-3.png")
    assert set(open_(tmp_path).signature()) - set(before) == {"COVID/images/COVID-3.png"}


def test_signature_holds_no_place(tmp_path):
    keys = [set(open_(radiography(tmp_path / name)).signature()) for name in ("a", "b")]
    assert keys[0] == keys[1]


NAMES = st.lists(
    st.builds(
        lambda folders, stem, suffix: "/".join([*folders, stem + suffix]),
        st.lists(st.sampled_from(["images", "A", "b"]), max_size=2),
        st.sampled_from(["x", "x-2", "x-10", "x.png"]),
        st.sampled_from([".png", ".jpg"]),
    ),
    unique=True,
)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(NAMES)
def test_ids_are_unique_whatever_the_names(names):
    found = unique_ids(names)
    assert len(set(found)) == len(names)


@settings(derandomize=True, deadline=None, max_examples=100)
@given(st.lists(st.text("aB1٣2-. ", max_size=6), unique=True), st.randoms(use_true_random=False))
def test_natural_order_is_total(texts, random):
    ordered = sorted(texts, key=natural_key)
    shuffled = random.sample(texts, len(texts))
    assert sorted(shuffled, key=natural_key) == ordered


def test_natural_key():
    assert sorted(["a10", "a2", "A1", "b", "2", "10"], key=natural_key) == [
        "2", "10", "A1", "a2", "a10", "b"
    ]  # fmt: skip
    assert sorted(["b", "A", "C"], key=natural_key) == ["A", "b", "C"]
    assert len({str(natural_key(text)) for text in ("1", "01", "a", "A")}) == 4


def test_a_level_of_images_is_left_out_in_any_case():
    assert unique_ids(["A/Images/1.png", "A/images2/1.png"]) == ["A/1", "A/images2/1"]


def test_no_tensorflow():
    code = (
        "import sys, kerascxr.data.sources.open, kerascxr.data.files;"
        "print(sorted({'tensorflow', 'keras', 'kagglehub'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_unreadable_folder(tmp_path, monkeypatch):
    touch(tmp_path, "A/1.png", "B/2.png")
    real = type(tmp_path).iterdir

    def iterdir(path):
        if path.name == "A":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(type(tmp_path), "iterdir", iterdir)
    refuse(tmp_path, "must be readable", "/A'", re.escape("Permission denied").replace("\\", ""))


def test_the_classes_of_a_list_are_in_order_of_their_names(tmp_path):
    touch(tmp_path, *(f"{n}.png" for n in range(9)))
    rows = "".join(f"{n}.png,{label}\n" for n, label in enumerate("hbicagfed"))
    (tmp_path / "list.csv").write_text("path,label\n" + rows)
    assert open_(tmp_path / "list.csv").classes == tuple("abcdefghi")


def test_the_classes_of_folders_are_in_plain_order_of_their_names(tmp_path):
    touch(tmp_path, "a10/1.png", "a2/1.png", "B/1.png")
    assert open_(tmp_path).classes == ("B", "a10", "a2")
