"""A small exported browser page of a tiny run, with its U-Net's lungs, as a pytest fixture.

Tests take it with ``pytest_plugins`` or by importing ``web_model``.
"""

from pathlib import Path

import pytest
from filelock import FileLock

from kerascxr.serving import web_names, web_runtime
from tests.support.ready_exports import optimize_onnx_in_place

STAND_IN = {"ort-wasm-simd-threaded.mjs": b"export {};\n", "ort-wasm-simd-threaded.wasm": b"\0asm"}
"""In the runtime's place: tests fetch nothing."""


def put_stand_ins(monkeypatch, folder):
    """Puts a page and a runtime of a few bytes in place of what is built and fetched."""
    page = folder / "page"
    page.mkdir(parents=True, exist_ok=True)
    (page / "index.html").write_text("<!doctype html><title>kerascxr</title>", encoding="utf-8")
    (page / "app.js").write_text("export {};\n", encoding="utf-8")
    paths = {name: folder / name for name in STAND_IN}
    for name, path in paths.items():
        path.write_bytes(STAND_IN[name])
    monkeypatch.setattr(web_names, "PAGE", page)
    return paths


def export_small_page(runs, to: Path, folder: Path) -> Path:
    """Exports the tiny classifier with the tiny U-Net, with ``STAND_IN`` for the runtime."""
    from kerascxr.evaluation import lung_masks
    from kerascxr.serving import export_web
    from kerascxr.serving.web_card import Findings

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(lung_masks, "MOST_IMPLAUSIBLE", 1.0)
        optimize_onnx_in_place(patched)
        paths = put_stand_ins(patched, folder)
        patched.setattr(export_web, "runtime_files", lambda tarball: paths)
        findings = Findings(["For research, not for diagnosis."], None, "Not audited.")
        return export_web.export_web([runs[0]], to, runs[1], findings)


@pytest.fixture(scope="session")
def web_model(shared_folder, runs):
    """The page's folder, read-only; the first worker makes it for all.

    Its ``ort/`` and its page are stand-ins; ``web_runtime.runtime_files`` has the real ones.
    """
    for name in ("tf2onnx", "onnx", "onnxruntime"):
        pytest.importorskip(name, reason=f"the browser's model needs the package {name}")
    assert web_runtime.FILES.keys() == STAND_IN.keys()
    place = shared_folder / "page"
    with FileLock(shared_folder / "page.lock"):
        if not (place / "web/files.json").exists():
            export_small_page(runs, place, shared_folder / "page-parts")
    return place / "web"
