"""Downloads from a server on this machine: whole and with the right digest, or nothing."""

import functools
import hashlib
import http.server
import threading

import pytest

from kerascxr.models.backbones import PublishedWeights
from kerascxr.models.download import cached_path, fetch, is_cached, is_reachable

CONTENT = bytes(range(256)) * 2000


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("no_proxy", "*")
    return tmp_path / "keras" / "models"


@pytest.fixture
def server(tmp_path):
    """Gives the URL of an own server that has the file."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "backbone.pth").write_bytes(CONTENT)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

        def copyfile(self, source, outputfile):
            data = source.read()
            outputfile.write(data[: len(data) // 2] if "half" in self.path else data)

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def published(url, content=CONTENT, algorithm="sha256", length=10):
    return PublishedWeights(
        f"{url}/backbone.pth",
        algorithm,
        hashlib.new(algorithm, content).hexdigest()[:length],
        "test",
    )


@pytest.mark.parametrize(("algorithm", "length"), [("sha256", 10), ("md5", 32)])
def test_a_file_is_fetched_once(cache, server, algorithm, length):
    wanted = published(server, algorithm=algorithm, length=length)
    assert not is_cached(wanted)
    path = fetch(wanted)
    assert path == cached_path(wanted) == cache / "backbone.pth"
    assert path.read_bytes() == CONTENT and is_cached(wanted)
    elsewhere = PublishedWeights(
        "http://127.0.0.1:9/backbone.pth", algorithm, wanted.digest, "test"
    )
    assert fetch(elsewhere) == path


def test_another_file_is_refused_and_nothing_is_left(cache, server):
    wanted = published(server, b"other")
    with pytest.raises(ValueError, match=f"must have the sha256 digest {wanted.digest}. Got "):
        fetch(wanted)
    assert list(cache.iterdir()) == []


def test_half_a_file_is_refused_and_nothing_is_left(cache, server):
    wanted = published(server)
    half = PublishedWeights(f"{wanted.url}?half", wanted.algorithm, wanted.digest, "test")
    with pytest.raises((ValueError, ConnectionError)):
        fetch(half)
    assert list(cache.iterdir()) == []


def test_a_damaged_cache_is_replaced(cache, server):
    cache.mkdir(parents=True)
    (cache / "backbone.pth").write_bytes(CONTENT[:100])
    assert fetch(published(server)).read_bytes() == CONTENT


@pytest.mark.parametrize("name", ["missing.pth", ""])
def test_no_answer_is_one_line(cache, server, name):
    url = f"{server}/{name}" if name else "http://127.0.0.1:9/backbone.pth"
    with pytest.raises(ConnectionError, match=r"must be reachable.*use weights 'none'") as caught:
        fetch(PublishedWeights(url, "sha256", "00", "test"))
    assert "\n" not in str(caught.value)
    assert not is_reachable(url)
    assert is_reachable(f"{server}/backbone.pth")
