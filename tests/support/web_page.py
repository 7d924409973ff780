"""The browser page with a stand-in model, served on loopback and opened in headless Chromium."""

import hashlib
import json
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from kerascxr.evaluation.lung_masks import checks_without_components

ROOT = Path(__file__).parents[2]
WEB = ROOT / "web"
BUILT = ROOT / "kerascxr/serving/web_page"
CLASSES = ["COVID", "Lung_Opacity", "Normal", "Viral Pneumonia"]
WEIGHTS = np.array([9, -4, -2, -3], np.float32)
BIASES = np.array([-4, 0.5, 1.5, 0], np.float32)
LEAST, DARK, FAR, LUNG = 0.2, 20.0, 250.0, 0.5
WARNINGS = {
    "nearly constant": "The image is nearly constant: perhaps an empty exposure.",
    "unlike the training images": "The image is unlike the images that the model was trained on.",
}
_RUNTIME = WEB / "node_modules/onnxruntime-web/dist"
_CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def answer_of(grey: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Returns what the stand-in's graph gives for an image: probabilities, and kinds of warnings.

    Args:
        grey: uint8 (height, width).
    """
    mean = float(grey.mean())
    logits = WEIGHTS * (mean / 255) + BIASES
    exponentials = np.exp(logits - logits.max())
    warned = [mean < DARK, mean > FAR]
    kinds = [kind for kind, true in zip(WARNINGS, warned, strict=True) if true]
    return exponentials / exponentials.sum(), kinds


REGION = {"text": "the right half of the lungs", "needs_lungs": True}
BOX = (0.25, 0.5, 0.75, 1.0)
"""Where it lies in an image: top, left, bottom and right."""


def write_app(folder: Path, name: str = "Stand-in", region: bool = False) -> Path:
    """Writes an exported folder whose model is the mean grey level, and whose lungs are dark.

    Args:
        folder: Where to.
        name: The model's.
        region: Whether it is an ensemble that gets ``REGION``: its score is the share of lung, and
            its members vote.
    """
    if not (_RUNTIME / "ort-wasm-simd-threaded.wasm").exists():
        pytest.skip("onnxruntime-web is missing: run npm ci in web/")
    pytest.importorskip("onnx", reason="the stand-in model needs the package onnx")
    shutil.copytree(BUILT, folder)
    for part in ("ort", "model"):
        (folder / part).mkdir()
    for suffix in ("mjs", "wasm"):
        shutil.copy(_RUNTIME / f"ort-wasm-simd-threaded.{suffix}", folder / "ort")
    _write_graphs(folder / "model", region)
    write_model_card(folder, name, region)
    return folder


def write_model_card(folder: Path, name: str, region: bool = False) -> None:
    """Writes model.json, and files.json with the version that follows from all files."""
    percent = {"value": 0.954, "low": 0.93, "high": 0.97}
    card = {
        "format": 2,
        "name": name,
        "created": "2026-11-29",
        "kerascxr": "0.1.0",
        "classes": CLASSES,
        "image_size": [224, 224],
        "region": REGION if region else None,
        "members": ["one", "two"] if region else [],
        "decision": {
            "not_decided": "not decided",
            "least": None if region else 0.53,
            "in_every_set": [],
            "coverage": 0.95,
        },
        "warnings": [{"kind": kind, "text": text} for kind, text in WARNINGS.items()],
        "ood": {"limit": 1.23},
        "lungs": {
            "name": "U-Net",
            "size": [64, 64],
            "threshold": LUNG,
            "checks": checks_without_components(),
            "card": {"dice": 0.96},
        },
        "metrics": {
            "n_test": 458,
            "rows": [{"name": key, **percent} for key in ("accuracy", "macro F1", "macro AUC")],
            "note": "",
        },
        "operating_points": [
            {"class": key, "threshold": 0.5, "sensitivity": 0.95, "specificity": 0.98}
            for key in CLASSES
        ],
        "data": {
            "description": "Drawn X-rays.",
            "n_train": 2134,
            "classes": dict.fromkeys(CLASSES, 500),
        },
        "audit": [
            {"input": "border only", "accuracy": 0.71, "auc": 0.88, "verdict": "above chance"}
        ],
        "audit_note": "The border alone predicts the class better than chance.",
        "limits": ["For research, not for diagnosis.", "The classes come from other hospitals."],
        "sha256": {
            name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
            for name in ("model/classifier.onnx", "model/lungs.onnx")
        },
    }
    (folder / "model/model.json").write_text(json.dumps(card), encoding="utf-8")
    (folder / "files.json").unlink(missing_ok=True)
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))
    digest = hashlib.sha256(b"".join((folder / file).read_bytes() for file in files))
    listed = {"version": digest.hexdigest()[:16], "files": files}
    (folder / "files.json").write_text(json.dumps(listed), encoding="utf-8")


def _write_graphs(folder: Path, region: bool) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def node(kind: str, inputs: str, output: str, **options):
        return helper.make_node(kind, inputs.split(","), [output], **options)

    def small(*size: int):
        wanted = numpy_helper.from_array(np.array([1, 1, *size], np.int64), "size")
        axes = numpy_helper.from_array(np.array([0, 1], np.int64), "axes")
        nodes = [
            node("Cast", "grey", "float", to=TensorProto.FLOAT),
            node("Div", "float,full", "share"),
            node("Unsqueeze", "share,axes", "batch"),
            node("Resize", "batch,,,size", "small", mode="linear"),
            node("Sub", "one,small", "dark"),
        ]
        return nodes, {"full": 255.0, "one": 1.0}, [wanted, axes]

    def save(path: Path, nodes, outputs, constants, tensors, *more) -> None:
        tensors += [
            numpy_helper.from_array(np.asarray(value, np.float32), name)
            for name, value in constants.items()
        ]
        grey = helper.make_tensor_value_info("grey", TensorProto.UINT8, ["height", "width"])
        named = [helper.make_tensor_value_info(*output) for output in outputs]
        graph = helper.make_graph(nodes, "graph", [grey, *more], named, tensors)
        opset = [helper.make_opsetid("", 17)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=8)
        onnx.checker.check_model(model)
        onnx.save(model, path)

    n, real, true = len(CLASSES), TensorProto.FLOAT, TensorProto.BOOL
    nodes, constants, tensors = small(7, 7)
    nodes += [
        node("ReduceMean", "float", "mean", keepdims=0),
        node("Div", "mean,full", "level"),
        node("Mul", "level,weights", "slope"),
        node("Add", "slope,biases", "logits"),
        node("Softmax", "logits", "probabilities", axis=0),
        node("GreaterOrEqual", "probabilities,least", "in_set"),
        node("Less", "mean,low", "is_dark"),
        node("Greater", "mean,high", "is_bright"),
        node("Reshape", "is_dark,vector", "dark_warning"),
        node("Reshape", "is_bright,vector", "bright_warning"),
        node("Concat", "dark_warning,bright_warning", "warnings", axis=0),
        node("Identity", "share_of_lung" if region else "mean", "ood_score"),
        node("Mul", "small,dark", "both"),
        node("Concat", "small,dark,both,both", "maps", axis=0),
        node("Reshape", "maps,maps_shape", "cams"),
    ]
    constants |= {"weights": WEIGHTS, "biases": BIASES, "least": LEAST, "low": DARK, "high": FAR}
    tensors += [
        numpy_helper.from_array(np.array([1], np.int64), "vector"),
        numpy_helper.from_array(np.array([n, 7, 7], np.int64), "maps_shape"),
    ]
    outputs = [("probabilities", real, [n]), ("in_set", true, [n])]
    outputs += [("warnings", true, [2]), ("ood_score", real, []), ("cams", real, [n, 7, 7])]
    taken = []
    if region:
        taken = [helper.make_tensor_value_info("lung_mask", TensorProto.UINT8, ["h", "w"])]
        of_lungs = [
            node("Cast", "lung_mask", "lung_mask_float", to=real),
            node("ReduceMean", "lung_mask_float", "mean_of_lung", keepdims=0),
            node("Div", "mean_of_lung,full", "share_of_lung"),
            node("Identity", "place", "box"),
        ]
        nodes = [*of_lungs, *nodes]
        constants["place"] = BOX
        outputs.append(("box", real, [4]))
    save(folder / "classifier.onnx", nodes, outputs, constants, tensors, *taken)
    nodes, constants, tensors = small(64, 64)
    nodes.append(node("Reshape", "dark,plane", "probabilities"))
    tensors.append(numpy_helper.from_array(np.array([64, 64], np.int64), "plane"))
    save(folder / "lungs.onnx", nodes, [("probabilities", real, [64, 64])], constants, tensors)


class _Plain(SimpleHTTPRequestHandler):
    """What `python -m http.server` does, without its log."""

    extensions_map = SimpleHTTPRequestHandler.extensions_map | {".mjs": "text/javascript"}

    def log_message(self, *args) -> None:
        pass


class _Isolating(_Plain):
    """Sends the headers that let a page use threads."""

    def end_headers(self) -> None:
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()


@contextmanager
def served(folder: Path, isolating: bool = True, port: int = 0) -> Iterator[str]:
    """Serves a folder on loopback; gives its URL."""
    handler = partial(_Isolating if isolating else _Plain, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def chromium():
    """Starts Debian's Chromium; gives Playwright's browser."""
    if not _CHROMIUM:
        pytest.skip("Chromium is missing: install the package chromium")
    api = pytest.importorskip(
        "playwright.sync_api", reason="Playwright is missing: pip install playwright"
    )
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


class Opened:
    """A page that is open, with what it asked for and complained of.

    Attributes:
        page: Playwright's page.
        requests: URLs asked for, of service workers too.
        complaints: Errors and warnings of the console, and uncaught errors.
    """

    def __init__(self, browser, url: str, script: str = "", **options) -> None:
        self.url = url
        self.context = browser.new_context(**options)
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.context.on("request", lambda request: self.requests.append(request.url))
        self.context.add_init_script(script)
        self.page = self.context.new_page()
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(url)

    def _console(self, message) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def ready(self) -> "Opened":
        """Waits until the model is loaded and the page is kept for use without a network."""
        self.page.evaluate("kerascxr.ready")
        self.page.evaluate("kerascxr.offline")
        return self

    def give(self, *files) -> None:
        """Chooses files, paths or Playwright's dicts, and waits for all answers."""
        self.page.set_input_files("#files", list(files))
        self.page.locator("#all[aria-busy=false]").wait_for()

    def close(self) -> None:
        """Closes the page; fails if it asked another origin or complained."""
        self.context.close()
        foreign = [
            url for url in self.requests if not url.removeprefix("blob:").startswith(self.url)
        ]
        assert not foreign, foreign
        assert not self.complaints, self.complaints


def text(page, selector):
    """Returns an element's text, its white space as single spaces."""
    return " ".join(page.inner_text(selector).split())


def until(page, condition):
    """Waits for a condition; Playwright's own way needs eval, which the page forbids."""
    for _ in range(200):
        if page.evaluate(condition):
            return
        time.sleep(0.05)
    raise AssertionError(condition)
