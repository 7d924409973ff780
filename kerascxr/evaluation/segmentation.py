"""Segmentation metrics of one foreground class, image by image and pooled.

With A the truth and B the prediction as sets of pixels: Dice 2|A∩B| / (|A|+|B|), IoU |A∩B| / |A∪B|,
sensitivity |A∩B| / |A|, precision |A∩B| / |B|; HD95 and ASSD in pixels, as ``masks`` defines them.

Two empty masks agree: overlap measures 1, distances 0. With one empty, overlap measures are 0 and
distances undefined: None, left out of the mean, and counted.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np

from kerascxr.evaluation.masks import as_mask, check_same_shape, surface_distances

DISTANCES = ("hd95", "assd")
MEASURES = ("dice", "iou", "sensitivity", "precision", *DISTANCES)
MM_MEASURES = ("hd95_mm", "assd_mm")  # of the images whose spacing is known
THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))  # 0.05, 0.10, ..., 0.95


class ThresholdChoice(NamedTuple):
    """A threshold and how it was found.

    Attributes:
        threshold: The chosen one; a pixel at or above it is foreground.
        dice: The mean Dice that it gave.
        curve: Every threshold tried, rising, with its mean Dice.
    """

    threshold: float
    dice: float
    curve: list[tuple[float, float]]


def evaluate(
    truths: Iterable[np.ndarray],
    predictions: Iterable[np.ndarray],
    *,
    ids: Iterable[str] | None = None,
    labels: Iterable[str] | None = None,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Scores predictions against truths, holding one pair of images at a time.

    Args:
        truths: Masks, bool or integer ``(h, w)``, holding 0 and 1, or 0 and 255.
        predictions: Masks as above.
        ids: The images' ids; "0", "1", ... by default.
        labels: The images' classes, for means by class.

    Returns:
        The rows, one dict an image: ``id`` (and ``label``), then what ``score_image`` gives. And
        the summary, what ``summarise`` gives.

    Raises:
        ValueError: If they are not as above, sizes differ, or one sequence ends early.
    """
    columns = [column for column in (ids, labels) if column is not None]
    rows: list[dict[str, Any]] = []
    for index, (truth, prediction, *rest) in enumerate(_in_step(truths, predictions, *columns)):
        row: dict[str, Any] = {"id": str(rest.pop(0)) if ids is not None else str(index)}
        if labels is not None:
            row["label"] = str(rest.pop(0))
        mask = as_mask(prediction, f"prediction {row['id']}")
        truth = as_mask(truth, f"truth {row['id']}")
        check_same_shape(truth, mask, f"prediction {row['id']}")
        rows.append(row | score_image(truth, mask))
    return rows, summarise(rows)


def score_image(
    truth: np.ndarray, prediction: np.ndarray, spacing: tuple[float, float] | None = None
) -> dict[str, Any]:
    """Scores one image; for callers that meet truth and prediction together, one after the other.

    Args:
        truth: Mask, bool or integer ``(h, w)``, holding 0 and 1, or 0 and 255.
        prediction: Mask of the same size and kinds.
        spacing: Distance of the masks' rows and columns in mm, at their size; None if not known.

    Returns:
        ``dice``, ``iou``, ``sensitivity``, ``precision`` (0..1), ``hd95``, ``assd`` (pixels, or
        None if undefined), ``truth_pixels``, ``predicted_pixels``, ``overlap_pixels``; with a
        spacing also ``hd95_mm``, ``assd_mm``.

    Raises:
        ValueError: If a mask is not as above or the sizes differ.
    """
    truth, prediction = as_mask(truth, "truth"), as_mask(prediction, "prediction")
    check_same_shape(truth, prediction, "prediction")
    counts = (
        int(np.count_nonzero(truth)),
        int(np.count_nonzero(prediction)),
        int(np.count_nonzero(truth & prediction)),
    )
    row: dict[str, Any] = _overlap(*counts)
    row["hd95"], row["assd"] = surface_distances(truth, prediction)
    row |= dict(zip(("truth_pixels", "predicted_pixels", "overlap_pixels"), counts, strict=True))
    if spacing is not None:
        row |= dict(zip(MM_MEASURES, surface_distances(truth, prediction, spacing), strict=True))
    return row


