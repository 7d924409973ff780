"""The first section: verdicts in JSON become sentences, scores a forest plot."""

import json
import re

import pytest
import yaml

from kerascxr.report import contents, page
from kerascxr.report.blocks import Figure, Statement, Tabulated
from kerascxr.report.curves import curve_sections
from kerascxr.report.external import external_sections
from kerascxr.report.repeats import read_repeats
from kerascxr.report.summary import summary_section
from kerascxr.runs.reading import read_runs
from tests.report.test_contents import change
from tests.report.test_page import classifier, segmenter


def summary(tmp_path, *paths):
    runs = read_runs(paths)
    return summary_section(runs, read_repeats(runs), tmp_path)


def said(part):
    return {block.about: block.text for block in part.blocks if isinstance(block, Statement)}


def test_it_is_the_first_section_and_begins_with_the_scores(tmp_path):
    parts = contents.sections(
        read_runs([classifier(tmp_path / "run", 1), segmenter(tmp_path / "unet")]), tmp_path
    )
    assert [part.title for part in parts[:2]] == ["In short", "Classifiers: test metrics"]
    kinds = [type(block) for block in parts[0].blocks]
    assert kinds[:3] == [Figure, Figure, Statement]
    assert [block.name for block in parts[0].blocks[:2]] == [
        "summary-classification",
        "summary-segmentation",
    ]
    assert parts[0].blocks[-1].about == "Limits."


def test_scores_have_their_intervals(tmp_path):
    path = classifier(tmp_path / "run", 1)
    test = json.loads((path / "metrics.json").read_text())["test"]
    text = said(summary(tmp_path, path))["Scores."]
    for measure, name in (("accuracy", "accuracy"), ("auc", "macro AUC")):
        low, high = test["intervals"][measure]
        assert f"{name} {test[measure]:.3f} [{low:.3f}, {high:.3f}]" in text


def test_a_picture_without_intervals_does_not_promise_them(tmp_path):
    path = segmenter(tmp_path / "unet")
    assert summary(tmp_path, path).blocks[0].caption == "Test scores with 95% intervals."
    metrics = json.loads((path / "metrics.json").read_text())
    metrics["test"]["intervals"] = dict.fromkeys(metrics["test"]["intervals"])
    (path / "metrics.json").write_text(json.dumps(metrics))
    (picture, *_) = summary(tmp_path, path).blocks
    assert picture.caption == "Test scores (too few images for an interval)."


def test_two_models_are_a_list_and_one_is_a_paragraph(tmp_path):
    paths = [classifier(tmp_path / name, 1) for name in ("first", "second")]
    for count in (1, 2):
        page.write_report(paths[:count], tmp_path / f"report{count}")
        markdown = (tmp_path / f"report{count}" / "report.md").read_text()
        html = (tmp_path / f"report{count}" / "index.html").read_text()
        [scores] = [part for part in markdown.split("\n\n**") if part.startswith("Scores.")]
        assert scores.count("\n- ") == (count if count > 1 else 0)
        [scores] = re.findall(r"<strong>Scores\.</strong>(.*?)<strong>", html, re.S)
        assert scores.count("<li>") == (count if count > 1 else 0)
        assert scores.count("macro AUC") == count


def test_many_models_share_a_sentence(tmp_path):
    paths = [classifier(tmp_path / f"run{index}", 1) for index in range(4)]
    for index, path in enumerate(paths):
        change(path, "metrics.json", lambda of, i=index: of["test"].update(accuracy=0.6 + i / 10))
    text = said(summary(tmp_path, *paths))["Scores."]
    assert text.startswith("Over the 4 classifiers, accuracy is from 0.600 to 0.900")


@pytest.mark.parametrize(
    ("leak", "words", "not_there"),
    [
        ({"leaked_test_images": 0, "verdict": "none"}, "None of the test images", "raises"),
        ({"leaked_test_images": 9, "verdict": "shown"}, "The leak raises the score", "not decided"),
        ({"leaked_test_images": 9, "verdict": "not_decided"}, "is not decided", "The leak raises"),
        (
            {"leaked_test_images": 9, "verdict": "shown", "through_starting_weights": 7},
            "Of these, 7 are images that the starting weights were trained or validated on",
            "None of",
        ),
        (None, "Not counted for", "None of"),
    ],
)
def test_the_leak_is_that_of_the_verdict(tmp_path, leak, words, not_there):
    path = classifier(tmp_path / "run", 1)
    known = {
        "test_images": 40,
        "accuracy_of_leaked": {"value": 0.95, "interval": None},
        "accuracy_of_others": {"value": 0.75, "interval": None},
        "difference": {"value": 0.2, "interval": [0.1, 0.3]},
    }
    if leak:
        change(path, "metrics.json", lambda of: of.update(leak=known | leak))
    text = said(summary(tmp_path, path))["Leaked test images."]
    assert words in text and not_there not in text
    assert ("9 of 40 test images (22%)" in text) == bool(leak and leak["leaked_test_images"])


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        ("lower", "accuracy is 0.300 [0.200, 0.400] lower than on the run's own test images"),
        ("higher", "accuracy is 0.300 [0.200, 0.400] higher than"),
        ("not_decided", "is not decided"),
    ],
)
def test_another_set_is_that_of_the_verdict(tmp_path, verdict, words):
    path = classifier(tmp_path / "run", 1)
    assert "No model was tested" in said(summary(tmp_path, path))["Other hospitals."]
    (path / "external/other-0123abcd").mkdir(parents=True)
    of = json.loads((path / "metrics.json").read_text())
    ends = {"lower": [-0.4, -0.2], "higher": [0.2, 0.4], "not_decided": [-0.1, 0.7]}[verdict]
    of["against_internal"] = {
        "accuracy": {"difference": sum(ends) / 2, "interval": ends, "verdict": verdict}
    }
    of["test"]["absent_classes"] = ["COVID"]
    (path / "external/other-0123abcd/metrics.json").write_text(json.dumps(of))
    part = summary(tmp_path, path)
    text = said(part)["Other hospitals."]
    assert words in text
    assert "on other (40 images, none of COVID)" in text and "case mix" in text
    assert "other, 40 images: Accuracy" in part.blocks[0].alt
    common = of["test"] | {"absent_classes": ["COVID"], "n": 20}
    of["internal_of_common_classes"], of["data"]["left_out"] = common, 0
    (path / "external/other-0123abcd/metrics.json").write_text(json.dumps(of))
    text = said(summary(tmp_path, path))["Other hospitals."]
    assert "own test" in text and " of Lung_Opacity, Normal or Viral Pneumonia" in text
    assert "case mix" not in text
    [section] = external_sections(read_runs([path]))
    rows = [row[:2] for row in section.blocks[0].table.rows]
    assert rows[1:] == [
        ["internal: Lung_Opacity, Normal and Viral Pneumonia", 20],
        ["external: other", 40],
    ]


