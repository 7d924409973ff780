"""The page's server: its own files alone, to this machine alone."""

import http.client
import threading

import pytest

from kerascxr.serving import web_server
from kerascxr.serving.export_web import write_listing
from kerascxr.serving.web_names import listed_files


@pytest.fixture
def place(tmp_path):
    folder = tmp_path / "web"
    (folder / "model").mkdir(parents=True)
    (folder / "ort").mkdir()
    for name in ("index.html", "sw.js", "model/model.json", "ort/a.wasm", "ort/a.mjs"):
        (folder / name).write_text(f"this is {name}")
    write_listing(folder)
    (folder / "secret.txt").write_text("not listed")
    (tmp_path / "outside.txt").write_text("outside")
    return folder


@pytest.fixture
def ask(place):
    with web_server.make_server(place, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()

        def get(path, host=None, method="GET", headers=None):
            connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
            named = host or f"127.0.0.1:{server.server_port}"
            connection.putrequest(method, path, skip_host=True)
            connection.putheader("Host", named)
            for name, value in (headers or {}).items():
                connection.putheader(name, value)
            connection.endheaders()
            answer = connection.getresponse()
            return answer, answer.read()

        assert server.server_address[0] == "127.0.0.1"
        yield get
        server.shutdown()


def test_the_page_is_served_with_its_types_and_headers(ask):
    for path, kind in (
        ("/", "text/html"),
        ("/sw.js?v=1", "text/javascript"),
        ("/ort/a.mjs", "text/javascript"),
        ("/ort/a.wasm", "application/wasm"),
        ("/model/model.json", "application/json"),
        ("/files.json", "application/json"),
    ):
        answer, body = ask(path)
        assert answer.status == 200 and body, path
        assert answer.headers["Content-Type"].startswith(kind)
        assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
        assert answer.headers["Cache-Control"] == "no-cache"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/secret.txt",
            "/../outside.txt",
            "/%2e%2e/outside.txt",
            "/model/",
            "/model",
            "/.kerascxr",
        ),
        *("//etc/passwd", "/model/../secret.txt", "/nope"),
    ],
)
def test_nothing_else_is_served(ask, path):
    answer, body = ask(path)
    assert answer.status == 404
    assert b"outside" not in body and b"not listed" not in body


def test_another_sites_name_for_this_address_reads_nothing(ask):
    for host in ("evil.example:80", "evil.example", "localhost.evil.example", "[::1]:80"):
        answer, body = ask("/", host=host)
        assert answer.status == 403 and b"this is" not in body


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "localhost:80"])
def test_this_machines_names_are_answered(ask, host):
    assert ask("/", host=host)[0].status == 200


def test_a_page_older_than_the_browsers_copy_is_sent(ask):
    newer = {"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}
    answer, body = ask("/model/model.json", headers=newer)
    assert answer.status == 200 and body == b"this is model/model.json"


def test_nothing_can_be_sent(ask):
    answer, _ = ask("/", method="POST")
    assert answer.status == 501


def test_a_busy_port_is_one_line_and_the_next_one_is_taken_by_itself(place, monkeypatch, messages):
    with web_server.make_server(place, 0) as first:
        taken = first.server_port
        with pytest.raises(ValueError, match=f"Got port={taken}"):
            web_server.make_server(place, taken)
        monkeypatch.setattr(web_server, "FIRST_PORT", taken)
        with web_server.make_server(place) as second:
            assert second.server_port != taken
    assert any(f"Port {taken} is in use" in line for line in messages())


@pytest.mark.parametrize("port", [-1, 70000])
def test_a_number_that_is_no_port_is_one_line(place, port):
    with pytest.raises(ValueError, match="--port must be"):
        web_server.make_server(place, port)


def test_a_page_that_is_not_whole_is_named(place):
    (place / "sw.js").unlink()
    with pytest.raises(ValueError, match=r"must hold sw\.js"):
        listed_files(place)
    (place / "files.json").write_text("{}")
    with pytest.raises(ValueError, match="is damaged"):
        listed_files(place)
