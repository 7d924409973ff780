"""Predictions by workers: the table of one process, and each takes up what the other left.

Ray itself is tested by ``tests/cluster/test_cluster.py``.
"""

import contextlib
import platform
from pathlib import Path

import pytest

from kerascxr import __main__ as verbs
from kerascxr.cluster import ray_cluster
from kerascxr.serving import predict, predict_masks, predict_on_cluster
from kerascxr.serving.predict_on_cluster import Chunk, cut, load_chosen
from kerascxr.serving.predicted_rows import PredictedRows, TableKind
from tests.support.ray_in_process import Died, instead_of_ray

pytestmark = pytest.mark.usefixtures("any_lung_masks")

TO_CLUSTER = ["--cluster", "local"]


@pytest.fixture
def ray(monkeypatch):
    monkeypatch.setattr(predict, "_BATCH", 16)
    monkeypatch.setattr(predict_masks, "_BATCH", 16)
    monkeypatch.setattr(predict_on_cluster, "_CHUNK", 16)
    monkeypatch.setattr(predict_on_cluster, "_LEAST", 1)
    return instead_of_ray(monkeypatch)


def end_at(monkeypatch, number, ending):
    """Ends the process that computes a batch, when it does so for the n-th time of all."""
    rows, begun = predict._rows, []

    def end_or_go_on(*given):
        begun.append(given)
        if len(begun) == number:
            raise ending
        return rows(*given)

    monkeypatch.setattr(predict, "_rows", end_or_go_on)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_is_that_of_one_process_whatever_ends(
    suffix, ray, sixty_images, runs, tmp_path, monkeypatch, messages
):
    argv = ["predict", str(runs[0]), str(sixty_images), "--to"]
    whole, to = tmp_path / f"whole{suffix}", tmp_path / f"to{suffix}"
    assert verbs.main([*argv, str(whole)]) == 1
    end_at(monkeypatch, 3, Died())
    messages.clear()
    assert verbs.main([*argv, str(to), *TO_CLUSTER]) == 1
    assert (ray.started, ray.alive) == (3, [])
    assert messages()[:1] == ["61 files to do in 4 chunks, 2 at once."]
    assert to.read_bytes() == whole.read_bytes()
    named = "" if suffix == ".csv" else suffix
    rejected = (tmp_path / f"{name}{named}.rejected.csv" for name in ("to", "whole"))
    assert len({path.read_bytes() for path in rejected}) == 1
    assert sum("In every prediction set" in line for line in messages()) == 1


@pytest.mark.parametrize("first", [[], TO_CLUSTER])
def test_with_and_without_a_cluster_each_goes_on_where_the_other_was_killed(
    first, ray, sixty_images, runs, tmp_path, monkeypatch, messages
):
    argv = ["predict", str(runs[0]), str(sixty_images), "--to"]
    second = [] if first else TO_CLUSTER
    with monkeypatch.context() as patched:
        end_at(patched, 3, KeyboardInterrupt())
        assert verbs.main([*argv, f"{tmp_path}/to.csv", *first]) == 130
    assert ray.alive == [] and not (tmp_path / "to.csv").exists()
    messages.clear()
    assert verbs.main([*argv, f"{tmp_path}/to.csv", *second]) == 1
    assert "Resuming after 32 of 61 files." in messages()
    assert verbs.main([*argv, f"{tmp_path}/whole.csv"]) == 1
    assert (tmp_path / "to.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_a_unets_masks_are_those_of_one_process(ray, sixty_images, runs, tmp_path):
    argv = ["lungs", str(sixty_images), "--lungs", str(runs[1]), "--to"]
    assert verbs.main([*argv, f"{tmp_path}/whole"]) == 1
    assert verbs.main([*argv, f"{tmp_path}/to", *TO_CLUSTER, "--shard", "1/1"]) == 1
    files = sorted(path.relative_to(tmp_path / "whole") for path in tmp_path.glob("whole/*/*"))
    assert len(files) == 2 * 60, "masks and overlays"
    for path in (Path("lungs.csv"), Path("rejected.csv"), *files):
        assert (tmp_path / "to" / path).read_bytes() == (tmp_path / "whole" / path).read_bytes()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--overlays", "true"], "must be a folder for a classifier"),
        (["--resources.cpus", "400"], "resources must fit on one machine of the cluster"),
    ],
)
def test_wrong_input_is_one_line(more, words, ray, sixty_images, runs, tmp_path, capsys):
    argv = ["predict", str(runs[0]), str(sixty_images), "--to", f"{tmp_path}/t.csv", *TO_CLUSTER]
    assert verbs.main([*argv, *more]) == 2
    assert words in capsys.readouterr().err
    assert not list(tmp_path.glob("*.csv")) and ray.started == 0


@pytest.mark.parametrize("command", ["predict", "lungs"])
def test_a_machine_without_the_folder_of_overlays_is_refused(
    command, ray, sixty_images, runs, tmp_path, monkeypatch, capsys
):
    @contextlib.contextmanager
    def unseen(folder):
        """What other machines have of a folder that is not shared."""
        folder.mkdir(parents=True, exist_ok=True)
        yield folder / ("passed" if folder.name == "overlays" else "..")

    monkeypatch.setattr(ray_cluster, "passing_file", unseen)
    model = [str(runs[0])] if command == "predict" else []
    to = tmp_path / ("table.csv" if command == "predict" else "masks")
    argv = [command, *model, str(sixty_images), "--to", str(to), *TO_CLUSTER]
    assert verbs.main([*argv, "--overlays", f"{tmp_path}/overlays"]) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"must share the folders that are written to. Got {platform.node()}, where " in line
    assert f"{tmp_path}/overlays is missing or another folder" in line
    assert not list((tmp_path / "overlays").iterdir()) and not to.is_file()


class Echo:
    """Stands for a model."""

    def load(self):
        kind = TableKind("id", ("path", "error"), (), 2)
        return PredictedRows(kind, lambda files: ([[str(path), ""]] for path in files))


def test_a_machine_without_the_images_is_refused(tmp_path):
    (tmp_path / "a.png").touch()
    _, compute = load_chosen(Echo())
    files = (tmp_path / "a.png", tmp_path / "gone.png")
    for there in (files[0], None):
        assert compute(Chunk(files, there)) == [[str(path), ""] for path in files]
    with pytest.raises(ValueError, match=r"must share the images\. Got .* without .*gone\.png"):
        compute(Chunk(files, files[1]))


def test_chunks_are_whole_batches_and_as_many_as_there_are_workers():
    files = [Path(f"{number}.png") for number in range(2100)]
    sizes = {
        (count, workers): [len(chunk) for chunk in cut(files[:count], workers, 32)]
        for count, workers in ((0, 2), (10, 2), (100, 2), (2100, 2), (2100, 8))
    }
    assert sizes == {
        (0, 2): [],
        (10, 2): [10],
        (100, 2): [64, 36],
        (2100, 2): [512, 512, 512, 512, 52],
        (2100, 8): [288] * 7 + [84],
    }
    assert [path for chunk in cut(files, 4, 32) for path in chunk] == files
