"""What the report says of splits, counts, uncertainty and input ablations."""

import importlib.resources
import json
import re

import pytest
import yaml

from kerascxr.evaluation.metrics import METRICS, Metric, metric_title
from kerascxr.report import contents, data, external, limits
from kerascxr.report.blocks import Tabulated
from kerascxr.report.html import html_page
from kerascxr.runs.reading import read_run, read_runs
from tests.report.test_page import classifier, segmenter


def change(path, name, function):
    """Rewrites a JSON file of a run."""
    values = json.loads((path / name).read_text())
    function(values)
    (path / name).write_text(json.dumps(values))


def notes(parts):
    return " ".join(b.note for part in parts for b in part.blocks if isinstance(b, Tabulated))


def test_counts_are_compared_where_the_study_has_any(tmp_path):
    paths = [classifier(tmp_path / "known", 1), classifier(tmp_path / "other", 3)]
    parts = contents.sections(read_runs(paths), tmp_path)
    known = "0 of 1 row with a known count in the reference study have exactly its counts."
    assert known in notes(parts)


@pytest.mark.parametrize(
    ("monitor", "said"), [("dice", "0.9000 in epoch 2"), ("loss", "0.8000 in")]
)
def test_a_coarse_stage_has_the_score_of_its_best_epoch(tmp_path, monitor, said):
    path = segmenter(tmp_path / "unet")
    rows = [(0.5, 0.3), (0.9, 0.2), (0.8, 0.1)]
    rows = [{"epoch": i + 1, "val_dice": d, "val_loss": v} for i, (d, v) in enumerate(rows)]
    (path / "coarse_history.json").write_text(json.dumps(rows))
    with (path / "config.yaml").open("a") as config:
        config.write(f"monitor: {monitor}\n")
    parts = contents.sections(read_runs([path]), tmp_path)
    [text] = [b for part in parts for b in part.blocks if "half the size" in str(b)]
    assert f"for 3 epochs at half the size first, to a validation Dice of {said}" in text


def test_the_study_stands_once_below_the_runs_of_a_model(tmp_path):
    paths = [classifier(tmp_path / f"run{index}", depth) for index, depth in enumerate((1, 1, 2))]
    parts = contents.sections(read_runs(paths), tmp_path)
    [table] = [b for part in parts for b in part.blocks if getattr(b, "label", "") == "metrics"]
    assert table.muted == {2, 4}
    assert [table.table.rows[index][1] for index in sorted(table.muted)] == [0.9068, 0.9313]


def test_a_registered_metric_has_a_column_in_the_tables_of_scores(tmp_path, monkeypatch):
    path = classifier(tmp_path / "run", 1)
    (path / "external/other-0123abcd").mkdir(parents=True)
    for name in ("metrics.json", "external/other-0123abcd/metrics.json"):
        (path / name).write_text((path / "metrics.json").read_text())
        change(path, name, lambda of: of["test"].update(kappa=0.5))
        change(path, name, lambda of: of["test"]["intervals"].update(kappa=[0.4, 0.6]))
    change(path, "external/other-0123abcd/metrics.json", lambda of: of["data"].update(left_out=5))
    other = classifier(tmp_path / "other", 2)

    def tables():
        parts = contents.sections(read_runs([path, other]), tmp_path)
        found = [b.table for part in parts for b in part.blocks if isinstance(b, Tabulated)]
        return [t for t in found if t.title == "Test metrics" or "on each set" in t.title]

    for scores in tables():
        cells = [row[scores.header.index("kappa")] for row in scores.rows]
        with_it = ["0.5000 [0.400, 0.600]"]
        assert cells == (with_it * 2 if "set" in scores.title else [*with_it, None, None, None])
    agreement = Metric(lambda truth, probabilities: 0.5, "Cohen's kappa", macro=False)
    monkeypatch.setitem(METRICS, "kappa", agreement)
    assert all("Cohen's kappa" in scores.header for scores in tables())
    assert len(tables()) == 2


@pytest.mark.parametrize("ends", [(0.7, 0.9), None])
def test_the_uncertainty_is_that_of_the_test(tmp_path, ends):
    path = classifier(tmp_path / "run", 0)
    change(path, "metrics.json", lambda of: of["test"].update(n=1600, accuracy=0.8))
    if ends:
        change(path, "metrics.json", lambda of: of["test"].update(intervals={"accuracy": ends}))
    text = limits.limits([read_run(path)])
    half = 10.0 if ends else 2.0
    assert f"With 1,600 test images, an accuracy is uncertain by about {half} percentage" in text


@pytest.mark.parametrize(
    ("groups", "cut", "words"),
    [
        ("kept", 0, "are on one side"),
        ("ignored", 0, "groups are ignored, so test images leak into training"),
        ("kept", 3, "divides 3 groups"),
    ],
)
def test_the_treatment_of_groups_is_true(tmp_path, groups, cut, words):
    path = classifier(tmp_path / "run", 0)
    (path / "config.yaml").write_text(yaml.safe_dump({"split": {"groups": groups}}))
    change(
        path, "environment.json", lambda of: of["data_fingerprint"].update(groups_cut_by_split=cut)
    )
    text = notes(data.data_sections([read_run(path)]))
    assert words in text
    assert ("are on one side" in text) == (words == "are on one side")


def test_the_search_for_near_duplicates_is_named_where_it_is_known(tmp_path):
    path = classifier(tmp_path / "run", 0)
    assert "Near-duplicates were found" not in notes(data.data_sections([read_run(path)]))
    search = {"search": "index", "images": 60_000, "faiss": "1.2.3"}
    change(
        path,
        "environment.json",
        lambda of: of["data_fingerprint"].update(near_duplicate_search=search),
    )
    text = notes(data.data_sections([read_run(path)]))
    assert "Near-duplicates were found with an index (faiss 1.2.3)." in text


