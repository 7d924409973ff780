"""The committed browser page is what its sources build."""

import shutil
import subprocess

import pytest

from tests.support.web_page import BUILT, WEB


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_committed_build_is_the_one_of_the_sources(tmp_path):
    node = shutil.which("node")
    if not node:
        pytest.skip("node is missing: install Node 20 or later")
    if not (WEB / "node_modules/esbuild").exists():
        pytest.skip("the front end's packages are missing: run npm ci in web/")
    command = [node, str(WEB / "build.mjs"), "--to", str(tmp_path / "page")]
    subprocess.run(command, check=True, timeout=120)
    built, committed = files(tmp_path / "page"), files(BUILT)
    assert sorted(built) == sorted(committed)
    changed = [name for name in built if built[name] != committed[name]]
    assert not changed, f"run npm run build in web/ and commit {', '.join(changed)}"


def test_the_page_holds_no_markup_sink_and_no_address():
    for name in ("app.js", "index.html", "sw.js"):
        text = (BUILT / name).read_text(encoding="utf-8")
        for sink in ("innerHTML", "insertAdjacentHTML", "eval(", "document.write", "https://"):
            assert sink not in text, (name, sink)
