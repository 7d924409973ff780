"""Each command of tools/ can be imported and answers --help."""

import ast
import importlib
import inspect
import json
import math
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from kerascxr.config import DataConfig, OptimizerConfig, SegmentationConfig, SplitConfig
from kerascxr.parsing import to_yaml
from kerascxr.runs.atomic import write_json
from kerascxr.training.inputs import open_data, read_splits
from tests.support.growth_laws import GIB, Law, draw, first_limits, fit_law
from tests.support.measured_commands import measured
from tests.support.small_runs import pairs
from tests.support.training_steps import Size
from tools import robustness_figure, silent_faults
from tools.benchmark import epoch_seconds
from tools.benchmark_duplicates import growth
from tools.benchmark_growth import beginning
from tools.external_lungs import OUTLINES, differences, find_images, score, table, traced_mask
from tools.gpu_check import difference, epochs_to_pay, measure
from tools.pack_backbone import MEASURES, card_markdown, result
from tools.pack_lung_model import cross_validation
from tools.replace_references import contradicted, replace_masks
from tools.silent_faults import read_faults

ROOT = Path(__file__).parent.parent
TOOLS = sorted(path.stem for path in (ROOT / "tools").glob("[!_]*.py"))


@pytest.mark.parametrize("name", TOOLS)
def test_a_tool_answers_help_with_all_its_options(name, monkeypatch, capsys):
    module = importlib.import_module(f"tools.{name}")
    monkeypatch.setattr("sys.argv", [name, "--help"])
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert not ended.value.code
    shown = capsys.readouterr().out
    source = inspect.getsource(module)
    options = re.findall(r'add_argument\(\s*"([\w-]+)"(?![^)]*argparse.SUPPRESS)', source)
    assert options and all(option in shown for option in options)
    assert f"python -m tools.{name}" in module.__doc__


@pytest.fixture
def folds(tmp_path):
    """The folder of a cross-validation, as far as the lung model's card reads it."""
    config = SegmentationConfig(folds=5, name="folds", patience=20)
    (tmp_path / "config.yaml").write_text(to_yaml(config))
    summary = {"data": {"fingerprint": "same"}, "pooled": {"dice": 0.9}}
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    return tmp_path


def test_the_growth_of_a_search_is_extrapolated_to_a_million():
    n = np.array([1e4, 1e5, 4e5])
    measured = np.stack([n, n**1.5 / 1e5, n**1.2 / 1e3, 500 + n / 1000], axis=1)
    text = growth("index", measured)
    assert "to select grows with n to the 1.50, in all to the 1.20." in text
    hours = 1e6**1.2 / 1e3 / 3600
    assert f"{hours:.1f} h of CPU time and {1500 / 1024:.1f} GiB" in text


def run_on(fingerprint):
    return SimpleNamespace(metrics={"data": {"fingerprint": fingerprint}})


def test_a_lung_models_card_takes_a_cross_validation_of_another_split(folds):
    config = SegmentationConfig(split=SplitConfig(test_folds=1), name="run")
    found = cross_validation(folds, config, run_on("same"))
    assert found == {"cross-validation, 5 folds (float32)": {"dice": 0.9}}


def test_a_lung_models_card_refuses_a_cross_validation_of_another_training(folds):
    config = SegmentationConfig()
    other = replace(config, optimizer=OptimizerConfig(ema=0.9), monitor="loss")
    with pytest.raises(ValueError, match=r"Got another \['monitor', 'optimizer'\]"):
        cross_validation(folds, other, run_on("same"))
    with pytest.raises(ValueError, match=r"Got another \['data'\]"):
        cross_validation(folds, config, run_on("another"))