def summarise(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Averages ``score_image``'s rows.

    Args:
        rows: One dict an image; where they hold ``label``, means by class are added.

    Returns:
        ``n``; each measure's mean over images, and ``<measure>_std``, the sample standard deviation
        (None for fewer than two values); ``pooled_dice``, ``pooled_iou``, ``pooled_sensitivity``,
        ``pooled_precision`` over all pixels together; ``empty_pairs`` (both masks empty, Dice 1),
        ``undefined_distances`` (one mask empty, Dice 0); ``per_class`` (label -> n and means).
        Where any image has a distance in mm: their means and deviations, and ``n_mm``, how many
        images have one.

    Raises:
        ValueError: If there are no rows.
    """
    if not rows:
        raise ValueError("rows must hold at least one image. Got rows=[].")
    summary: dict[str, Any] = {"n": len(rows)}
    in_mm = MM_MEASURES if _defined(rows, MM_MEASURES[0]) else ()
    for measure in (*MEASURES, *in_mm):
        values = _defined(rows, measure)
        summary[measure] = float(np.mean(values)) if values else None
        summary[f"{measure}_std"] = float(np.std(values, ddof=1)) if len(values) > 1 else None
    if in_mm:
        summary["n_mm"] = len(values)
    columns = ("truth_pixels", "predicted_pixels", "overlap_pixels")
    pooled = _overlap(*(sum(row[column] for row in rows) for column in columns))
    summary |= {f"pooled_{measure}": value for measure, value in pooled.items()}
    summary["empty_pairs"] = sum(row["truth_pixels"] + row["predicted_pixels"] == 0 for row in rows)
    summary["undefined_distances"] = sum(row["hd95"] is None for row in rows)
    summary["per_class"] = {}
    for label in dict.fromkeys(row["label"] for row in rows if "label" in row):  # as they appear
        of_class = [row for row in rows if row.get("label") == label]
        means: dict[str, Any] = {"n": len(of_class)}
        for measure in MEASURES:
            values = _defined(of_class, measure)
            means[measure] = float(np.mean(values)) if values else None
        summary["per_class"][label] = means
    return summary


def best_median_worst(rows: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Finds the rows to show: the best, the median and the worst Dice.

    Args:
        rows: As ``evaluate`` returns; ties go by id, so the order of the rows does not matter.

    Returns:
        "best", "median", "worst" -> row index, all different: of two rows there is no median, and
        one alone is the best.

    Raises:
        ValueError: If there are no rows.
    """
    if not rows:
        raise ValueError("rows must hold at least one image. Got rows=[].")
    order = sorted(range(len(rows)), key=lambda index: (-rows[index]["dice"], rows[index]["id"]))
    places = {"best": 0, "median": len(order) // 2, "worst": len(order) - 1}
    chosen: dict[str, int] = {}
    for name in ("best", "worst", "median"):
        if order[places[name]] not in chosen.values():
            chosen[name] = order[places[name]]
    return {name: chosen[name] for name in places if name in chosen}


class ThresholdSearch:
    """Finds the threshold of best mean Dice over images met one at a time, in one pass.

    Where truth and prediction are both empty at a threshold, the image counts as Dice 1 there.
    """

    def __init__(self) -> None:
        self._dice_sum = np.zeros(len(THRESHOLDS))
        self._images = 0

    def add(self, truth: np.ndarray, masks: np.ndarray) -> None:
        """Counts one image.

        Args:
            truth: Mask, bool or integer ``(h, w)``, holding 0 and 1, or 0 and 255.
            masks: Predictions, bool ``(19, h, w)``, one for each of ``THRESHOLDS``.

        Raises:
            ValueError: If they are not as above or sizes differ.
        """
        truth = as_mask(truth, f"truth {self._images}")
        if masks.shape != (len(THRESHOLDS), *truth.shape) or masks.dtype != bool:
            raise ValueError(
                f"masks {self._images} must be bool of shape {(len(THRESHOLDS), *truth.shape)}. "
                f"Got {masks.dtype} of shape={masks.shape}."
            )
        overlap = np.count_nonzero(masks[:, truth], axis=1)
        total = np.count_nonzero(masks, axis=(1, 2)) + np.count_nonzero(truth)
        self._dice_sum += np.where(total > 0, 2 * overlap / np.maximum(total, 1), 1.0)
        self._images += 1

    def choose(self) -> ThresholdChoice:
        """Returns the best threshold; at a tie the one nearest 0.5, then the lower.

        Raises:
            ValueError: If no image was added.
        """
        if not self._images:
            raise ValueError("images must be one or more to choose a threshold. Got images=0.")
        # Rounded, so that a tie is not broken by the last bit of a sum.
        scores = np.round(self._dice_sum / self._images, 12).tolist()
        curve = list(zip(THRESHOLDS, scores, strict=True))
        threshold, dice = max(
            curve, key=lambda pair: (pair[1], -round(abs(pair[0] - 0.5), 2), -pair[0])
        )
        return ThresholdChoice(threshold, dice, curve)


def _overlap(truth: int, predicted: int, both: int) -> dict[str, float]:
    """Computes the overlap measures from counts of pixels, by the rule for empty masks."""
    if truth + predicted == 0:
        return {"dice": 1.0, "iou": 1.0, "sensitivity": 1.0, "precision": 1.0}
    return {
        "dice": 2 * both / (truth + predicted),
        "iou": both / (truth + predicted - both),
        "sensitivity": both / truth if truth else 0.0,
        "precision": both / predicted if predicted else 0.0,
    }


def _defined(rows: Sequence[dict[str, Any]], measure: str) -> list[float]:
    """Returns the rows' values of a measure, those that are defined."""
    return [row[measure] for row in rows if row.get(measure) is not None]


def _in_step(*columns: Iterable) -> Iterator[tuple]:
    """Iterates over several columns at once; raises a ValueError of one line if one ends early."""
    missing = object()
    for index, values in enumerate(zip_longest(*columns, fillvalue=missing)):
        if any(value is missing for value in values):
            raise ValueError(
                "truths and what goes with them must be equally many. "
                f"Got one sequence that ends after {index}."
            )
        yield values
