"""Comparing runs: what they share, what follows from it, and what is written."""

import json
import re

import numpy as np
import pytest

from kerascxr import __main__ as verbs
from kerascxr.evaluation import segmentation
from kerascxr.evaluation.metrics import METRICS, Metric
from kerascxr.report.comparison import comparison_markdown, comparison_text
from kerascxr.tables import csv_text

CLASSES = ["bright", "dark", "middle"]


def write(path, task, title, rows, data="ab", **test):
    path.mkdir(parents=True)
    metrics = {"task": task, "title": title, "data": {"fingerprint": data}, "test": test}
    (path / "metrics.json").write_text(json.dumps(metrics))
    (path / "predictions.csv").write_text(csv_text(rows))
    (path / "DONE").touch()
    return str(path)


def classifier(path, errors, ids=range(90), data="ab", grouped=True, order=1):
    """A run that takes the first images of ``errors`` for the next class."""
    random = np.random.default_rng(len(path.name))
    rows = []
    for index in ids:
        label = index % 3
        guess = (label + (index in errors)) % 3
        row = {"id": f"x/{index:03}", "group": f"g{index // 6}-{label}", "truth": CLASSES[label]}
        if not grouped:
            row.pop("group")
        shares = random.dirichlet(np.ones(3)) * 0.2 + np.eye(3)[guess] * 0.8
        named = zip(CLASSES, shares.tolist(), strict=True)
        rows.append(row | {f"uncalibrated probability {name}": value for name, value in named})
    return write(path, "classification", path.name, rows[::order], data, classes=CLASSES)


def compare(capsys, *argv):
    code = verbs.main(["compare", *argv])
    shown = capsys.readouterr()
    return code, shown.out + shown.err


def test_folds_of_two_models_are_named_with_what_differs(tmp_path, capsys):
    runs = [classifier(tmp_path / name / "fold-00", range(2)) for name in ("deep", "flat")]
    code, text = compare(capsys, *runs, "--to", str(tmp_path / "out"))
    assert code == 0 and "deep/fold-00" in text
    [pair, *_] = json.loads((tmp_path / "out/compare.json").read_text())["differences"]
    assert (pair["first"], pair["second"]) == (
        "fold-00 (deep/fold-00)",
        "fold-00 (flat/fold-00)",
    )


def test_all_pairs_are_compared_and_written(tmp_path, capsys):
    good = classifier(tmp_path / "good", range(2), order=-1)
    fair = classifier(tmp_path / "fair", range(3))
    poor = classifier(tmp_path / "poor", range(40))
    to = tmp_path / "out"
    code, text = compare(capsys, good, fair, poor, "--to", str(to))
    assert code == 0
    assert "The same 90 test images; differences are paired." in text
    found = json.loads((to / "compare.json").read_text())
    assert found["paired"] is True
    accuracy = [item for item in found["differences"] if item["measure"] == "accuracy"]
    assert [(item["first"], item["second"]) for item in accuracy] == [
        *(("good", "fair"), ("good", "poor"), ("fair", "poor"))
    ]
    assert [item["verdict"] for item in accuracy] == [
        *("not shown", "first better", "first better")
    ]
    assert accuracy[0]["difference"] == pytest.approx(-1 / 90)
    assert (accuracy[1]["only_first"], accuracy[1]["only_second"]) == (38, 0)
    assert accuracy[1]["p_adjusted"] == pytest.approx(3 * accuracy[1]["p"])
    assert {item["measure"] for item in found["differences"]} == {"accuracy", "f1", "auc"}
    assert len(found["differences"]) == 9
    low, high = found["runs"][0]["metrics"]["accuracy"]["interval"]
    assert low < 88 / 90 < high
    page = (to / "compare.md").read_text()
    assert "## Differences" in page and "no difference shown" in page
    assert comparison_markdown(found) == page and text == comparison_text(found) + "\n"
    assert f"[{low:.3f}, {high:.3f}]" in page and f"[{low:.3f}, {high:.3f}]" in text


def test_few_patients_do_not_decide_however_many_images_they_have(tmp_path, capsys):
    runs = [classifier(tmp_path / name, errors) for name, errors in (("a", ()), ("b", range(18)))]
    code, _ = compare(capsys, *runs, "--to", str(tmp_path / "out"))
    found = json.loads((tmp_path / "out/compare.json").read_text())["differences"][0]
    assert code == 0 and (found["measure"], found["only_first"]) == ("accuracy", 18)
    assert found["p"] == pytest.approx(2**-9)  # nine groups of two; as images it would be 2**-18


def test_runs_on_other_splits_of_one_set_are_compared_unpaired(tmp_path, capsys):
    one = classifier(tmp_path / "random", range(5))
    two = classifier(tmp_path / "grouped", range(30), ids=range(0, 120))
    code, text = compare(capsys, one, two, "--to", str(tmp_path / "out"))
    assert code == 0
    assert "90 and 120 images, 90 shared" in text and "unpaired" in text
    found = json.loads((tmp_path / "out/compare.json").read_text())
    assert found["paired"] is False
    [accuracy] = [item for item in found["differences"] if item["measure"] == "accuracy"]
    assert "only_first" not in accuracy
    assert accuracy["difference"] == pytest.approx(90 / 120 - 85 / 90)
    assert accuracy["verdict"] == "first better" and "random is better" in text


def test_the_registry_decides_what_is_compared_and_what_is_better(tmp_path, capsys, monkeypatch):
    def error_rate(truth, probabilities):
        return float((probabilities.argmax(axis=1) != truth).mean())

    metric = Metric(error_rate, "error rate", macro=False, less_is_better=True)
    monkeypatch.setitem(METRICS, "error", metric)
    good, poor = classifier(tmp_path / "good", range(2)), classifier(tmp_path / "poor", range(40))
    code, text = compare(capsys, good, poor)
    assert code == 0
    [line] = [line for line in text.splitlines() if re.match(r"good\s+poor\s+error rate\s", line)]
    assert line.endswith("good is better") and "+0.4222" in line