def ablation(title, verdict, share, **more):
    auc = {"value": 0.9, "interval": None, "difference": None, "difference_interval": None}
    return {"title": title, "lungs_visible": False, "verdict": verdict, "share": share} | {
        "auc": auc,
        "accuracy": auc,
        **more,
    }


def test_shortcuts_are_those_of_the_audits_verdict(tmp_path):
    audited, other = classifier(tmp_path / "a", 1), classifier(tmp_path / "b", 2)
    result = {
        "ablations": {
            "border_only": ablation("border only", "shown", 0.71, size="large"),
            "thumbnail": ablation("thumbnail", "not_decided", -0.1),
            "histogram": ablation("histogram", "excluded", 0.04),
        },
        "verdict": {
            "verdict": "shown",
            "large": ["border_only"],
            "some": [],
            "not_decided": ["thumbnail"],
            "control_missed": [],
        },
        "attention": {},
        "origins": {"skipped": "No origins."},
        "lung_masks": {"images": 40, "implausible": 1, "reasons": {}},
        **{"epochs": 1, "depth": 0, "images": 40, "chance": 0.25, "lungs": "masks"},
    }
    (audited / "audit").mkdir()
    (audited / "audit/audit.json").write_text(json.dumps(result))
    part = summary(tmp_path, audited, other)
    text = said(part)["Shortcuts."]
    assert "EfficientNet-B0, depth 1: Large shortcuts are shown: border only." in text
    assert "EfficientNet-B0, depth 2 was not audited" in text
    [table] = [block for block in part.blocks if isinstance(block, Tabulated)]
    assert [row[1] for row in table.table.rows] == [
        "shortcut shown, share 71%",
        "not decided, share 0%",
        "excluded, share 4%",
    ]


def cross_validation(folder, accuracy):
    """Writes three folds and their summary; returns the folds' folders."""
    paths = [classifier(folder / f"fold-{index:02d}", 1) for index in range(3)]
    for index, path in enumerate(paths):
        (path / "config.yaml").write_text(yaml.safe_dump({"split": {"offset": index}}))
    test = json.loads((paths[0] / "metrics.json").read_text())["test"] | {"accuracy": accuracy}
    pooled = {
        "task": "classification",
        "title": "EfficientNet-B0, depth 1",
        "kind": "folds",
        "runs": [{"run": path.name, "test": test} for path in paths],
        "spread": {},
        "notes": [],
        "pooled": test,
    }
    (folder / "summary.json").write_text(json.dumps(pooled))
    return paths


def test_folds_are_one_row_pooled(tmp_path):
    part = summary(tmp_path, *cross_validation(tmp_path / "cv", 0.77))
    figure = part.blocks[0]
    assert "3 folds, pooled, 40 images: Accuracy 0.770" in figure.alt
    assert figure.alt.count("images: Accuracy") == 1
    assert "3 folds together: accuracy 0.770" in said(part)["Scores."]


def test_two_cross_validations_of_one_model_are_two_rows(tmp_path):
    paths = [*cross_validation(tmp_path / "a", 0.77), *cross_validation(tmp_path / "b", 0.61)]
    part = summary(tmp_path, *paths)
    for name, value in (("a", "0.770"), ("b", "0.610")):
        title = f"EfficientNet-B0, depth 1 ({name}), 3 folds"
        assert f"{title}, pooled, 40 images: Accuracy {value}" in part.blocks[0].alt
        assert f"{title} together: accuracy {value}" in said(part)["Scores."]


def test_curves_of_other_options_are_not_averaged_as_seeds_are(tmp_path):
    paths = [classifier(tmp_path / name, 1) for name in ("one", "two", "leaky")]
    for seed, (path, groups) in enumerate(zip(paths, ("kept", "kept", "ignored"), strict=True)):
        config = {"name": path.name, "split": {"groups": groups}, "runtime": {"seed": seed}}
        (path / "config.yaml").write_text(yaml.safe_dump(config))
    [section] = curve_sections(read_runs(paths), tmp_path)
    [figure] = section.blocks
    assert figure.alt.count("validation accuracy") == 2 and "(leaky): validation" in figure.alt
