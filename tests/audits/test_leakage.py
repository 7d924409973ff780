"""The audit: leaks are counted, and what tells a class without its lungs is named."""

import csv
import html
import json

import numpy as np
import pytest
from PIL import Image, ImageDraw

from kerascxr import __main__ as verbs
from kerascxr.audits.leakage import audit, leaked_test_images, origin_table, read_pixels
from kerascxr.audits.property_baseline import class_from_properties
from kerascxr.data.ingest.properties import KINDS, corner_markers, frame_widths, measure
from kerascxr.data.ingest.store import open_store
from kerascxr.data.sources.open import open_source
from kerascxr.report.leakage import headlines

DISTINCT = 60


@pytest.fixture(scope="module")
def drawings():
    source = open_source("phantom", phantom_images=DISTINCT, phantom_seed=4)
    return [read_pixels(example) for example in source.examples]


def test_test_images_with_a_twin_in_training_are_counted_once():
    splits = np.array(["train", "train", "test", "test", "validation", ""])
    pairs = np.array([(0, 2), (1, 2), (2, 3), (3, 4), (1, 4), (0, 5)])
    assert leaked_test_images(pairs, splits) == 1
    assert leaked_test_images(pairs[:0], splits) == 0


# ---- properties


def test_frames_are_measured_on_each_side():
    pixels = np.full((100, 200), 120, np.uint8)
    pixels[:7] = 3
    pixels[:, -30:] = 255
    assert frame_widths(pixels, dark=True) == [0, 0, 0, 0]  # the white frame cuts the black one
    pixels[:7] = 3
    assert frame_widths(pixels, dark=True) == [0.07, 0, 0, 0]
    pixels[7:, -30:] = 255
    assert frame_widths(pixels, dark=False) == [0, 0, 0, 0]  # 93 % of a line is not 95 %
    pixels[3:, -30:] = 255
    assert frame_widths(pixels, dark=False) == [0, 0, 0, 0.15]
    assert frame_widths(np.zeros((9, 9), np.uint8), dark=True) == [1, 1, 1, 1]