@pytest.mark.parametrize(
    ("regime", "words"),
    [
        ({"trained_on": "cached features", "feature_engine": "openvino"}, "features (openvino)"),
        (
            {"feature_engine": "keras", "augmented_copies": 3},
            "3 cached augmented copies of each image (keras)",
        ),
        (
            {"feature_engine": "openvino", "augmented_copies": 5, "copies_precision": "bfloat16"},
            "5 cached augmented copies of each image (openvino, bfloat16)",
        ),
        ({}, "images, augmented"),
        ({"augmentation": False}, "images, not augmented"),
    ],
)
def test_the_regime_is_shown(tmp_path, regime, words):
    path = classifier(tmp_path / "run", 0)
    change(path, "environment.json", lambda of: of["regime"].update(regime))
    [part] = [
        part for part in contents.sections(read_runs([path]), tmp_path) if "made" in part.title
    ]
    table = part.blocks[0].table
    assert words in table.rows[0][table.header.index("trained on")]


def test_folds_share_a_section_with_a_row_a_split(tmp_path):
    paths = [classifier(tmp_path / f"fold{index}", 0) for index in range(3)]
    for index, path in enumerate(paths):
        (path / "config.yaml").write_text(yaml.safe_dump({"split": {"offset": 4 * index}}))
    [part] = data.data_sections(read_runs(paths))
    tables = {b.table.title: b.table for b in part.blocks if isinstance(b, Tabulated)}
    assert list(tables) == ["Images by class", "Splits"]
    assert tables["Splits"].header[-2:] == ["groups", "runs"]
    assert [row[-2] for row in tables["Splits"].rows] == ["together"] * 3
    assert [row[-1].split()[-1] for row in tables["Splits"].rows] == [
        "(fold0)",
        "(fold1)",
        "(fold2)",
    ]
    assert notes([part]).count("are on one side") == 1


def test_input_ablations_have_their_own_heading_and_contents_entry(tmp_path):
    path = classifier(tmp_path / "run", 0)
    auc = {"value": 0.9, "interval": [0.8, 0.95], "difference": None, "difference_interval": None}
    names = ("large", "some", "not_decided", "control_missed")
    found = {"verdict": "excluded"} | {name: [] for name in names}
    result = {
        "title": "run",
        "ablations": {
            "full": {"title": "full image", "lungs_visible": True, "accuracy": auc, "auc": auc}
        },
        "verdict": found,
        "attention": {"COVID": {"images": 40, "inside": None, "area": 0.2}},
        "origins": {"skipped": "No origins."},
        "lungs": "the source's masks",
        "lung_masks": {"images": 40, "implausible": 1, "reasons": {}},
        **{"epochs": 1, "depth": 0, "images": 40, "chance": 0.25},
    }
    (path / "audit").mkdir()
    (path / "audit/audit.json").write_text(json.dumps(result))
    run = read_run(path)
    page = html_page(contents.sections([run], tmp_path), "T")
    title = f"Input ablations: {run.name}"
    assert re.search(rf"<h2>.*{title}</h2>", page)
    assert page.count(title) == 2  # the contents and the heading


def test_scores_come_before_images_and_weights(tmp_path):
    run = read_run(classifier(tmp_path / "run", 1))
    [table] = [
        block
        for part in contents.sections([run], tmp_path)
        for block in part.blocks
        if isinstance(block, Tabulated) and block.label == "metrics"
    ]
    assert table.table.header[:2] == ["model", "accuracy"]
    assert table.table.header[-2:] == ["images", "backbone weights"]
    assert [row[-2:] for row in table.table.rows] == [
        ["subset: 3,050 of 21,165 images", "file backbone.h5"],
        ["21,165 images", "ImageNet"],
    ]


def test_a_table_that_scrolls_shows_it():
    css = importlib.resources.files("kerascxr.report") / "templates/page.css"
    assert "background-attachment: local" in css.read_text(encoding="utf-8")


@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_external_tests_are_beside_the_internal_one(tmp_path, task):
    path = tmp_path / "run"
    classifier(path, 1) if task == "classification" else segmenter(path)
    (path / "external/other-0123abcd").mkdir(parents=True)
    (path / "external/other-0123abcd/metrics.json").write_text((path / "metrics.json").read_text())
    measure, value = {"classification": ("accuracy", 0.71), "segmentation": ("dice", 0.61)}[task]
    new = {"n": 77, measure: value, "intervals": {measure: [0.6, 0.9]}}
    change(path, "external/other-0123abcd/metrics.json", lambda of: of["test"].update(new))
    change(path, "external/other-0123abcd/metrics.json", lambda of: of["data"].update(left_out=5))
    parts = contents.sections([read_run(path)], tmp_path)
    [part] = [part for part in parts if part.title == "External tests"]
    [table] = part.blocks
    counts = "one mask is empty (internal: some <set> & more: 0; external: other: 0)"
    assert (counts in table.note) == (task == "segmentation")
    assert [row[0] for row in table.table.rows] == [
        "internal: some <set> & more",
        "external: other",
    ]
    assert table.table.rows[1][1:4] == [77, 5, f"{value:.4f} [0.600, 0.900]"]
    unchecked = {"near_duplicates_checked": False}
    change(path, "external/other-0123abcd/metrics.json", lambda of: of["data"].update(unchecked))
    [part] = external.external_sections([read_run(path)])
    assert part.blocks[0].table.rows[1][2] == "5, near-duplicates not looked for"
    figure = parts[0].blocks[0]
    assert f"other, 77 images: {metric_title(task, measure).capitalize()} {value:.3f}" in figure.alt
