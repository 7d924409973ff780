"""Planted origins: found where they give the class away, and harmless where they do not."""

import json

import keras
import numpy as np
import openpyxl
import pytest
from PIL import Image

from kerascxr.audits.origins import check_sources, origins_of
from kerascxr.config import ClassificationConfig, SplitConfig
from kerascxr.data.ingest.folds import split_folds
from kerascxr.data.ingest.store import open_store
from kerascxr.data.pipeline import read_images
from kerascxr.data.sources.open import open_source
from kerascxr.evaluation.origin_probes import Sourced, measure_sources
from kerascxr.models.classifier import build_classifier
from kerascxr.parsing import parse_config
from kerascxr.report.blocks import Tabulated
from kerascxr.report.origins import source_blocks, source_text
from tests.support.small_runs import arguments, bright_and_dark

CLASSES = ("COVID", "Normal", "Viral Pneumonia")


def planted(seed, offset, disease, each=40):
    """COVID from a and b, Normal from c and d, pneumonia from d alone; 8 features."""
    random = np.random.default_rng(seed)
    made = [(0, "a"), (0, "b"), (1, "c"), (1, "d"), (2, "d")]
    labels = np.repeat([label for label, _ in made], each)
    origins = np.repeat([origin for _, origin in made], each)
    features = random.normal(0, 1, (len(labels), 8))
    features[:, :4] += offset * np.eye(4)[np.searchsorted(["a", "b", "c", "d"], origins)]
    features[:, 4:7] += disease * np.eye(3)[labels]
    groups = np.arange(len(labels)).astype(str)
    return Sourced(features, labels, origins, groups)


@pytest.fixture(scope="module")
def shortcut():
    return measure_sources(planted(0, 6.0, 0.0), planted(1, 6.0, 0.0), CLASSES)


@pytest.fixture(scope="module")
def clean():
    return measure_sources(planted(2, 0.0, 6.0), planted(3, 0.0, 6.0), CLASSES)


def test_a_visible_origin_is_found_and_leaves_nothing_within_it(shortcut):
    assert shortcut["origin_from_features"]["accuracy"] > 0.95
    (within,) = shortcut["class_within_origin"]
    assert (within["origin"], within["classes"]) == ("d", ["Normal", "Viral Pneumonia"])
    assert within["all"]["auc"] > within["within"]["auc"] + 0.1
    low, high = within["within"]["interval"]
    assert low < 0.5 < high
    inside = {row["class"]: row["accuracy"] for row in shortcut["origin_within_class"]}
    assert set(inside) == {"COVID", "Normal"}
    assert min(inside.values()) > 0.95
    for row in shortcut["left_out"]:
        if row["class"] == "COVID":
            assert row["recall_with"] > 0.9 > 0.7 > row["recall_without"]
            assert row["change"][2] < 0


def test_where_origins_do_not_matter_nothing_changes(clean):
    assert clean["origin_within_class"][0]["accuracy"] < 0.7
    (within,) = clean["class_within_origin"]
    assert min(within[kind]["auc"] for kind in ("within", "all_on_within", "all")) > 0.99
    assert {(row["class"], row["origin"]) for row in clean["left_out"]} == {
        ("COVID", "a"), ("COVID", "b"), ("Normal", "c"), ("Normal", "d")
    }  # fmt: skip
    assert min(row["recall_without"] for row in clean["left_out"]) > 0.9


def test_the_origin_alone_is_a_table_learned_on_train(clean):
    # a and b are COVID, c is Normal, and d's 80 are half and half: 160 of 200 at best.
    assert clean["class_from_origin"]["accuracy"] == pytest.approx(0.8)
    assert clean["class_from_origin"]["chance"] == pytest.approx(0.4)
    assert clean["class_from_features"]["accuracy"] > 0.95


def test_small_and_unknown_origins_are_left_out():
    train, test = planted(4, 6.0, 0.0), planted(5, 6.0, 0.0)
    for images, kept in ((train, 19), (test, 40)):
        images.origins[np.flatnonzero(images.origins == "a")[kept:]] = ""
    result = measure_sources(train, test, CLASSES)
    assert result["origin_from_features"]["origins"] == ["b", "c", "d"]
    assert result["images"]["train"][""] == {"COVID": 21, "Normal": 0, "Viral Pneumonia": 0}
    assert {row["class"] for row in result["left_out"]} == {"Normal"}
    assert "unknown" in source_text(result)


def test_the_result_is_described_in_sentences_and_tables(shortcut):
    assert source_text(json.loads(json.dumps(shortcut))) == source_text(shortcut)
    words, *tables = source_blocks(shortcut, "audit")
    assert "the class from an image's origin alone has accuracy 0.800" in words
    assert all(isinstance(block, Tabulated) and block.note for block in tables)
    assert len({block.label for block in tables}) == len(tables) == 4
    text = source_text(shortcut)
    assert "The recall of COVID images of origin 2 is" in text
    assert "Normal against Viral Pneumonia" in text


def checked(folder, source):
    store = open_store(
        open_source(str(source), phantom_images=20, phantom_seed=0),
        folder / "stores",
    )
    config = parse_config(ClassificationConfig, arguments(folder), "test")
    splits = {
        name: read_images(store, folds, (32, 32))
        for name, folds in split_folds(SplitConfig()).items()
    }
    keras.utils.set_random_seed(0)
    model = build_classifier("shufflenetv2_x0_5", len(store.classes), image_size=(32, 32))
    return check_sources(model, splits, origins_of(store), config)


def test_from_workbooks_to_origins_seen_by_a_backbone(tmp_path, messages):
    random = np.random.default_rng(0)
    for label, origins in (("Normal", ("dark", "bright")), ("Viral Pneumonia", ("bright",))):
        (tmp_path / "db" / label / "images").mkdir(parents=True)
        book = openpyxl.Workbook()
        book.active.append(("FILE NAME", "FORMAT", "SIZE", "URL"))
        for number in range(50 * len(origins)):
            origin = origins[number % len(origins)]
            level = {"dark": 60, "bright": 190}[origin]
            pixels = np.clip(random.normal(level, 20, (32, 32)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"db/{label}/images/{label}-{number}.png")
            book.active.append((f"{label}-{number}", "PNG", "32*32", f"https://{origin}"))
        book.save(tmp_path / f"db/{label}.metadata.xlsx")
    result = checked(tmp_path, tmp_path / "db")
    assert any("backbone features" in line for line in messages())
    assert result["origin_from_features"]["accuracy"] > 0.95
    (within,) = result["class_within_origin"]
    low, high = within["within"]["interval"]
    assert (within["origin"], low < 0.5 < high) == ("https://bright", True)
    assert "bright" in source_text(result)


def test_a_source_without_origins_says_so(tmp_path, messages):
    result = checked(tmp_path, bright_and_dark(tmp_path / "set"))
    assert result["skipped"] in messages()
    assert [result["skipped"]] == [source_text(result)] == source_blocks(result, "a")
    assert "does not say where its images come from" in result["skipped"]


def test_one_origin_says_nothing():
    train, test = planted(6, 0.0, 0.0), planted(7, 0.0, 0.0)
    for images in (train, test):
        images.origins[:] = "a"
    assert "come from a" in measure_sources(train, test, CLASSES)["skipped"]