@pytest.mark.parametrize("corner", range(4))
@pytest.mark.parametrize("letter", ["L", "R"])
def test_a_letter_in_a_corner_is_a_marker(drawings, corner, letter):
    image = Image.fromarray(drawings[0])
    assert image.size == (256, 256)
    pixels = np.array(image)
    x, y = 14 + 215 * (corner % 2), 14 + 215 * (corner // 2)
    pixels[y - 6 : y + 26, x - 6 : x + 26] = 40
    image = Image.fromarray(pixels)
    ImageDraw.Draw(image).text((x, y), letter, fill=255, font_size=18)
    assert corner_markers(np.asarray(image))[corner]


def test_no_marker_where_none_is_drawn():
    rows, columns = np.mgrid[:256, :256]
    ramp = ((rows + columns) / 2).astype(np.uint8)
    assert corner_markers(ramp) == [False] * 4
    framed = ramp.copy()
    framed[:4] = framed[:, -5:] = 255  # a frame touches the edge
    framed[20:70, 20:70] = 255  # too large
    framed[30:31, 200:201] = 255  # a speck
    framed[120:140, 120:124] = 255  # a stroke, but in the middle
    assert corner_markers(framed) == [False] * 4


def test_properties_are_those_that_are_listed():
    pixels = np.zeros((10, 20), np.uint8)
    pixels[:, 10:] = 255
    measured = measure(pixels, 400)
    assert list(measured) == [name for names in KINDS.values() for name in names]
    expected = {"height": 10, "width": 20, "bytes": 400, "bytes_per_pixel": 2, "mean": 127.5}
    expected |= {"share_black": 0.5, "share_white": 0.5, "black_left": 0.5, "white_right": 0.5}
    assert {name: measured[name] for name in expected} == pytest.approx(expected)


def test_a_planted_difference_tells_the_class_and_noise_does_not():
    random = np.random.default_rng(0)
    labels = ["a", "b", "b"] * 100
    values = {name: random.normal(size=300) for names in KINDS.values() for name in names}
    values["bytes"] = np.array([label == "a" for label in labels]) + random.normal(0, 0.1, 300)
    rows = {
        row["from"]: row
        for row in class_from_properties(values, labels, random.integers(0, 20, 300), range(300))
    }
    assert list(rows) == [*KINDS, "all of these"]
    assert rows["file size"]["accuracy"] > 0.95
    assert rows["file size"]["auc"] > 0.95
    assert rows["file size"]["chance_accuracy"] == pytest.approx(2 / 3)
    assert rows["grey levels"]["balanced_accuracy"] < 0.65
    assert class_from_properties(values, ["a"] * 300, np.arange(300) % 20, range(300)) == []


def test_a_group_that_the_split_divides_does_not_predict_its_class():
    # A file size a patient says nothing of other patients' classes, whatever the folds are.
    random, patients = np.random.default_rng(0), np.arange(300) // 15
    labels = np.array(["a", "b"])[random.permutation(20) % 2][patients]
    values = {name: np.zeros(300) for names in KINDS.values() for name in names}
    values["bytes"] = random.permutation(20)[patients]
    rows = class_from_properties(values, labels, random.integers(0, 20, 300), patients)
    [accuracy] = [row["accuracy"] for row in rows if row["from"] == "file size"]
    assert accuracy < 0.7


def test_a_class_of_one_origin_is_named():
    labels = ["a", "a", "b", "b", "c"]
    table = origin_table(["x", "x", "y", "z", "z"], labels)
    assert table["own"] == {"a": "x"}
    assert table["counts"] == {"x": {"a": 2}, "z": {"b": 1, "c": 1}, "y": {"b": 1}}
    assert origin_table([None] * 5, labels) == {"counts": {"": {"a": 2, "b": 2, "c": 1}}, "own": {}}


# ---- the whole


def save(pixels, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def listed(drawings, tmp_path_factory):
    """A CSV with its own split: two leaks, one near and one exact conflict, a size per class."""
    folder = tmp_path_factory.mktemp("listed")
    lines = ["path,label,split"]
    shade = np.clip(drawings[5].astype(int) + 12, 0, 255).astype(np.uint8)
    extra = [
        (drawings[0][4:, 3:], "a", "test"),  # of a/0, which trains
        (drawings[1], "a", "test"),  # of a/1, which trains
        (shade, "b", "train"),  # of a/5
        (drawings[6], "b", "train"),  # of a/6, exactly
    ]
    split = ["train"] * 3 + ["validation", "test"]
    rows = [
        (image, "ab"[index % 60 >= 30], split[index // 3 % 5])
        for index, image in enumerate(drawings)
    ]
    for number, (pixels, label, where) in enumerate(rows + extra):
        wide = (
            Image.fromarray(pixels).resize((300, 300)) if label == "b" and number < 60 else pixels
        )
        save(np.asarray(wide), folder / f"{label}-{number}.png")
        lines.append(f"{label}-{number}.png,{label},{where}")
    (folder / "list.csv").write_text("\n".join(lines))
    return folder / "list.csv"


@pytest.fixture(scope="module")
def audited(listed, tmp_path_factory):
    folder = tmp_path_factory.mktemp("audit")
    argv = ["data", "audit", str(listed), "--to", str(folder / "to")]
    assert verbs.main([*argv, "--stores", str(folder / "stores")]) == 0
    return folder / "to"


def test_conflicts_and_leaks_of_a_source_are_counted(audited):
    summary = json.loads((audited / "audit.json").read_text())
    assert summary["images"] == DISTINCT + 4
    assert summary["fixed_split"]
    assert summary["pairs"]["exact"]["pairs"] == 2
    assert summary["pairs"]["exact"]["across_classes"] == 1
    assert summary["pairs"]["near"]["pairs"] == 2
    assert summary["pairs"]["near"]["across_classes"] == 1
    assert summary["splits"]["own"] == "the source's own split"
    assert summary["splits"]["leaked_test_images"] == 2
    assert 0 < summary["splits"]["random_leaked_test_images"] < 3
    told = {row["from"]: row["accuracy"] for row in summary["class_from"]}
    assert told["size in pixels"] > 0.9
    assert summary["properties"]["b"]["commonest_size"] == [300, 300]
    with (audited / "pairs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["across_classes"] for row in rows] == ["True", "True", "False", "False"]
    ends = {(row["first"], row["second"], row["kind"]) for row in rows}
    assert ends == {
        ("a-0", "a-60", "near"),
        ("a-1", "a-61", "exact"),
        ("a-5", "b-62", "near"),
        ("a-6", "b-63", "exact"),
    }
    conflict = next(row for row in rows if row["first"] == "a-6")
    assert conflict["first_fold"] == conflict["first_split"] == ""  # ingest has set both aside


def test_the_page_says_it_and_shows_the_pairs_without_loading_anything(audited):
    page = html.unescape((audited / "index.html").read_text())
    assert "<h1>Leakage audit: list</h1>" in page
    assert page.count('src="data:image/') == 4
    assert "http" not in page
    for words in (
        "2 pairs of identical pixels, ",
        "of all of them, 2 across two classes.",
        "the source's own split, 2 of",
        "a-5 (a, fold",
        "Same pixels, two classes: a-6 (a, rejected)",
        "Class from size in pixels alone",
        "The source does not name the origins of its images.",
        "They were found by comparing each image with all others.",
    ):
        assert words in page


def test_an_audit_replaces_an_audit_and_nothing_else(audited, tmp_path, capsys):
    (tmp_path / "precious.txt").write_text("mine")
    argv = ["data", "audit", "phantom", "--phantom_images", "100", "--to", str(tmp_path)]
    assert verbs.main([*argv, "--stores", str(tmp_path.parent / "stores")]) == 2
    assert "of kind data audit" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_the_default_split_keeps_copies_together_and_a_blind_one_does_not(drawings, tmp_path):
    for index, image in enumerate(drawings):
        for copy in range(2):
            save(image, tmp_path / "set" / "ab"[index % 2] / f"{index}-{copy}.png")
    source = open_source(str(tmp_path / "set"), phantom_images=1, phantom_seed=0)
    found = audit(source, open_store(source, tmp_path / "stores"))
    assert found.summary["pairs"]["exact"]["pairs"] == DISTINCT
    leaks = found.summary["splits"]
    assert leaks["own"] == "the default split"
    assert leaks["leaked_test_images"] == 0
    assert leaks["random_leaked_test_images"] > 0.5 * leaks["test_images"]


def test_images_of_a_patient_are_counted_beside_near_duplicates(drawings, tmp_path):
    lines = ["path,label,group"]
    for index, image in enumerate(drawings):
        save(image, tmp_path / f"{index}.png")
        lines.append(f"{index}.png,{'ab'[index % 2]},patient-{index // 4}-{index % 2}")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    source = open_source(str(tmp_path / "list.csv"), phantom_images=1, phantom_seed=0)
    summary = audit(source, open_store(source, tmp_path / "stores")).summary
    leaks = summary["splits"]
    assert (leaks["leaked_test_images"], leaks["grouped_test_images"]) == (0, 0)
    assert leaks["random_grouped_test_images"] > leaks["random_leaked_test_images"] + 2
    random = f"{leaks['random_grouped_test_images']:.1f} ± "
    (line,) = [line for line in headlines(summary) if "share a group" in line]
    assert f"0 of {leaks['test_images']} test images share a group" in line and random in line
    alone = {name: leaks[name.replace("grouped", "leaked")] for name in leaks}
    assert not any("group (" in line for line in headlines(summary | {"splits": alone}))
