"""A finished run as a static folder: a page that reads X-rays in the browser and sends nothing."""

import hashlib
import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from kerascxr.config import ClassificationConfig
from kerascxr.data.images import decode_png, resize_image
from kerascxr.data.roi import ROIS
from kerascxr.evaluation.abstention import NOT_DECIDED, SEPARATOR
from kerascxr.models.decision_rule import FILE, DecisionRule
from kerascxr.models.download import file_digest
from kerascxr.models.saved import computes_in_16_bits, load_saved
from kerascxr.models.segmenter import Segmenter
from kerascxr.parsing import load_config
from kerascxr.runs.atomic import MARKER, replace_folder, write_json
from kerascxr.runs.inflated_scores import require_fair_scores
from kerascxr.runs.reading import Run, read_run
from kerascxr.serving.export import check_lung_masks, expected_of_test
from kerascxr.serving.formats import require_packages
from kerascxr.serving.onnx_files import onnx_model, store_in_16_bits
from kerascxr.serving.read_back import Expected, require_same_answers
from kerascxr.serving.web_card import Findings, model_card
from kerascxr.serving.web_graphs import ANSWER, GREY, OfGrey, classifier_of_grey, lungs_of_grey
from kerascxr.serving.web_names import CARD, CLASSIFIER, FOLDER, KIND, LISTING, LUNGS, page_files
from kerascxr.serving.web_runtime import runtime_files
from kerascxr.training.inputs import open_run_store
from kerascxr.training.lungs import choose_lungs, load_segmenter

logger = logging.getLogger(__name__)

PACKAGES = ("tf2onnx", "onnx", "onnxruntime")
TOLERANCE = 1e-3
"""Of a probability: the weights are stored in 16 bits."""

# Of a pixel's probability, since the weights are stored in 16 bits; and the share of the pixels
# that may change sides of the threshold.
_LUNG_TOLERANCE, _LUNG_PIXELS = 0.005, 1e-3


def export_web(
    run_path: Path,
    to: Path,
    segmentation: Path | None,
    findings: Findings,
    onnxruntime: Path | None = None,
) -> Path:
    """Writes the page of a classifier, with a U-Net if there is one, as ``to/web/``.

    Args:
        run_path: A finished classification run, on the full image.
        to: The model's folder.
        segmentation: A finished segmentation run or ``PACKAGED``, for the lungs' outlines.
        findings: What the page shows of the run's limits and audit.
        onnxruntime: A tarball of onnxruntime-web; None to download it where it is not cached.

    Returns:
        The folder, which any web server can serve. It is written only if the ONNX files reproduce
        the run's predictions.csv for some test images to ``TOLERANCE``, and the U-Net's masks.

    Raises:
        ValueError: If a run is not finished or of another task, it uses a region of interest, its
            test scores are not fair, its images are missing or have changed, too many lung masks
            are implausible, a package is missing, or the answers differ.
        ConnectionError: If onnxruntime-web is neither cached nor to be had.
    """
    require_packages("web", PACKAGES)
    page = page_files()
    run = read_run(run_path, "classification")
    config = load_config(ClassificationConfig, run_path / "config.yaml")
    require_fair_scores(run)
    if config.roi != "none":
        raise ValueError(
            "the browser page takes classifiers on the full image. Got "
            f"{run_path}, which was trained on {ROIS[config.roi].description}."
        )
    model = load_saved(run_path / "model.keras")
    if computes_in_16_bits(model):
        raise ValueError(
            f"the browser page computes in float32. Got {run_path}, whose model does not."
        )
    store = open_run_store(run, config.data)
    runtime = runtime_files(onnxruntime)
    rule = DecisionRule.load(run_path / FILE)
    expected = expected_of_test(run, config, store, rule, TOLERANCE)
    segmenter = None
    if segmentation is not None:
        segmentation = choose_lungs(segmentation)
        segmenter = load_segmenter(segmentation)
        check_lung_masks(segmentation, config, store)
    lungs = (segmentation, segmenter) if segmentation and segmenter else None

    def fill(folder: Path) -> None:
        for part in ("model", "ort"):
            (folder / part).mkdir()
        for path in page:
            shutil.copy(path, folder)
        for name, path in runtime.items():
            shutil.copy(path, folder / "ort" / name)
        greys = [decode_png(tf.constant(data)).numpy()[..., 0] for data in expected.files]
        _write_graph(folder / CLASSIFIER, classifier_of_grey(model, rule, run.temperature), ANSWER)
        difference = _check_classifier(folder / CLASSIFIER, greys, expected, run, rule)
        logger.info(
            f"The browser's model reproduces the run's answers to {len(greys)} test images: "
            f"largest difference of a probability {difference:.1e}."
        )
        if segmenter:
            _write_graph(folder / LUNGS, lungs_of_grey(segmenter), ("probabilities",))
            _check_lungs(folder / LUNGS, greys, segmenter)
        card = model_card(run, config, store, rule, lungs, findings)
        graphs = (CLASSIFIER, LUNGS) if segmenter else (CLASSIFIER,)
        digests = {name: file_digest(folder / name) for name in graphs}  # the page compares them
        write_json(folder / CARD, card | {"sha256": digests})
        write_listing(folder)

    replace_folder(to / FOLDER, fill, KIND)
    place = to / FOLDER
    size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
    logger.info(f"Written to {place} ({size / 1e6:.1f} MB)")
    return place


