"""Remote sources give what local ones give; changes are noticed, failures end in one line."""

import os
import sys
import time
import uuid
from dataclasses import replace

import fsspec
import numpy as np
import pytest
from openpyxl import Workbook
from PIL import Image

from kerascxr.cli import main as verbs
from kerascxr.data import remote
from kerascxr.data.ingest import reading
from kerascxr.data.ingest.store import open_store, signature_of
from kerascxr.data.remote import RemoteError, RemotePath
from kerascxr.data.sources.open import open_source
from tests.data.test_dicom import write as write_dicom
from tests.support.memory_files import memory_files
from tests.support.web_folder import served_folder


@pytest.fixture
def folder(tmp_path):
    """Two classes of the radiography database: PNG, one DICOM, masks, metadata, a broken file."""
    for label in ("COVID", "Viral Pneumonia"):
        for index in range(12):
            for level in ("images", "masks"):
                path = tmp_path / "set" / label / level / f"{label}-{index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                seed = index + 50 * (label != "COVID")
                pixels = np.random.default_rng(seed).integers(0, 256, (24, 20)).astype(np.uint8)
                mask = np.where(pixels > 128, 255, 0).astype(np.uint8)
                Image.fromarray(pixels if level == "images" else mask).save(path)
    images = tmp_path / "set" / "COVID" / "images"
    write_dicom(images / "scan.dcm", PatientID="7", PixelSpacing=[0.2, 0.3])
    (images / "broken.png").write_bytes(b"<html>")
    book = Workbook()
    for row in (("FILE NAME", "URL"), ("COVID-1", "https://a.example/case"), ("COVID-2", "")):
        book.active.append(row)
    book.save(tmp_path / "set" / "COVID.metadata.xlsx")
    return tmp_path / "set"


@pytest.fixture
def server():
    with memory_files() as files:
        yield files


@pytest.fixture
def url(folder, server):
    """The folder's URL in memory, a new one for each test."""
    base = f"/bucket-{uuid.uuid4().hex}/set"
    for path in folder.rglob("*.*"):
        server.pipe(f"{base}/{path.relative_to(folder).as_posix()}", path.read_bytes())
    return f"memory:/{base}"


def opened(place):
    return open_source(str(place), phantom_images=8, phantom_seed=0)


def test_a_remote_folder_gives_the_store_of_a_local_one_and_fetches_each_file_once(
    folder, url, server, tmp_path, monkeypatch
):
    local = open_store(opened(folder), tmp_path / "local")
    source = opened(url)
    fetched, fetch = [], type(server).cat_file

    def counting(self, path, *arguments, **options):
        fetched.append(path)
        return fetch(self, path, *arguments, **options)

    monkeypatch.setattr(type(server), "cat_file", counting)
    store = open_store(source, tmp_path / "remote")
    assert sorted(fetched) == sorted(set(fetched))
    assert len(fetched) == 2 * 24 + 2
    assert (source.name, source.layout) == ("set", "radiography")
    assert store.fingerprint == local.fingerprint
    assert store.fingerprint["rejected"] == 1
    assert store.fingerprint["classes"]["COVID"]["origins"] == 1
    places = {row["id"]: row.pop("path") for row in store.rows}
    assert places["COVID/scan"] == f"{url}/COVID/images/scan.dcm"
    assert [row for row in local.rows if row.pop("path")] == store.rows
    assert store.properties == local.properties
    assert "broken.png" in (store.path / "rejected.csv").read_text()

    del fetched[:]
    assert open_store(opened(url), tmp_path / "remote") == store
    assert not [name for name in fetched if not name.endswith(".xlsx")]


def test_a_stores_empty_objects_for_folders_are_no_files(url, server, monkeypatch):
    plain = opened(url)
    find, top = type(server).find, url.removeprefix("memory:/")

    def with_folders(self, path, **options):
        folders = {
            f"{top}/{name}/": {"name": f"{top}/{name}/", "size": 0, "type": "file"}
            for name in ("COVID", "Viral Pneumonia", "Viral Pneumonia/images")
        }
        return folders | find(self, path, **options)

    monkeypatch.setattr(type(server), "find", with_folders)
    found = opened(url)
    assert (found.classes, found.examples) == (plain.classes, plain.examples)
    assert signature_of(found) == signature_of(plain)
    assert [path.name for path in found.root.iterdir()].count("COVID") == 1


def test_a_changed_a_new_and_a_removed_remote_file_are_noticed(url, server):
    before = signature_of(opened(url))
    assert signature_of(opened(url)) == before
    base = url.removeprefix("memory:/")
    content = server.cat_file(f"{base}/COVID/images/COVID-3.png")
    time.sleep(0.001)  # another time, the same size
    server.pipe(f"{base}/COVID/images/COVID-3.png", content[:-1] + b"x")
    server.pipe(f"{base}/COVID/images/new.png", content)
    server.rm(f"{base}/COVID/images/COVID-4.png")
    after = signature_of(opened(url))
    assert {name for name in before if before[name] != after.get(name)} == {
        "COVID/images/COVID-3.png",
        "COVID/images/COVID-4.png",
        "COVID/masks/COVID-4.png",  # a mask without an image
    }
    assert after.keys() - before.keys() == {"COVID/images/new.png"}


