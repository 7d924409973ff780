"""Fetching onnxruntime-web: checked, cached, and one line without a network."""

import functools
import hashlib
import http.server
import io
import tarfile
import threading

import pytest

from kerascxr.serving import web_runtime

CONTENT = {name: name.encode() * 100 for name in web_runtime.FILES}


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A tarball in the place of npm's, at an address of this machine, and an empty cache."""
    folder = tmp_path / "registry"
    folder.mkdir()
    tarball = folder / "runtime.tgz"
    with tarfile.open(tarball, "w:gz") as archive:
        for name, data in CONTENT.items():
            info = tarfile.TarInfo(f"package/dist/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in CONTENT.items()}
    monkeypatch.setattr(web_runtime, "FILES", digests)
    monkeypatch.setattr(web_runtime, "SHA512", hashlib.sha512(tarball.read_bytes()).hexdigest())
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/runtime.tgz"
        monkeypatch.setattr(web_runtime, "URL", address)
        yield tarball
        server.shutdown()


def content_of(paths):
    return {name: path.read_bytes() for name, path in paths.items()}


def test_it_is_fetched_once_and_then_needs_no_network(published, monkeypatch):
    paths = web_runtime.runtime_files()
    assert content_of(paths) == CONTENT
    assert {path.name for path in next(iter(paths.values())).parent.iterdir()} == set(CONTENT)
    monkeypatch.setattr(web_runtime, "URL", "http://127.0.0.1:9/gone.tgz")
    assert web_runtime.runtime_files() == paths


def test_a_damaged_cached_file_is_fetched_again(published):
    path = next(iter(web_runtime.runtime_files().values()))
    path.write_bytes(b"damaged")
    assert content_of(web_runtime.runtime_files()) == CONTENT


def test_another_tarball_is_refused_and_nothing_is_kept(published):
    published.write_bytes(published.read_bytes() + b"x")
    with pytest.raises(ValueError, match="must have the sha512 digest"):
        web_runtime.runtime_files()
    with pytest.raises(ValueError, match=r"must be onnxruntime-web-.*\.tgz as npm has it"):
        web_runtime.runtime_files(published)
    assert not list(web_runtime.cache_folder().rglob("*.wasm"))


def test_without_a_network_one_line_says_what_to_do(published, monkeypatch):
    monkeypatch.setattr(web_runtime, "URL", "http://127.0.0.1:9/runtime.tgz")
    with pytest.raises(ConnectionError, match=r"npm pack .*--onnxruntime FILE") as caught:
        web_runtime.runtime_files()
    assert "\n" not in str(caught.value)
    assert content_of(web_runtime.runtime_files(published)) == CONTENT


def test_a_file_that_is_not_there_is_named(published, tmp_path):
    with pytest.raises(ValueError, match=r"nope\.tgz must be"):
        web_runtime.runtime_files(tmp_path / "nope.tgz")