def test_old_runs_without_groups_are_said(tmp_path, capsys):
    new = classifier(tmp_path / "new", range(4))
    old = classifier(tmp_path / "old", range(4), grouped=False)
    older = classifier(tmp_path / "older", range(6), grouped=False)
    code, text = compare(capsys, old, older)
    assert code == 0 and "old; older: predictions.csv has no groups" in text
    code, text = compare(capsys, old, new)  # the same images, so the new one's groups hold
    assert code == 0 and "no groups" not in text


def segmenter(path, noise, images=1, mask_of=lambda index, mask: mask):
    """A run whose masks of 64 lungs are noisy, or what is made of these; groups of some images."""
    random = np.random.default_rng(0)
    rows = []
    for index in range(64):
        truth = np.zeros((16, 16), bool)
        truth[3:12, 3:12] = True
        mask = mask_of(index, truth ^ (random.random(truth.shape) < noise))
        scores = segmentation.score_image(truth, mask)
        rows.append({"id": f"{index}", "group": f"{index // images}"} | scores)
    return write(path, "segmentation", path.name, rows)


def test_segmentation_runs_are_compared(tmp_path, capsys):
    def lungs(name, noise):
        return segmenter(tmp_path / name, noise, images=2)

    code, text = compare(capsys, lungs("sharp", 0.02), lungs("rough", 0.2))
    assert code == 0
    for measure in ("Dice", "IoU", "HD95 (pixels)", "ASSD (pixels)", "pooled Dice"):
        [line] = [
            line
            for line in text.splitlines()
            if re.match(rf"sharp\s+rough\s+{re.escape(measure)}\s", line)
        ]
        assert line.endswith("sharp is better")


def test_missing_the_difficult_lungs_is_no_smaller_distance(tmp_path, capsys):
    def lungs(name, found):
        def mask_of(index, mask):
            if index < 6:  # difficult ones
                mask = np.zeros_like(mask)
                mask[:2, :2] = found
            return mask

        return segmenter(tmp_path / name, 0.02, mask_of=mask_of)

    runs = [lungs("missing", False), lungs("poor", True)]
    code, text = compare(capsys, *runs, "--to", str(tmp_path / "out"))
    assert code == 0 and "one mask is empty: missing: 6." in text
    found = json.loads((tmp_path / "out/compare.json").read_text())
    differences = {item["measure"]: item["difference"] for item in found["differences"]}
    assert differences["hd95"] == differences["assd"] == 0  # the same masks where both have some
    assert found["undefined_distances"] == {"missing": 6}


def test_external_tests_are_compared_and_too_good_scores_are_named(tmp_path, capsys):
    runs = [classifier(tmp_path / name, range(5 * place)) for place, name in enumerate("ab")]
    for run, split in zip("ab", ("{groups: ignored}", "{groups: kept}"), strict=True):
        (tmp_path / run / "config.yaml").write_text(f"split: {split}\n")
        (tmp_path / run / "external").mkdir()
        place = classifier(tmp_path / run / "external" / f"{run} outside", range(9), data="cd")
        (tmp_path / run / "external" / f"{run} outside" / "DONE").unlink()
        runs.append(place)
    code, text = compare(capsys, *runs[2:])
    assert code == 0 and "a outside" in text and "say too much" not in text
    code, text = compare(capsys, *runs[:2])
    assert code == 0 and "The test scores of a say too much: it ignored groups" in text
    assert "of b say too much" not in text


def test_a_leak_through_the_starting_weights_is_said(tmp_path, capsys):
    runs = [classifier(tmp_path / name, range(2)) for name in "ab"]
    path = tmp_path / "a" / "metrics.json"
    leak = {"test_images": 90, "through_starting_weights": 30}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"leak": leak}))
    code, text = compare(capsys, *runs)
    assert code == 0 and "of b say too much" not in text
    assert (
        "The test scores of a say too much: it started from weights that were trained or "
        "validated on 30 of its 90 test images" in " ".join(text.split())
    )


def test_a_run_of_other_classes_is_left_out(tmp_path, capsys):
    runs = [classifier(tmp_path / name, range(4)) for name in ("a", "b")]
    other = write(tmp_path / "lungs", "segmentation", "lungs", [{"id": "1"}])
    code, text = compare(capsys, other, *runs)
    assert code == 0
    assert "The same 90 test images" in text and "lungs is left out: its task" in text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda path: classifier(path / "b", [], ids=range(30, 120), data="cd"), "60 shared"),
        (lambda path: classifier(path / "b", [], data="cd"), "fingerprints a: ab, b: cd"),
        (lambda path: write(path / "b", "segmentation", "b", [{"id": "1"}]), "one task"),
        (lambda path: str(path / "a"), "two or more"),
        (lambda path: str(path / ".." / path.name / "a"), "two or more"),  # the same folder
        (lambda path: str(path / "missing"), "must be folders"),
    ],
)
def test_what_cannot_be_compared_is_one_line(tmp_path, capsys, change, words):
    first = classifier(tmp_path / "a", [])
    code, text = compare(capsys, first, change(tmp_path))
    assert code == 2 and words in text and text.count("\n") == 1


def test_damaged_predictions_are_one_line(tmp_path, capsys):
    runs = [classifier(tmp_path / name, []) for name in ("a", "b")]
    (tmp_path / "b" / "predictions.csv").unlink()
    code, text = compare(capsys, *runs)
    assert code == 2 and "predictions.csv" in text and text.count("\n") == 1
