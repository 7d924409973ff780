"""A leaky or marked run is looked into with a warning, and is never published."""

import shutil

import pytest
import yaml

import kerascxr
from kerascxr import __main__ as verbs
from kerascxr.runs.inflated_scores import why_inflated
from kerascxr.runs.reading import read_run
from kerascxr.serving.formats import FORMATS, Format

LEAKY, MARKED = "ignored groups in its split", "planted marker that reveals the class"


@pytest.fixture(scope="module")
def inflated(runs, tmp_path_factory):
    """The same runs as if trained for a measurement: (which run, why) to a folder."""
    made = {}
    for which, why in ((0, LEAKY), (0, MARKED), (1, LEAKY)):
        path = shutil.copytree(runs[which], tmp_path_factory.mktemp("runs") / "run")
        config = yaml.safe_load((path / "config.yaml").read_text())
        if why == LEAKY:
            config["split"]["groups"] = "ignored"
        else:
            config["control_marker"] = "corner_bar"
        (path / "config.yaml").write_text(yaml.safe_dump(config))
        made[which, why] = path
    return made


KINDS = pytest.mark.parametrize("kind", [(0, LEAKY), (0, MARKED), (1, LEAKY)])


def never(*given):
    raise AssertionError("nothing is converted")


@KINDS
@pytest.mark.parametrize("form", ["saved_model", "made-up"])
def test_it_is_not_exported(kind, form, inflated, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(FORMATS, "made-up", Format("a.file", (), never, never, tolerance=1e-6))
    to = tmp_path / "model"
    assert verbs.main(["export", str(inflated[kind]), "--to", str(to), "--format", form]) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert "whose test scores are fair" in line and str(inflated[kind]) in line and kind[1] in line
    assert not to.exists()


@pytest.mark.parametrize("kind", [(0, LEAKY), (0, MARKED)])
@pytest.mark.parametrize("command", ["predict", "export"])
def test_it_is_no_member_of_an_ensemble(kind, command, inflated, runs, tmp_path, capsys):
    images = ["x.png"] if command == "predict" else []
    argv = [command, str(runs[0]), str(inflated[kind]), *images, "--to", str(tmp_path / "to.csv")]
    assert verbs.main(argv) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert "whose test scores are fair" in line and str(inflated[kind]) in line and kind[1] in line


@KINDS
def test_it_is_read_with_one_warning(kind, inflated, served, tmp_path, messages):
    image, to = str(served / "set/dark/0.png"), tmp_path / ("masks" if kind[0] else "table.csv")
    assert verbs.main(["predict", str(inflated[kind]), image, "--to", str(to)]) == 0
    warned = [text for text in messages() if f"{inflated[kind]} say too much: it" in text]
    assert len(warned) == 1 and kind[1] in warned[0] and "\n" not in warned[0]
    messages.clear()
    kerascxr.load_run(inflated[kind]).predict([image])
    assert messages() == warned


def test_it_finds_lungs_with_a_warning(inflated, served, tmp_path, messages):
    unet, image = str(inflated[1, LEAKY]), str(served / "set/dark/0.png")
    assert verbs.main(["lungs", image, "--lungs", unet, "--to", str(tmp_path / "masks")]) == 0
    assert sum("say too much" in text for text in messages()) == 1


def test_other_runs_are_read_without(runs, messages):
    for path in runs:
        assert why_inflated(read_run(path)) is None
        kerascxr.load_run(path)
    assert not messages()
