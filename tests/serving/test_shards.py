"""Shards: together they are the call for all files, row by row and byte by byte."""

import csv
import functools
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from kerascxr import __main__ as verbs
from kerascxr.serving import predict, predict_masks, predictors
from kerascxr.serving.shards import WHOLE, Shard

pytestmark = pytest.mark.usefixtures("any_lung_masks")  # of U-Nets trained for a moment


@given(st.integers(0, 200), st.integers(1, 40), st.integers(1, 30))
def test_shards_are_the_list_in_whole_batches(files, batch, count):
    paths = [Path(f"{number}.png") for number in range(files)]
    parts = [Shard(number, count).part(paths, batch)[0] for number in range(1, count + 1)]
    assert [path for part in parts for path in part] == paths
    batches = [-(-len(part) // batch) for part in parts]
    assert max(batches) - min(batches) <= 1
    assert all(len(part) % batch == 0 for part in parts if part and part[-1] != paths[-1])


def test_a_name_that_no_table_can_hold_is_reported_once():
    paths = [Path("a.png"), Path("\udcff.png"), Path("b.png")]
    parts = [Shard(number, 2).part(paths, 1) for number in (1, 2)]
    assert [part for part, _ in parts] == [[Path("a.png")], [Path("b.png")]]
    assert [len(odd) for _, odd in parts] == [1, 0]


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "1/0", "1/3/5", "-1/3", "1 / 3", "a/b"])
def test_what_is_no_shard_is_refused(text, served, runs, tmp_path, capsys):
    argv = ["predict", str(runs[0]), f"{served}/set", "--to", str(tmp_path / "t.csv")]
    assert verbs.main([*argv, f"--shard={text}"]) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"--shard must be I/N with I from 1 to N, such as 2/10. Got shard={text!r}." in line


def test_names():
    assert Shard.parse("2/10").named(Path("a/t.csv")) == Path("a/t-00002-of-00010.csv")
    assert Shard.parse("1/1") == WHOLE and WHOLE.named(Path("a/t.csv")) == Path("a/t.csv")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_shards_of_a_classifier_are_the_table(
    suffix, sixty_images, runs, tmp_path, monkeypatch, messages
):
    monkeypatch.setattr(predict, "_BATCH", 16)  # 61 files: 4 batches, and one shard has none
    load_once = functools.cache(predictors.load_predictor)
    monkeypatch.setattr(predictors, "load_predictor", load_once)
    argv = ["predict", str(runs[0]), str(sixty_images), "--to"]
    assert verbs.main([*argv, str(tmp_path / f"whole{suffix}")]) == 1
    codes = []
    for number in range(1, 6):
        to = str(tmp_path / "out" / f"t{suffix}")
        codes.append(verbs.main([*argv, to, "--shard", f"{number}/5"]))
        assert messages()[-1] == f"Written: {to.replace(suffix, f'-0000{number}-of-00005{suffix}')}"
    assert codes == [0, 0, 0, 0, 1]
    parts = sorted((tmp_path / "out").glob(f"t-*-of-00005{suffix}"))
    assert len(parts) == 5
    whole = tmp_path / f"whole{suffix}"
    if suffix == ".csv":
        texts = [part.read_text().splitlines(keepends=True) for part in parts]
        assert [len(text) - 1 for text in texts] == [0, 16, 16, 16, 12]
        joined = [*texts[0][:1], *(line for text in texts for line in text[1:])]
        assert "".join(joined) == whole.read_text()
    else:
        joined = pyarrow.concat_tables(map(pyarrow.parquet.read_table, parts))
        assert joined.equals(pyarrow.parquet.read_table(whole))
    (rejected,) = (tmp_path / "out").glob("*.rejected.csv")
    named = "" if suffix == ".csv" else suffix
    assert rejected.name == f"t-00005-of-00005{named}.rejected.csv"
    assert rejected.read_text() == (tmp_path / f"whole{named}.rejected.csv").read_text()


def test_shards_of_a_unet_are_the_table_and_share_a_folder(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(predict_masks, "_BATCH", 2)
    images = tmp_path / "images"
    images.mkdir()
    for number in range(5):
        pixels = np.random.default_rng(number).integers(0, 256, (48, 40), dtype=np.uint8)
        Image.fromarray(pixels).save(images / f"{number}.png")
    (images / "5.png").touch()
    argv = ["predict", str(runs[1]), str(images), "--overlays", "false", "--to"]
    assert verbs.main([*argv, str(tmp_path / "whole")]) == 1
    codes = [verbs.main([*argv, f"{tmp_path}/out", "--shard", f"{n}/2"]) for n in (1, 2)]
    assert codes == [0, 1]
    rows = []
    for part in ("lungs-00001-of-00002.csv", "lungs-00002-of-00002.csv"):
        with (tmp_path / "out" / part).open(newline="") as file:
            rows.append(list(csv.DictReader(file)))
    assert [len(part) for part in rows] == [2, 3]
    with (tmp_path / "whole/lungs.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == [row for part in rows for row in part]
    for row in rows[0] + rows[1]:
        mask = (tmp_path / "out" / row["mask"]).read_bytes()
        assert mask == (tmp_path / "whole" / row["mask"]).read_bytes()
    assert (tmp_path / "out/rejected-00002-of-00002.csv").exists()
