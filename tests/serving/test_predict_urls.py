"""Files on servers are predicted as local ones; what a server does not send ends in one line."""

import csv
import time
import uuid

import pytest

from kerascxr import __main__ as verbs
from kerascxr.data import remote
from kerascxr.serving import predict, predict_masks, predict_on_cluster
from kerascxr.serving.files import find_files
from tests.serving.test_dicom_seg import xray
from tests.support.memory_files import memory_files
from tests.support.ray_in_process import instead_of_ray
from tests.support.web_folder import served_folder

pytestmark = pytest.mark.usefixtures("any_lung_masks")


@pytest.fixture
def server():
    with memory_files() as files:
        yield files


@pytest.fixture
def url(server, sixty_images):
    """The URL of sixty images, of one that cannot be read, and of a DICOM file."""
    xray(sixty_images / "f.dcm", PixelSpacing=[0.2, 0.3])
    base = f"/bucket-{uuid.uuid4().hex}/images"
    for path in sixty_images.iterdir():
        server.pipe(f"{base}/{path.name}", path.read_bytes())
    return f"memory:/{base}"


def rows(table, folder):
    """A table's rows, with the paths from a folder."""
    with table.open(newline="") as file:
        found = list(csv.DictReader(file))
    for row in found:
        assert row["path"].startswith(f"{folder}/")
        row["path"] = row["path"].removeprefix(f"{folder}/")
    return found


def without_names(row):
    """A row of masks without the files' names, which have a digest of the path."""
    return {key: value for key, value in row.items() if key not in ("mask", "dicom_seg")}


@pytest.mark.parametrize("more", [[], ["--cluster", "local"]])
def test_a_folder_on_a_server_has_the_table_of_a_local_one(
    more, url, sixty_images, runs, tmp_path, monkeypatch
):
    monkeypatch.setattr(predict_on_cluster, "_CHUNK", 32)
    monkeypatch.setattr(predict_on_cluster, "_LEAST", 1)
    instead_of_ray(monkeypatch)
    argv = ["predict", str(runs[0]), "--to"]
    assert verbs.main([*argv, f"{tmp_path}/here.csv", str(sixty_images)]) == 1
    assert verbs.main([*argv, f"{tmp_path}/there.csv", url, *more]) == 1
    here, there = (rows(tmp_path / "here.csv", sixty_images), rows(tmp_path / "there.csv", url))
    assert len(here) == 61 and here == there
    with (tmp_path / "there.rejected.csv").open(newline="") as file:
        assert [row["path"] for row in csv.DictReader(file)] == [f"{url}/e.png"]


def test_lung_masks_of_a_server_are_those_of_local_files(
    url, server, sixty_images, runs, tmp_path, monkeypatch
):
    fetched, fetch = [], type(server).cat_file

    def counting(self, path, *arguments, **options):
        fetched.append(path)
        return fetch(self, path, *arguments, **options)

    monkeypatch.setattr(type(server), "cat_file", counting)
    argv = ["lungs", "--lungs", str(runs[1]), "--to"]
    assert verbs.main([*argv, f"{tmp_path}/here", str(sixty_images)]) == 1
    assert verbs.main([*argv, f"{tmp_path}/there", url]) == 1
    assert len(fetched) == 62 + 1, "the DICOM file again, for its DICOM SEG"
    here = rows(tmp_path / "here/lungs.csv", sixty_images)
    there = rows(tmp_path / "there/lungs.csv", url)
    assert [without_names(row) for row in here] == [without_names(row) for row in there]
    assert there[-1]["row_mm"] == "0.2" and there[-1]["dicom_seg"]
    for one, other in zip(here, there, strict=True):
        mask = (tmp_path / "here" / one["mask"]).read_bytes()
        assert (tmp_path / "there" / other["mask"]).read_bytes() == mask


