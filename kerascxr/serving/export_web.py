"""Finished runs as a static folder: a page that reads X-rays in the browser and sends nothing."""

import hashlib
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from kerascxr.models.download import file_digest
from kerascxr.runs.atomic import MARKER, replace_folder, write_json
from kerascxr.runs.reading import read_run
from kerascxr.serving.formats import require_packages
from kerascxr.serving.onnx_files import onnx_model, share_equal_weights, store_in_16_bits
from kerascxr.serving.web_card import Findings, model_card
from kerascxr.serving.web_graphs import (
    GREY,
    OfGrey,
    classifier_of_grey,
    inputs_of,
    lungs_of_grey,
    outputs_of,
)
from kerascxr.serving.web_model import read_page_model
from kerascxr.serving.web_names import CARD, CLASSIFIER, FOLDER, KIND, LISTING, LUNGS, page_files
from kerascxr.serving.web_read_back import check_page
from kerascxr.serving.web_runtime import runtime_files

logger = logging.getLogger(__name__)

PACKAGES = ("tf2onnx", "onnx", "onnxruntime")

MOST_MB = 40
"""Size up to which a page is written without a warning: browsers load all of it at first."""


def export_web(
    run_paths: Sequence[Path],
    to: Path,
    segmentation: Path | None,
    findings: Findings,
    onnxruntime: Path | None = None,
) -> Path:
    """Writes the page of a classifier, with a U-Net if there is one, as ``to/web/``.

    Args:
        run_paths: A finished classification run; several become an ensemble.
        to: The model's folder.
        segmentation: A finished segmentation run or ``PACKAGED``, for the lungs' outlines. A region
            of interest that needs the lungs requires one; the default is that of ``export_run``.
        findings: What the page shows of the runs' limits and audits.
        onnxruntime: A tarball of onnxruntime-web; None to download it where it is not cached.

    Returns:
        The folder, which any web server can serve. It is written only if the ONNX files reproduce
        the runs' predictions.csv for some test images to ``web_model.TOLERANCE``, and the U-Net's
        masks: see ``check_page``.

    Raises:
        ValueError: If a run is not finished or of another task, its test scores are not fair, its
            images are missing or have changed, runs do not fit together or have different regions
            of interest, too many lung masks are implausible, a region has operations that ONNX
            lacks, a package is missing, or the answers differ.
        ConnectionError: If onnxruntime-web is neither cached nor to be had.
    """
    require_packages("web", PACKAGES)
    first, *others = (read_run(path, "classification") for path in run_paths)
    for run in others:
        if run.roi != first.roi:
            raise ValueError(
                "runs on one browser page must have the same region of interest. Got "
                f"roi={first.roi} in {first.path} and roi={run.roi} in {run.path}."
            )
    page = page_files()
    runtime = runtime_files(onnxruntime)
    model = read_page_model(run_paths, segmentation)
    roi = model.config.roi

    def fill(folder: Path) -> None:
        for part in ("model", "ort"):
            (folder / part).mkdir()
        for path in page:
            shutil.copy(path, folder)
        for name, path in runtime.items():
            shutil.copy(path, folder / "ort" / name)
        answer = classifier_of_grey(model.members, model.together, roi)
        _write_graph(folder / CLASSIFIER, answer, inputs_of(roi), outputs_of(roi))
        if model.lungs:
            find = lungs_of_grey(model.lungs.segmenter)
            _write_graph(folder / LUNGS, find, [GREY], ("probabilities",))
        check_page(model, folder / CLASSIFIER, folder / LUNGS)
        card = model_card(model, findings)
        graphs = (CLASSIFIER, LUNGS) if model.lungs else (CLASSIFIER,)
        digests = {name: file_digest(folder / name) for name in graphs}  # the page compares them
        write_json(folder / CARD, card | {"sha256": digests})
        write_listing(folder)

    replace_folder(to / FOLDER, fill, KIND)
    place = to / FOLDER
    _log_size(place)
    return place


def _log_size(place: Path) -> None:
    """Logs where a page is and its size; as a warning above ``MOST_MB``."""
    sizes = {path: path.stat().st_size / 1e6 for path in place.rglob("*") if path.is_file()}
    written = f"Written to {place} ({sum(sizes.values()):.1f} MB)"
    if sum(sizes.values()) <= MOST_MB:
        logger.info(written)
        return
    largest = max(sizes, key=lambda path: sizes[path])
    logger.warning(
        f"{written}. A page should have at most {MOST_MB} MB, since a browser loads all of it "
        f"before the first image. Its largest file is {largest.relative_to(place)} "
        f"({sizes[largest]:.1f} MB)."
    )


def _write_graph(
    path: Path, of_grey: OfGrey, inputs: Sequence[tf.TensorSpec], names: Sequence[str]
) -> None:
    """Writes a function of one grey image as ONNX, with weights in 16 bits."""

    @tf.function(input_signature=list(inputs), autograph=False)
    def run(*given: tf.Tensor) -> tuple[tf.Tensor, ...]:
        outputs = of_grey(*given)
        return tuple(tf.identity(outputs[name]) for name in names)

    model: Any = onnx_model(run, names)
    share_equal_weights(model)
    store_in_16_bits(model)
    path.write_bytes(model.SerializeToString())


def write_listing(folder: Path) -> None:
    """Writes files.json: every file of a page, and a version that changes with any of them."""
    files = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in (LISTING, MARKER)
    )
    digest = hashlib.sha256()
    for name in files:
        digest.update(name.encode() + b"\0" + hashlib.sha256((folder / name).read_bytes()).digest())
    write_json(folder / LISTING, {"version": digest.hexdigest()[:16], "files": files})
