"""Runs on different regions of interest as one model: each member gets its own."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import train_cls
from kerascxr import __main__ as verbs
from tests.support.small_runs import LEVELS, arguments, bright_and_dark

pytestmark = pytest.mark.usefixtures("any_lung_masks")


@pytest.fixture(scope="module")
def pair(served, runs, tmp_path_factory):
    """The run on whole images, and one on the lungs alone."""
    folder = tmp_path_factory.mktemp("lungs")
    argv = arguments(folder, "--data.source", f"{served}/set", "--data.stores", f"{served}/stores")
    argv += ["--depth", "0", "--epochs", "2", "--roi", "lungs_only", "--lungs", str(runs[1])]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("kerascxr.evaluation.lung_masks.MOST_IMPLAUSIBLE", 1.0)
        assert train_cls.main([*argv, "--name", "lungs-only"]) == 0
    return [str(runs[0]), str(folder / "runs/classification/lungs-only")]


def answers(path):
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = [name for name in rows[0] if name.startswith("probability ")]
    key = "id" if "id" in rows[0] else "path"
    return {row[key]: [float(row[name]) for name in names] for row in rows}


def mean_of(one, other):
    assert list(one) == list(other)
    found = np.mean([list(one.values()), list(other.values())], axis=0)
    assert np.abs(found - list(one.values())).max() > 0.01, "they hardly differ"
    return found


def test_each_member_gets_its_own_region_in_predictions_and_in_the_export(
    pair, served, tmp_path, capsys
):
    some = [f"{served}/set/{name}/{number}.png" for name in LEVELS for number in range(5)]

    def predicted(name, *models):
        to = tmp_path / f"{name}.csv"
        assert verbs.main(["predict", *models, *some, "--to", str(to)]) == 0
        return answers(to)

    each = [predicted(f"{place}", path) for place, path in enumerate(pair)]
    both = predicted("both", *pair)
    np.testing.assert_allclose(list(both.values()), mean_of(*each), atol=1e-5)
    turned = predicted("turned", *reversed(pair))
    np.testing.assert_allclose(list(turned.values()), list(both.values()), atol=1e-6)
    assert "Ensemble, 12 common test images" in capsys.readouterr().out
    assert verbs.main(["export", *pair, "--to", str(tmp_path / "model")]) == 0
    exported = predicted("exported", str(tmp_path / "model"))
    np.testing.assert_allclose(list(exported.values()), list(both.values()), atol=1e-4)
    about = json.loads((tmp_path / "model/1/metadata.json").read_text())
    assert about["input_region"].count("; ") == 1
    assert [one["run"] for one in about["ensemble"]["members"]] == ["first", "lungs-only"]


def test_each_member_gets_its_own_region_on_another_set(pair, runs, tmp_path):
    source = bright_and_dark(tmp_path / "set", each=8, seed=6)
    options = ["--data.source", source, "--data.stores", str(tmp_path / "stores")]
    assert verbs.main(["evaluate", *pair, *options, "--to", str(tmp_path / "both")]) == 0
    [found] = (tmp_path / "both").glob("*/predictions.csv")
    to = tmp_path / "each.csv"
    each = []
    for path in pair:
        assert verbs.main(["predict", path, source, "--to", str(to)]) == 0
        each.append(answers(to))
    wanted = dict(zip(map(Path, each[0]), mean_of(*each), strict=True))
    both = answers(found)
    assert len(both) == 24
    expected = [wanted[Path(source, f"{name}.png")] for name in both]
    np.testing.assert_allclose(list(both.values()), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["robustness"], "must have the same region of interest. Got roi=none, lungs_only;"),
        (
            ["export", "--format", "web"],
            "on one browser page must have the same region of interest",
        ),
        (["export", "--format", "onnx"], "hold a classifier alone, without a model for the lungs"),
    ],
)
def test_what_takes_one_region_alone_is_one_line(pair, argv, words, tmp_path, capsys):
    command, *more = argv
    assert verbs.main([command, *pair, "--to", str(tmp_path / "to"), *more]) == 2
    assert words in capsys.readouterr().err.strip().splitlines()[-1]