def _write_graph(path: Path, of_grey: OfGrey, names: Sequence[str]) -> None:
    """Writes a function of one grey image as ONNX, with weights in 16 bits."""

    @tf.function(input_signature=[GREY], autograph=False)
    def run(grey: tf.Tensor) -> tuple[tf.Tensor, ...]:
        outputs = of_grey(grey)
        return tuple(tf.identity(outputs[name]) for name in names)

    model = onnx_model(run, names)
    store_in_16_bits(model)
    path.write_bytes(model.SerializeToString())


def run_graph(path: Path, greys: Sequence[np.ndarray]) -> list[dict[str, np.ndarray]]:
    """Runs an ONNX file of ``grey`` on images, one at a time.

    Args:
        path: The file.
        greys: uint8 (height, width) each.

    Returns:
        The outputs by name, for each image.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    given = (session.run(names, {GREY.name: grey}) for grey in greys)
    return [dict(zip(names, values, strict=True)) for values in given]


def _check_classifier(
    path: Path, greys: Sequence[np.ndarray], expected: Expected, run: Run, rule: DecisionRule
) -> float:
    given = run_graph(path, greys)
    probabilities = np.stack([answer["probabilities"] for answer in given])
    difference = float(np.abs(probabilities - expected.probabilities).max())
    if not difference <= TOLERANCE:
        raise ValueError(
            f"the browser's model must reproduce the run's probabilities to {TOLERANCE:g}. Got a "
            f"difference of {difference:.2g}; nothing was written."
        )
    require_same_answers(_texts(given, run.metrics["test"]["classes"], rule), expected)
    return difference


def _texts(
    given: Sequence[Mapping[str, np.ndarray]], classes: Sequence[str], rule: DecisionRule
) -> dict[str, list[Any]]:
    """Returns answers in the words of predictions.csv, as the page words them."""

    def joined(names: Sequence[str], which: np.ndarray) -> str:
        return SEPARATOR.join(name for name, holds in zip(names, which, strict=True) if holds)

    return {
        "decision": [
            NOT_DECIDED if one["warnings"].any() else classes[int(one["probabilities"].argmax())]
            for one in given
        ],
        "prediction_set": [joined(classes, one["in_set"]) for one in given],
        "ood_score": [float(one["ood_score"]) for one in given],
        "warnings": [joined(rule.kinds, one["warnings"]) for one in given],
    }


def _check_lungs(path: Path, greys: Sequence[np.ndarray], segmenter: Segmenter) -> None:
    given = np.stack([answer["probabilities"] for answer in run_graph(path, greys)])
    resized = tf.stack([resize_image(grey[..., None], segmenter.size) for grey in greys])
    known = segmenter.probabilities(resized).numpy()[..., 0]
    difference = float(np.abs(given - known).max())
    changed = float(((given >= segmenter.threshold) != (known >= segmenter.threshold)).mean())
    if not (difference <= _LUNG_TOLERANCE and changed <= _LUNG_PIXELS):
        raise ValueError(
            f"the browser's lung model must reproduce Keras' to {_LUNG_TOLERANCE:g}, and the masks "
            f"but for {_LUNG_PIXELS:.1%} of the pixels. Got a difference of {difference:.2g}, and "
            f"{changed:.2%} of the pixels; nothing was written."
        )
    logger.info(
        f"Its lung model differs from Keras' by {difference:.1e} at most; "
        f"{changed:.3%} of the pixels change sides of the threshold."
    )


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
