"""Opening the images of a finished run: only the same images with the same split will do."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from kerascxr.config import DataConfig
from kerascxr.data.sources.class_folders import open_class_folders
from kerascxr.data.sources.layouts import LAYOUTS, Layout
from kerascxr.data.sources.open import USUAL_PLACE
from kerascxr.training.inputs import as_read, open_data, open_run_store


@pytest.mark.parametrize(
    ("variable", "folder", "source"),
    [
        ("phantom-marked", True, "phantom-marked"),
        ("", True, USUAL_PLACE.as_posix()),
        ("", False, "phantom"),
    ],
)
def test_the_source_of_auto_is_resolved(tmp_path, monkeypatch, variable, folder, source):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERASCXR_DATA", variable)
    if folder:
        USUAL_PLACE.mkdir(parents=True)
    assert as_read(DataConfig(), {}).source == source
    assert as_read(DataConfig(source="mine"), {}).source == "mine"


def test_a_run_is_not_tested_on_a_swapped_split(tmp_path):
    random = np.random.default_rng(0)
    for index in range(24):
        pixels = random.integers(0, 256, (20, 20)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")

    def write(splits):
        lines = [f"{n}.png,{'ab'[n // 2 % 2]},{splits[n % 2]}" for n in range(24)]
        (tmp_path / "list.csv").write_text("\n".join(["path,label,split", *lines]))

    data = DataConfig(source=str(tmp_path / "list.csv"), stores=tmp_path / "stores")
    write(("train", "test"))
    trained_on = open_data(data).fingerprint["digest"]
    run = SimpleNamespace(
        path=tmp_path / "run", config={}, metrics={"data": {"fingerprint": trained_on}}
    )
    assert open_run_store(run, data).fingerprint["digest"] == trained_on
    write(("test", "train"))
    with pytest.raises(ValueError, match="the images must be those"):
        open_run_store(run, data)


def test_a_run_of_a_layout_that_another_script_added_is_one_line(tmp_path, monkeypatch):
    folder = tmp_path / "flat"
    folder.mkdir()
    Image.new("L", (9, 9)).save(folder / "a__1__1.png")
    data = DataConfig(source=str(folder), stores=tmp_path / "stores")

    def of_layout(name):
        metrics = {"data": {"fingerprint": "", "layout": name}}
        return SimpleNamespace(path=tmp_path / "run", config={}, metrics=metrics)

    hint = r"layout 'labelled names', which a script added; start the command from that script"
    with pytest.raises(ValueError, match=f"must have one sub-folder.* {hint}"):
        open_run_store(of_layout("labelled names"), data)
    for name in ("folders", "labelled names"):  # the package's, or added here too
        monkeypatch.setitem(LAYOUTS, name, Layout(Path.is_dir, open_class_folders))
        with pytest.raises(ValueError, match="must have one sub-folder") as raised:
            open_run_store(of_layout(name), data)
        assert "script" not in str(raised.value)
