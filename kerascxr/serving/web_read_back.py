"""The check of a browser page's ONNX files, run by onnxruntime, against what they must answer."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from kerascxr.data.images import decode_png, resize_image
from kerascxr.data.roi import ROIS
from kerascxr.evaluation.abstention import NOT_DECIDED, SEPARATOR
from kerascxr.models.segmenter import Segmenter
from kerascxr.serving.read_back import require_same_answers
from kerascxr.serving.web_graphs import GREY, LUNG_MASK
from kerascxr.serving.web_model import TOLERANCE, PageModel

logger = logging.getLogger(__name__)

# Of a pixel's probability, since the weights are stored in 16 bits; and the share of the pixels
# that may change sides of the threshold.
_LUNG_TOLERANCE, _LUNG_PIXELS = 0.005, 1e-3

Images = Sequence[np.ndarray]
"""uint8 (height, width) each."""


def run_graph(path: Path, greys: Images, masks: Images = ()) -> list[dict[str, np.ndarray]]:
    """Runs an ONNX file of ``grey`` on images, one at a time.

    Args:
        path: The file.
        greys: The images.
        masks: Their lung masks, where the graph takes them.

    Returns:
        The outputs by name, for each image.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    inputs = [{GREY.name: grey} for grey in greys]
    for fed, mask in zip(inputs, masks, strict=False):
        fed[LUNG_MASK.name] = mask
    given = (session.run(names, fed) for fed in inputs)
    return [dict(zip(names, values, strict=True)) for values in given]


def lung_masks(probabilities: np.ndarray, segmenter: Segmenter) -> list[np.ndarray]:
    """Returns what the page makes of a U-Net's output, as ``web/src/lungs.ts`` does.

    Args:
        probabilities: float32 (n, *segmenter.size).
        segmenter: The U-Net.

    Returns:
        uint8 (*segmenter.size) each, 0 or 255.
    """
    masks = segmenter.binarise(segmenter.of_lungs(tf.constant(probabilities[..., None])))
    return list(masks.numpy()[..., 0])


def check_page(page: PageModel, classifier: Path, lungs: Path) -> None:
    """Compares the graphs of a page with what the run has of some test images.

    Where a region of interest depends on the lung mask, the classifier is compared with Keras' mask
    where the page's own differs in a pixel: that moves what the classifier gets.

    Args:
        page: What the page is made of.
        classifier: The classifier's graph.
        lungs: The U-Net's, if ``page.lungs``.

    Raises:
        ValueError: If they differ by more than is allowed.
    """
    greys = [decode_png(tf.constant(data)).numpy()[..., 0] for data in page.expected.files]
    masks: list[np.ndarray] = []
    if page.lungs:
        found = np.stack([one["probabilities"] for one in run_graph(lungs, greys)])
        known = _of_keras(greys, page.lungs.segmenter)
        _check_lungs(found, known, page.lungs.segmenter)
        if ROIS[page.config.roi].needs_lungs:
            masks = lung_masks(known, page.lungs.segmenter)
            _log_other_masks(
                page, classifier, greys, lung_masks(found, page.lungs.segmenter), masks
            )
    given = run_graph(classifier, greys, masks)
    difference = _difference(given, page.expected.probabilities)
    if not difference <= TOLERANCE:
        raise ValueError(
            f"the browser's model must reproduce the run's probabilities to {TOLERANCE:g}. Got a "
            f"difference of {difference:.2g}; nothing was written."
        )
    require_same_answers(_texts(given, page), page.expected)
    logger.info(
        f"The browser's model reproduces the run's answers to {len(greys)} test images: largest "
        f"difference of a probability {difference:.1e}."
    )


def _difference(given: Sequence[Mapping[str, np.ndarray]], known: np.ndarray) -> float:
    return float(np.abs(np.stack([one["probabilities"] for one in given]) - known).max())


def _log_other_masks(
    page: PageModel, classifier: Path, greys: Images, found: Images, known: Images
) -> None:
    """Logs what the pixels change in which the page's lung masks differ from Keras'."""
    places = [place for place, mask in enumerate(found) if (mask != known[place]).any()]
    if not places:
        return
    given = run_graph(
        classifier, [greys[place] for place in places], [found[place] for place in places]
    )
    difference = _difference(given, page.expected.probabilities[places])
    logger.info(
        f"In {len(places)} of {len(greys)} images a pixel of the lung mask is another than Keras': "
        f"largest difference of a probability {difference:.1e} there."
    )


def _texts(given: Sequence[Mapping[str, np.ndarray]], page: PageModel) -> dict[str, list[Any]]:
    """Returns answers in the words of predictions.csv, as the page words them."""
    classes, kinds = page.classes, page.rule.kinds

    def joined(names: Sequence[str], which: np.ndarray) -> str:
        return SEPARATOR.join(name for name, holds in zip(names, which, strict=True) if holds)

    return {
        "decision": [
            NOT_DECIDED if one["warnings"].any() else classes[int(one["probabilities"].argmax())]
            for one in given
        ],
        "prediction_set": [joined(classes, one["in_set"]) for one in given],
        "ood_score": [float(one["ood_score"]) for one in given],
        "warnings": [joined(kinds, one["warnings"]) for one in given],
    }


def _of_keras(greys: Images, segmenter: Segmenter) -> np.ndarray:
    resized = tf.stack([resize_image(grey[..., None], segmenter.size) for grey in greys])
    probabilities: np.ndarray = segmenter.probabilities(resized).numpy()[..., 0]
    return probabilities


def _check_lungs(given: np.ndarray, known: np.ndarray, segmenter: Segmenter) -> None:
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