def test_references_that_a_unet_contradicts_are_replaced_but_those_of_the_test(
    tmp_path, monkeypatch
):
    source = tmp_path / "pairs"
    pairs(source, n=40)
    wrong = [str(index) for index in range(5, 40, 2)]
    for index in wrong:
        path = source / f"masks/{index}.png"
        ImageOps.invert(Image.open(path)).save(path)
    data = DataConfig(source=str(source), stores=tmp_path / "stores")
    config = SegmentationConfig(image_size=(32, 32), data=data)
    store = open_data(data)
    monkeypatch.setattr("kerascxr.training.inputs.open_run_store", lambda run, data: store)
    bright = SimpleNamespace(masks=lambda images: tf.cast(images > 115, tf.uint8) * 255)
    found = list(contradicted(bright, None, config, 0.8))
    masks = {image: mask for _, image, _, mask in found}
    tested = read_splits(config, store, masks=True)["test"].ids
    assert {split for split, *_ in found} == {"train", "validation"}
    assert set(wrong) & set(tested) and set(masks) >= set(wrong) - set(tested)
    assert not set(masks) & set(tested) and len(masks) <= len(wrong) + 3  # three pairs are odd

    to = tmp_path / "new/replaced"
    replace_masks(source, masks, to)
    for path in sorted(source.rglob("*.png")):
        copy = to / path.relative_to(source)
        if path.parent.name == "masks" and path.stem in masks:
            before, after = (np.array(Image.open(each).convert("L")) for each in (path, copy))
            assert before.shape == after.shape and not (before[:, 0] == after[:, 0]).any()
        else:
            assert copy.read_bytes() == path.read_bytes()
    with pytest.raises(ValueError, match="--to must be a new folder"):
        replace_masks(source, masks, to)
    with pytest.raises(ValueError, match=r"Missing: \['nobody'\]"):
        replace_masks(source, masks | {"nobody": masks[wrong[0]]}, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_traced_outlines_are_two_plausible_lungs():
    outlines = json.loads(OUTLINES.read_text())
    masks = {name: traced_mask(polygons) for name, polygons in outlines.items()}
    assert {len(polygons) for polygons in outlines.values()} == {2}
    assert all(mask.shape == (256, 256) and 0.05 < mask.mean() < 0.6 for mask in masks.values())
    left, right = (traced_mask([polygon]) for polygon in outlines["Normal/Normal-7873.png"])
    assert (
        not (left & right).any() and (left | right).sum() == masks["Normal/Normal-7873.png"].sum()
    )
    square = traced_mask([[10, 20, 30, 20, 30, 60, 10, 60]])
    assert square[20:60, 10:30].all() and abs(square.sum() - 800) < 70


def test_images_with_outlines_are_found_in_the_layouts_of_their_collections(tmp_path):
    for name in ("set/A/images/1.png", "B/2.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    found = find_images([tmp_path / "set", tmp_path / "B"], ["A/1.png", "B/2.png"])
    assert found == [tmp_path / "set/A/images/1.png", tmp_path / "B/2.png"]
    with pytest.raises(FileNotFoundError, match=r"^A/2\.png must be in one of .*set\.$"):
        find_images([tmp_path / "set"], ["A/2.png"])


def test_lung_models_are_compared_on_the_same_outlines():
    names = [f"{'AB'[index % 2]}/{index}" for index in range(40)]
    masks = np.zeros((40, 256, 256), bool)
    for index, mask in enumerate(masks):
        mask[50 : 150 + index, 20:100] = mask[60:200, 140:220] = True

    class Shifted:
        """A lung model that is right on every third image and shifts the other masks down."""

        def __init__(self, rows):
            self.found = 255 * np.roll(masks, rows, 1)[..., None].astype(np.uint8)
            self.found[::3] = 255 * masks[::3, ..., None]

        def masks(self, images):
            return tf.constant(self.found[images[:, 0, 0, 0]])

    images = np.broadcast_to(np.arange(40, dtype=np.uint8)[:, None, None, None], (40, 256, 256, 1))
    scored = {
        name: score(Shifted(rows), images, names, masks)
        for name, rows in (("near", 2), ("far", 30))
    }
    assert [row["id"] for row in scored["near"]] == names
    header, _, *lines = table(scored).splitlines()
    assert header.endswith("Dice, A |   Dice, B |")
    near, far = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    assert (near[:2], far[:2]) == (["near", "40"], ["far", "40"])
    assert float(near[3]) > 0.97 > 0.85 > float(far[3]) and int(near[4]) == 0 < int(far[4])
    line = differences(scored["near"], {"far": scored["far"]}).splitlines()[-1]
    assert re.match(r"\| far +\| -0\.1\d+ \[-0\.\d+, -0\.\d+\]", line) and re.search(
        r"0 / 26 +\|$", line
    )


@pytest.mark.parametrize("drawn", [True, False])
def test_a_backbones_card_has_a_row_for_each_run(drawn, runs):
    run, _ = runs
    row = result(run)
    test = json.loads((run / "metrics.json").read_text())["test"]
    assert row["images"] == "set" and row["weights"] == "random" and row["depth"] == 0
    assert [row[name] for name in MEASURES] == [test[name] for name in MEASURES]
    card = {
        "backbone": "tiny",
        "data": "Drawings.",
        "licence": "None.",
        "validation": {"auc": 0.9},
        "summary": "They help a little.",
        "results": [row] if drawn else [],
        "limits": ["One.", "Two."],
        "command": "kerascxr pretrain",
    }
    text = card_markdown(card)
    assert bool(re.search(r"^\| set +\| random +\| +0 \| +\d+ \| +[01]\.\d", text, re.M)) is drawn
    assert "\nThey help a little.\n" in text and "- One.\n- Two.\n" in text


def test_a_single_plain_epoch_is_counted_without_its_tracing():
    steps = {"train": [5.0, 1.0, 2.0, 1.5], "test": [3.0, 0.5]}
    assert epoch_seconds([13.0], steps) == pytest.approx(13.0 - 3.5 - 2.5)
    assert epoch_seconds([13.0, 7.0, 9.0], steps) == 8.0
    assert epoch_seconds([9.0], {"train": [5.0], "test": [4.0]}) == 9.0  # nothing to compare with


def test_a_gpu_check_measures_steps_and_their_difference_to_float32():
    size = Size(image=32, batch=4, filters=2)
    plain, half = (
        measure("U-Net", precision, False, size, 0.0) for precision in ("float32", "mixed_bfloat16")
    )
    assert 0 < difference(half["losses"], plain["losses"]) < 0.05
    assert plain["losses"][0] > plain["losses"][-1]  # it trains
    assert plain["images/s"] > 0 and plain["peak"] is None


def test_a_gpu_check_compares_losses_and_names_the_epoch_from_which_features_pay():
    assert difference([0.8, 2.0], [1.0, 2.0]) == pytest.approx(0.1)
    assert difference([1.0, math.nan], [1.0, 2.0]) == math.inf
    assert epochs_to_pay(image=3.0, step=1.0, features=5.0) == 3  # 9 > 5 + 3, 6 < 5 + 2
    assert epochs_to_pay(image=1.0, step=1.0, features=5.0) is None


def test_a_gpu_check_without_a_gpu_ends_in_one_line(monkeypatch):
    monkeypatch.setattr("sys.argv", ["gpu_check"])
    with pytest.raises(SystemExit, match=r"^gpu_check: TensorFlow must find a GPU\. Got none;.*$"):
        importlib.import_module("tools.gpu_check").main()


@pytest.mark.parametrize("power", [0.5, 1.0, 1.9])
def test_a_law_of_growth_is_found_again_with_its_constant(power):
    sizes, law = (1_000, 5_000, 21_165, 100_000), Law(8.0, 3e-3, power)
    found = fit_law(sizes, [law(size) for size in sizes])
    assert found.power == pytest.approx(power)
    assert found.constant == pytest.approx(8.0, rel=1e-3)
    assert found(1e6) == pytest.approx(law(1e6), rel=1e-3)
    assert law.reaches(law(70_000)) == pytest.approx(70_000)
    assert law.reaches(7.0) == 0 and Law(8.0, 0.0, power).reaches(9.0) == math.inf


def test_a_law_of_two_sizes_has_no_constant_and_one_size_is_refused():
    assert fit_law([100, 400], [3.0, 6.0]) == Law(0.0, pytest.approx(0.3), pytest.approx(0.5))
    with pytest.raises(ValueError, match=r"sizes must be two or more for a law\. Got 1\."):
        fit_law([100], [3.0])


def test_the_limit_that_a_growing_set_reaches_first_is_named_first():
    found = {
        size: {
            "ingest": {"peak": size * 2e6, "disk": size * 5e3},
            "features": {"peak": size * 1e5, "disk": size * 2e4},
        }
        for size in (1_000, 5_000)
    }
    limits = first_limits(found, 16 * GIB, 1e12, features_gb=20, copies=5)
    assert [round(images / 1e3) for images, _ in limits] == [9, 172, 215, 50_000, 200_000]
    assert limits[0][1] == "ingest: memory of 16 GiB"
    assert limits[2][1] == "features: --data.features_gb 20 with 5 versions of each image"


@pytest.mark.figures
def test_the_figure_of_growth_has_plain_numbers_and_a_line_a_law(tmp_path):
    found = {
        size: {stage: {"cpu": size / 1e2, "peak": size * 1e6} for stage in ("ingest", "report")}
        for size in (1_000, 5_000)
    }
    figure = draw(found, tmp_path / "growth.png")
    for axes in figure.axes:
        labels = [label.get_text() for label in axes.get_xticklabels(which="both")]
        assert "10,000" in labels and not any("$" in label for label in labels)
        assert max(line.get_xdata()[-1] for line in axes.get_lines()[:4]) == pytest.approx(1e6)
    assert Image.open(tmp_path / "growth.png").size[0] == 900


def test_a_measured_command_counts_its_childrens_memory(tmp_path):
    child = "import time; kept = b'x' * (80 * 2**20); time.sleep(1)"
    begin = f"subprocess.Popen([sys.executable, '-c', {child!r}])"
    parent = f"import subprocess, sys; [one.wait() for one in ({begin}, {begin})]"
    taken = measured([sys.executable, "-c", parent], tmp_path / "log.txt")
    assert taken["peak"] > 160 * 2**20 and taken["wall"] > 1 > taken["cpu"] > 0
    with pytest.raises(SystemExit, match="no such thing"):
        measured([sys.executable, "-c", "raise SystemExit('no such thing')"], tmp_path / "log.txt")


def test_a_smaller_set_is_the_beginning_of_a_larger_one(tmp_path):
    (tmp_path / "made" / "A").mkdir(parents=True)
    for number in range(4):
        (tmp_path / "made" / "A" / f"{number:05d}.png").write_text(str(number))
    small = beginning(tmp_path / "made", 2, tmp_path / "small")
    assert sorted(path.name for path in small.rglob("*.png")) == ["00000.png", "00001.png"]


@pytest.mark.figures
def test_the_figure_of_robustness_reads_what_the_commands_wrote(tmp_path, monkeypatch):
    cells = [
        {"corruption": name, "severity": severity, "accuracy": value}
        for name, values in {"none": [0.9], "blur": [0.8, 0.7], "noise": [0.6, 0.1]}.items()
        for severity, value in enumerate(values, name != "none")
    ]
    cells += [{"corruption": "blur", "severity": level, "accuracy": 0.5} for level in (3, 4, 5)]
    measure = {"value": 0.25, "interval": [0.2, 0.3]}
    answers = {
        "data": {"source": "other-0a1b2c3d"},
        "answers": {"answers": {"A": {"confident": measure, "confident_and_decided": measure}}},
    }
    write_json(tmp_path / "robustness/robustness.json", {"cells": cells})
    write_json(tmp_path / "external/other-0a1b2c3d/answers.json", answers)
    assert robustness_figure.corrupted_accuracy(tmp_path) == pytest.approx(
        [0.9, 0.7, 0.4, 0.5, 0.5, 0.5]
    )
    runs = [str(tmp_path)] * 3
    main = ["--before", *runs, "--after", *runs, "--names", "other=Other", "--answer", "A"]
    monkeypatch.setattr("sys.argv", ["", *main, "--to", str(tmp_path / "figure.png")])
    robustness_figure.main()
    assert Image.open(tmp_path / "figure.png").size == (1350, 435)


@pytest.mark.parametrize("fault", read_faults(), ids=lambda of: of.row)
def test_a_silent_fault_can_be_planted_and_its_tests_exist(fault):
    planted = fault.planted((ROOT / fault.file).read_text(encoding="utf-8"))
    assert not fault.file.endswith(".py") or ast.parse(planted)
    for test in fault.tests:
        path, _, name = test.partition("::")
        assert not name or f"\ndef {name}(" in (ROOT / path).read_text(encoding="utf-8"), test


def test_the_page_of_silent_faults_has_the_table_of_the_list():
    assert silent_faults.table(read_faults()) in silent_faults.PAGE.read_text(encoding="utf-8")


def test_a_passage_that_is_gone_is_named():
    with pytest.raises(ValueError, match=r"passage of fault 1a once. Got it 0 times"):
        read_faults()[0].planted("changed since")


@pytest.mark.parametrize(
    ("printed", "noticed"),
    [
        ("FAILED tests/a.py::test_x[b c] - assert (0 == 2)\n", ["test_x"]),
        (
            "FAILED tests/a.py::test_x - ValueError: no\nERROR tests/b.py::test_y - OSError: gone",
            ["test_x", "test_y"],
        ),
        ("FAILED tests/a.py::test_x - NameError: name 'y' is not defined\n", []),
        ("1 passed in 2.00s\n", []),
    ],
)
def test_a_fault_is_noticed_by_a_test_that_fails_by_itself(printed, noticed):
    assert silent_faults.noticing(printed) == noticed
