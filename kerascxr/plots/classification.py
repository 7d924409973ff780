"""Figures of a classifier's test: confusion matrix, ROC and precision-recall, samples."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle

from kerascxr.evaluation.classification import Curve
from kerascxr.plots.style import (
    GREEN,
    GREY,
    LINE_COLOURS,
    LINE_STYLES,
    VERMILLION,
    WIDTH_INCHES,
    house_style,
    save,
    wrapped,
)


def confusion_matrix(
    matrix: Sequence[Sequence[int]],
    classes: Sequence[str],
    path: str | Path,
    *,
    title: str = "Confusion matrix",
) -> Figure:
    """Draws counts and the share of the true class, which is also the cell's shade.

    Args:
        matrix: Counts ``(k, k)``; rows truth, columns predicted.
        classes: The k class names.
        path: The PNG to write.
        title: Heading.

    Returns:
        The figure, already saved.

    Raises:
        ValueError: If the matrix is not square, not of k classes, or has a negative count.
    """
    counts = np.asarray(matrix)
    k = len(classes)
    if counts.shape != (k, k) or k == 0:
        raise ValueError(f"matrix must be of shape ({k}, {k}). Got shape={counts.shape}.")
    if (counts < 0).any():
        raise ValueError(f"matrix must hold counts of 0 or more. Got count={counts.min()}.")
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros((k, k)), where=totals > 0)
    names = [wrapped(name, 20, break_words=False) for name in classes]
    longest = max(len(line) for name in names for line in name.split("\n"))
    cell = max(0.52, min(1.0, 3.9 / k))  # inches
    flat = cell / 0.062 >= longest  # do the names fit below their columns, unturned?
    below = 0.2 if flat else 0.045 * max(map(len, classes))

    with house_style():
        side = cell * k
        figure = Figure(
            figsize=(side + 0.75 + 0.065 * longest, side + 1.0 + below),
            layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06),
        )
        axes = figure.add_subplot()
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for row, column in np.ndindex(k, k):
            _cell(axes, row, column, int(counts[row, column]), float(shares[row, column]), totals)
        axes.set_xticks(range(k), names if flat else classes)
        axes.set_yticks(range(k), names)
        if not flat:
            for label in axes.get_xticklabels():
                label.set(rotation=40, ha="right", rotation_mode="anchor")
        axes.set_xticks(np.arange(1, k) - 0.5, minor=True)
        axes.set_yticks(np.arange(1, k) - 0.5, minor=True)
        axes.grid(False)
        axes.grid(True, which="minor", color="white", linewidth=1.5)
        axes.tick_params(which="both", length=0)
        axes.spines[:].set_visible(False)
        axes.set_xlabel("predicted")
        axes.set_ylabel("truth")
        axes.set_title(title, pad=18)
        axes.annotate(
            "images, and their share of the true class",
            (0, 1),
            xycoords="axes fraction",
            xytext=(0, 5),
            textcoords="offset points",
            color=GREY,
        )
        return save(figure, path)


def roc_and_pr(
    roc: Mapping[str, Curve], precision_recall: Mapping[str, Curve], path: str | Path
) -> Figure:
    """Draws the ROC and the precision-recall curve of each class, one class against the rest.

    Args:
        roc: Class name -> curve, from ``evaluation.classification.roc_curves``.
        precision_recall: The same from ``precision_recall_curves``.
        path: The PNG to write.

    Returns:
        The figure, already saved.

    Raises:
        ValueError: If there is no curve at all.
    """
    names = list(dict.fromkeys([*precision_recall, *roc]))
    if not names:
        raise ValueError("roc and precision_recall must hold at least one curve. Got none.")
    with house_style():
        # One line a class under both panels, so that no curve is covered.
        columns = 2 if len(names) > 2 and max(map(len, names)) <= 22 else 1
        legend_rows = -(-len(names) // columns)
        figure = Figure(figsize=(WIDTH_INCHES, 3.1 + 0.17 * legend_rows), layout="constrained")
        left, right = figure.subplots(1, 2)
        handles = []
        for index, name in enumerate(names):
            look = {
                "color": LINE_COLOURS[index % len(LINE_COLOURS)],
                # Classes side by side differ in style too; where curves coincide, both show.
                "linestyle": LINE_STYLES[index % len(LINE_STYLES)],
                "linewidth": 1.5,
                "clip_on": False,
            }
            areas = []
            if name in roc:
                (handle,) = left.plot(roc[name].x, roc[name].y, **look)
                areas.append(f"AUC {roc[name].area:.3f}")
            if name in precision_recall:
                curve = precision_recall[name]
                # Between two points the precision at the higher recall, the earlier one, holds.
                (handle,) = right.plot(curve.x, curve.y, drawstyle="steps-post", **look)
                areas.append(f"AP {curve.area:.3f}")
                right.plot([0.96, 1.03], [curve.chance] * 2, clip_on=False, color=look["color"])
            handle.set_label(f"{name}: {', '.join(areas)}")
            handles.append(handle)
        left.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1)
        left.text(
            0.64,
            0.58,
            "chance",
            rotation=45,
            rotation_mode="anchor",
            color=GREY,
            ha="center",
            va="top",
        )
        guesses = [curve.chance for curve in precision_recall.values()]
        if guesses:
            right.text(0.94, float(np.mean(guesses)), "chance", color=GREY, ha="right", va="center")
        left.set(title="ROC", xlabel="false positive rate", ylabel="true positive rate")
        right.set(title="Precision-recall", xlabel="recall", ylabel="precision")
        for axes in (left, right):
            axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        figure.legend(handles=handles, loc="outside lower center", ncols=columns, handlelength=3)
        return save(figure, path)


def sample_predictions(
    images: np.ndarray | Sequence[np.ndarray],
    truth: Sequence[str],
    predicted: Sequence[str],
    confidence: Sequence[float],
    path: str | Path,
    *,
    columns: int = 4,
) -> Figure:
    """Draws a grid of images with what they are and what the model took them for.

    A wrong one has a cross, the word "wrong" and a thick frame, so colour is not needed to see it.

    Args:
        images: uint8 ``(n, h, w)`` or ``(n, h, w, 3)``, 0..255, or a sequence of such images.
        truth: The n true class names.
        predicted: The n predicted class names.
        confidence: The n probabilities of the predicted class, 0..1.
        path: The PNG to write.
        columns: Most images in a row.

    Returns:
        The figure, already saved.

    Raises:
        ValueError: If there is no image, or the sequences are not equally long.
    """
    n = len(images)
    lengths = {len(truth), len(predicted), len(confidence)}
    if n == 0 or lengths != {n}:
        raise ValueError(
            "images, truth, predicted and confidence must be equally many, at least one. "
            f"Got {n}, {len(truth)}, {len(predicted)}, {len(confidence)}."
        )
    columns = min(columns, n)
    rows = -(-n // columns)
    side = min(2.2, WIDTH_INCHES / columns)  # inches, with the gap
    letters = int(side / 0.068)
    picture = side - 0.1
    tall = picture * min(2.0, max(np.shape(image)[0] / np.shape(image)[1] for image in images))
    captions = [
        _caption(*of_one, letters) for of_one in zip(truth, predicted, confidence, strict=True)
    ]
    # Inches below each row of images, for the longest caption there.
    text_heights = [
        0.14 * max(len(caption) for caption in captions[row * columns : (row + 1) * columns]) + 0.22
        for row in range(rows)
    ]
    with house_style():
        width, height = side * columns, tall * rows + sum(text_heights)
        figure = Figure(figsize=(width, height))
        for index, (image, caption) in enumerate(zip(images, captions, strict=True)):
            row, column = divmod(index, columns)
            left, top = side * column + 0.05, tall * row + sum(text_heights[:row]) + 0.05
            axes = figure.add_axes(
                (left / width, 1 - (top + tall) / height, picture / width, tall / height)
            )
            axes.set_axis_off()
            axes.imshow(np.asarray(image), cmap="gray", vmin=0, vmax=255)
            right = truth[index] == predicted[index]
            frame = Rectangle((0, 0), 1, 1, transform=axes.transAxes, fill=False, clip_on=False)
            frame.set(edgecolor=GREEN if right else VERMILLION, linewidth=1 if right else 3.5)
            axes.add_patch(frame)
            for line, text in enumerate(caption):
                figure.text(
                    left / width,
                    1 - (top + tall + 0.16 + 0.14 * line) / height,
                    text,
                    fontsize=7,
                    weight="normal" if right else "bold",
                    color="#222222" if right else "#A04000",
                )
        return save(figure, path)


def _cell(axes: Axes, row: int, column: int, count: int, share: float, totals: np.ndarray) -> None:
    """Writes one cell of the confusion matrix, in the ink that stands out most from its shade."""
    small = len(totals) > 8
    percent = _percent(share, 0 if small else 1) if totals[row, 0] else "–"
    red, green, blue, _ = (
        channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4
        for channel in matplotlib.colormaps["Blues"](share)
    )
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue  # WCAG 2
    ink = "white" if 1.05 / (luminance + 0.05) > (luminance + 0.05) / 0.05 else "black"
    if count == 0 and row != column:
        axes.text(column, row, "0", ha="center", va="center", color=GREY, fontsize=7)
        return
    size = 8 if small else 10
    size -= max(0, len(f"{count:,}") - 5)
    axes.text(column, row - 0.02, f"{count:,}", ha="center", va="bottom", color=ink, fontsize=size)
    axes.text(column, row + 0.06, percent, ha="center", va="top", color=ink, fontsize=size - 1.5)


def _percent(share: float, digits: int) -> str:
    """Writes a share so that only none reads as 0 and only all reads as 100."""
    text, least = f"{100 * share:.{digits}f}", 10.0**-digits
    if share > 0 and float(text) == 0:
        return f"<{least:g}%"
    if share < 1 and float(text) == 100:
        return f">{100 - least:g}%"
    return f"{text}%"


def _caption(truth: str, predicted: str, confidence: float, letters: int) -> list[str]:
    """Writes what an image is and what it was taken for, in lines of at most ``letters``."""
    share = _percent(confidence, 0)
    if truth == predicted:
        return wrapped(f"✓ {truth} {share}", letters).split("\n")
    parts = (f"✗ wrong: {predicted} {share}", f"truth: {truth}")
    return [line for part in parts for line in wrapped(part, letters).split("\n")]