def test_lists_are_remote_or_name_remote_files(url, server, tmp_path, monkeypatch):
    base = url.removeprefix("memory:/")
    lines = ["path,label,mask"]
    for label in ("COVID", "Viral Pneumonia"):
        images, masks = (f"../{label}/{level}/{label}-1.png" for level in ("images", "masks"))
        lines.append(f"{images},{label},{masks}")
    server.pipe(f"{base}/lists/list.csv", "\n".join(lines).encode())
    there = opened(f"{url}/lists/list.csv")
    assert [str(example.image) for example in there.examples] == [
        f"{url}/{label}/images/{label}-1.png" for label in ("COVID", "Viral Pneumonia")
    ]
    here = tmp_path / "list.csv"
    here.write_text("\n".join(lines).replace("../", f"{url}/"))
    source = opened(here)
    assert [example.id for example in source.examples] == [
        f"{url.removeprefix('memory://')}/{label}/{label}-1"
        for label in ("COVID", "Viral Pneumonia")
    ]
    for example in (*source.examples, *there.examples):
        assert reading.read_example(example).checked.mask_state == "ok"
    monkeypatch.setattr(reading, "in_processes", None)  # they could not know the server's files
    monkeypatch.setattr(reading, "FILES_FOR_PROCESSES", 1)
    local = tmp_path / "local.png"
    Image.new("L", (20, 24), 99).save(local)
    [read] = reading.read_all([replace(source.examples[0], image=local)])
    assert read.checked.mask_state == "ok"
    before = signature_of(source)
    assert all(size > 0 for size, *_ in before.values())
    server.pipe(f"{base}/COVID/images/COVID-1.png", b"other")
    after = signature_of(opened(here))
    [changed] = [name for name in before if before[name] != after[name]]
    assert changed.endswith("set/COVID/images/COVID-1.png")
    here.write_text(f"path,label\n{url}/COVID/images/COVID-1.png,a\n{url}/absent.png,b\n")
    with pytest.raises(ValueError, match=r"line 3: there is no file '.*/absent\.png'"):
        opened(here)


def test_a_server_that_fails_ends_the_ingest_in_a_line_and_leaves_nothing(
    url, server, tmp_path, monkeypatch
):
    source, fetch = opened(url), type(server).cat_file

    def failing(self, path, *arguments, **options):
        if path.endswith("COVID-7.png"):
            raise TimeoutError("no answer\nfor 30 s")
        return fetch(self, path, *arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(type(server), "cat_file", failing)
        with pytest.raises(RemoteError, match=r"^\S+/COVID-7.png must be readable. Got [^\n]+$"):
            open_store(source, tmp_path)
    assert not [path for path in tmp_path.glob("*set*") if path.is_dir() and path.name != "set"]
    server.rm(url.removeprefix("memory:/") + "/COVID/images/COVID-7.png")
    [example] = [example for example in source.examples if example.id == "COVID/COVID-7"]
    assert reading.read_example(example).reason == "does not exist"  # removed since it was listed


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("memory://nothing/here", "the data source must exist. Got source='memory://nothing/here'"),
        ("memory://nothing/list.csv", "the data source must exist"),
        ("what://bucket/set", "the protocol of a URL must be one that fsspec knows"),
        ("http://127.0.0.1:9/set", "http://127.0.0.1:9/set"),
    ],
)
def test_a_url_that_cannot_be_opened_is_one_line(place, words, capsys):
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        opened(place)
    assert verbs.main(["data", place]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert words in line


def test_a_missing_package_is_named(monkeypatch):
    def absent(protocol):
        raise ImportError("Install x to access y")

    monkeypatch.setattr(fsspec, "filesystem", absent)
    for place, package in (("s3://b/c", "s3fs"), ("gs://b/c", "gcsfs"), ("https://b/c", "aiohttp")):
        with pytest.raises(RemoteError, match=f"pip install {package}"):
            opened(place)
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(RemoteError, match=r"pip install 'kerascxr\[remote\]'"):
        opened("s3://b/c")


def test_local_sources_do_without_fsspec(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec", None)
    assert len(opened(folder).examples) == 26


def test_paths_keep_their_url():
    path = RemotePath("s3://bucket/a/b.png")
    assert str(path) == "s3://bucket/a/b.png" == os.fspath(path)
    assert (path.name, path.suffix, str(path.parent)) == ("b.png", ".png", "s3://bucket/a")
    assert str(path.with_suffix(".csv")) == "s3://bucket/a/b.csv"
    assert isinstance(path.parent / "c", RemotePath) and path.resolve() == path
    assert {path: 1}[RemotePath("s3://bucket/a") / "b.png"] == 1
    assert str(remote.join(path.parent, "../c.png")) == "s3://bucket/c.png"
    assert not path.exists() and not path.is_file() and not path.is_dir()
    assert [remote.is_url(text) for text in ("C://x", "file:///x", "data", "gs://b")] == [
        *(False, False, False, True)
    ]


def test_a_web_servers_folders_are_read_and_a_changed_file_is_noticed(folder):
    pytest.importorskip("aiohttp", reason="pip install aiohttp to run this")

    with served_folder(folder.parent) as top:
        url = f"{top}/set"
        source = opened(url)
        assert source.classes == ("COVID", "Viral Pneumonia")
        assert [example.id for example in source.examples] == [
            example.id for example in opened(folder).examples
        ]
        last = reading.read_example(source.examples[-1])
        local = reading.read_example(opened(folder).examples[-1])
        assert last.image == local.image
        assert last.checked.path == f"{url}/Viral Pneumonia/images/Viral Pneumonia-11.png"
        assert last.properties == local.properties
        before = signature_of(source)
        os.utime(folder / "COVID" / "images" / "COVID-3.png", (1, 1))
        after = signature_of(opened(url))
        assert {name for name in before if before[name] != after[name]} == {
            "COVID/images/COVID-3.png"
        }