@pytest.mark.parametrize("command", ["predict", "lungs"])
def test_a_server_that_fails_is_one_line_and_the_same_call_goes_on(
    command, url, server, runs, tmp_path, monkeypatch, capsys, messages
):
    monkeypatch.setattr(predict, "_BATCH", 16)
    monkeypatch.setattr(predict_masks, "_BATCH", 16)
    fetch, base = type(server).cat_file, url.removeprefix("memory:/")
    last = find_files([url])[-3]

    def saved():
        texts = [path.read_text() for path in tmp_path.rglob(".partial-*.csv.csv")]
        return sum(len(text.splitlines()) - 2 for text in texts)

    def failing(self, path, *arguments, **options):
        if path.endswith(last.name):
            until = time.monotonic() + 60
            while saved() < 32 and time.monotonic() < until:  # of the batches before
                time.sleep(0.01)
            raise TimeoutError("no answer\nfor 30 s")
        return fetch(self, path, *arguments, **options)

    to = f"{tmp_path}/to.csv" if command == "predict" else f"{tmp_path}/to"
    argv = [command, *([str(runs[0])] if command == "predict" else ["--lungs", str(runs[1])])]
    with monkeypatch.context() as patched:
        patched.setattr(type(server), "cat_file", failing)
        assert verbs.main([*argv, url, "--to", to]) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"error: {last} must be readable. Got TimeoutError: no answer for 30 s" in line
    assert not (tmp_path / "to.csv").exists() and not (tmp_path / "to/lungs.csv").exists()
    kept = saved()
    first = find_files([url])[0].name
    time.sleep(0.001)  # another time, the same size
    content = server.cat_file(f"{base}/{first}")
    server.pipe(f"{base}/{first}", content)
    messages.clear()
    assert verbs.main([*argv, url, "--to", to]) == 1
    [resumed] = [text for text in messages() if text.startswith("Resuming after")]
    assert int(resumed.split()[2]) == kept - 16 > 0, "the changed file's batch is computed again"


def test_workers_of_a_cluster_ask_a_web_server_for_the_names_that_it_gave(
    sixty_images, runs, tmp_path, monkeypatch
):
    pytest.importorskip("aiohttp", reason="pip install aiohttp to run this")
    names = ("a b.png", "c%20d.png", "x#y.png")
    for name, image in zip(names, sorted(sixty_images.iterdir()), strict=False):
        (tmp_path / "web" / name).parent.mkdir(exist_ok=True)
        image.rename(tmp_path / "web" / name)
    load = predict_on_cluster.load_chosen

    def elsewhere(chosen):
        kind, compute = load(chosen)

        def without_lists(chunk):
            remote._entries.clear()
            return compute(chunk)

        return kind, without_lists

    monkeypatch.setattr(predict_on_cluster, "load_chosen", elsewhere)
    instead_of_ray(monkeypatch)
    with served_folder(tmp_path / "web") as url:
        argv = ["predict", str(runs[0]), url, "--to", f"{tmp_path}/t.csv", "--cluster", "local"]
        assert verbs.main(argv) == 0
        assert [row["path"] for row in rows(tmp_path / "t.csv", url)] == list(names)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("memory://nothing/here", "each path must name images. Got 'memory://nothing/here'"),
        ("memory://nothing/a.png", "each path must name images. Got 'memory://nothing/a.png'"),
        ("what://bucket/a.png", "the protocol of a URL must be one that fsspec knows"),
        ("http://127.0.0.1:9/a.png", "http://127.0.0.1:9/a.png"),
    ],
)
def test_a_url_where_nothing_is_is_one_line(given, words, runs, tmp_path, capsys):
    argv = ["predict", str(runs[0]), given, "--to", str(tmp_path / "t.csv")]
    assert verbs.main(argv) == 2
    assert words in capsys.readouterr().err.strip().splitlines()[-1]


def test_one_file_of_a_server_may_have_a_query(url, monkeypatch):
    [path] = find_files([f"{url}/f.dcm"])
    assert str(path) == f"{url}/f.dcm"
    asked = []
    monkeypatch.setattr("kerascxr.serving.files.look_up_files", lambda paths, **o: asked.append(1))
    with pytest.raises(ValueError, match="each path must name images"):
        find_files([f"{url}/f.dcm?signature=abc"])
    assert asked, "it was taken for a folder"
