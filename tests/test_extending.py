"""Each recipe of docs/extending.md works as it stands: its code block is run, then a command."""

import json
import re
import runpy
import shutil
from pathlib import Path

import pytest

from kerascxr.__main__ import main
from kerascxr.data.corruptions import CORRUPTIONS
from kerascxr.data.roi import ROIS
from kerascxr.data.sources.layouts import LAYOUTS
from kerascxr.evaluation import uncertainty
from kerascxr.evaluation.metrics import METRICS
from kerascxr.models import lung_model
from kerascxr.models.backbones import BACKBONES
from kerascxr.serving.formats import FORMATS
from tests.support.lung_models import write_tiny_lung_model
from tests.support.small_runs import arguments, bright_and_dark

PAGE = Path(__file__).parent.parent / "docs/extending.md"
REGISTRIES = (ROIS, BACKBONES, LAYOUTS, METRICS, CORRUPTIONS, FORMATS)


def code(title):
    """The code block of a recipe."""
    _, _, section = PAGE.read_text(encoding="utf-8").partition(f"\n## {title}\n")
    block = re.search(r"```python\n(.*?)```", section.partition("\n## ")[0], re.DOTALL)
    assert block, f"{PAGE} has no code under {title!r}"
    return block.group(1)


@pytest.fixture
def add(tmp_path):
    """Runs a recipe's code block as a script of its own; the registries are restored afterwards."""
    before = [dict(registry) for registry in REGISTRIES]

    def run(title):
        script = tmp_path / "entry.py"
        script.write_text(code(title), encoding="utf-8")
        return runpy.run_path(str(script))

    yield run
    for registry, entries in zip(REGISTRIES, before, strict=True):
        registry.clear()
        registry.update(entries)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A source of three classes that differ by brightness."""
    return bright_and_dark(tmp_path_factory.mktemp("images") / "set", each=20)


def train(folder, source, *more):
    argv = arguments(folder, "--data.source", source, "--epochs", "1", "--depth", "0")
    assert main(["train-cls", *argv, "--name", "run", *more]) == 0
    return folder / "runs/classification/run"


@pytest.fixture(scope="module")
def trained(images, tmp_path_factory):
    """A run without any addition; tests copy it."""
    return train(tmp_path_factory.mktemp("trained"), images)


@pytest.fixture
def run(trained, tmp_path):
    return Path(shutil.copytree(trained, tmp_path / "run"))


def test_an_input_ablation(add, images, run, tmp_path, monkeypatch, any_lung_masks):
    add("An input ablation")
    write_tiny_lung_model(tmp_path / "lungs", (32, 32))
    monkeypatch.setattr(lung_model, "FOLDER", tmp_path / "lungs")
    for name in set(ROIS) - {"none", "upper_half"}:
        monkeypatch.delitem(ROIS, name)
    assert main(["audit", str(run), "--epochs", "1"]) == 0
    assert "upper half only" in (run / "audit/audit.md").read_text(encoding="utf-8")
    config = (run / "audit/upper_half/config.yaml").read_text(encoding="utf-8")
    assert "roi: upper_half" in config  # an ordinary run with that option


def test_a_backbone(add, images, tmp_path):
    add("A backbone")
    run = train(tmp_path, images, "--backbone", "small", "--depth", "2")
    assert json.loads((run / "metrics.json").read_text(encoding="utf-8"))["backbone"] == "small"


def test_a_corruption(add, run, monkeypatch):
    for name in set(CORRUPTIONS) - {"noise"}:
        monkeypatch.delitem(CORRUPTIONS, name)
    add("A corruption")
    assert main(["robustness", str(run)]) == 0
    result = json.loads((run / "robustness/robustness.json").read_text(encoding="utf-8"))
    assert set(result["strengths"]) == {"noise", "vignette"}
    text = (run / "robustness/robustness.md").read_text(encoding="utf-8")
    assert "vignette" in text and "share of the brightness lost in the corners" in text


def test_an_export_format(add, run, tmp_path):
    add("An export format")
    assert main(["export", str(run), "--to", str(tmp_path / "out"), "--format", "graph"]) == 0
    formats = json.loads((tmp_path / "out/formats/formats.json").read_text(encoding="utf-8"))
    assert [row["name"] for row in formats] == ["keras", "graph"]
    assert formats[1]["difference"] < 1e-4
    assert "graph" in (tmp_path / "out/formats/formats.md").read_text(encoding="utf-8")


def test_a_source_layout(add, images, tmp_path, capsys):
    add("A source layout")
    folder = tmp_path / "flat"
    folder.mkdir()
    for path in Path(images).glob("*/*.png"):
        shutil.copy(path, folder / f"{path.parent.name}__{path.stem}__1.png")
    options = ["data", "--source", str(folder), "--stores", str(tmp_path / "stores")]
    assert main(options) == 0
    for index in range(10):
        (folder / f"dark__{index}__1.png").rename(folder / f"dark__{index + 10}__2.png")
    capsys.readouterr()
    assert main(options) == 0  # ten patients of two images: too few groups for 20 folds
    last = capsys.readouterr().out.splitlines()[-1]
    assert "not for a training" in last and "'dark' with 20 images in 10 groups" in last


def test_a_metric(add, images, tmp_path, capsys, monkeypatch):
    # A metric that is added is computed for each resample; 200 take a tenth of the time.
    resample = uncertainty.resample
    monkeypatch.setattr(
        uncertainty, "resample", lambda groups, strata, n, seed: resample(groups, strata, 200, seed)
    )
    add("A metric")
    run = train(tmp_path, images, "--epochs", "4")
    test = json.loads((run / "metrics.json").read_text(encoding="utf-8"))["test"]
    assert 0 < test["kappa"] <= 1
    low, high = test["intervals"]["kappa"]
    assert 0 < low < high <= 1
    text = (run / "metrics.md").read_text(encoding="utf-8")
    assert re.search(r"\| Cohen's kappa +\| [01]\.\d{4} \[", text)
    shutil.copytree(run, tmp_path / "other")
    capsys.readouterr()
    assert main(["compare", str(run), str(tmp_path / "other")]) == 0
    assert re.search(r"\n\S+.* +Cohen's kappa +\+0\.0000 \[", capsys.readouterr().out)
