"""Figures of a segmentation's test: image, truth, prediction, and where the two disagree."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from kerascxr.plots.style import (
    DPI,
    SKY_BLUE,
    VERMILLION,
    YELLOW,
    house_style,
    save,
    wrapped,
)

# Name -> colour and opacity. Agreement is a thin veil, so that the X-ray shows through and what is
# wrong stands out; missed and extra differ in lightness too, hence also in print without colour.
OVERLAY = {
    "agreement": (SKY_BLUE, 0.35),
    "missed (truth only)": (YELLOW, 0.9),
    "extra (prediction only)": (VERMILLION, 0.9),
}
_PICTURE_PIXELS, _MOST_PIXELS = 256, 512
COLUMNS = ("image", "truth", "prediction", "overlay")


def overlay_grid(
    images: np.ndarray | Sequence[np.ndarray],
    truths: np.ndarray | Sequence[np.ndarray],
    predictions: np.ndarray | Sequence[np.ndarray],
    titles: Sequence[str],
    path: str | Path,
) -> Figure:
    """Draws one row an image: the image, the true mask, the predicted mask, and the overlay.

    Args:
        images: uint8 ``(n, h, w)``, 0..255, or a sequence of such images.
        truths: Masks, bool or integer ``(n, h, w)``; not 0 is foreground.
        predictions: Masks, likewise.
        titles: The n rows' headings, e.g. "best: NAME, Dice 0.981".
        path: The PNG to write.

    Returns:
        The figure, already saved.

    Raises:
        ValueError: If there is no image, the sequences are not equally long, or sizes differ.
    """
    n = len(images)
    if n == 0 or {len(truths), len(predictions), len(titles)} != {n}:
        raise ValueError(
            "images, truths, predictions and titles must be equally many, at least one. "
            f"Got {n}, {len(truths)}, {len(predictions)}, {len(titles)}."
        )
    gap, header, footer = 0.06, 0.19, 0.3  # inches
    picture = _picture_inches(max(np.shape(image)[1] for image in images))
    width = picture * len(COLUMNS) + gap * (len(COLUMNS) + 1)
    tall = picture * min(2.0, max(np.shape(image)[0] / np.shape(image)[1] for image in images))
    titles = [wrapped(title, int(13 * width)) for title in titles]
    headings = [0.1 + 0.14 * (title.count("\n") + 1) for title in titles]
    height = header + sum(headings) + n * tall + footer
    with house_style():
        figure = Figure(figsize=(width, height))
        for row in range(n):
            panels = _panels(images[row], truths[row], predictions[row], titles[row])
            top = header + row * tall + sum(headings[: row + 1])
            figure.text(
                gap / width,
                1 - (top - 0.06) / height,
                titles[row],
                va="bottom",
                weight="bold",
            )
            for column, (name, panel) in enumerate(zip(COLUMNS, panels, strict=True)):
                left = gap + column * (picture + gap)
                axes = figure.add_axes(
                    (
                        left / width,
                        1 - (top + tall) / height,
                        picture / width,
                        tall / height,
                    )
                )
                axes.imshow(panel, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
                axes.set_axis_off()
                if row == 0:
                    figure.text(
                        (left + picture / 2) / width,
                        1 - 0.05 / height,
                        name,
                        ha="center",
                        va="top",
                    )
        figure.legend(
            handles=[
                Patch(facecolor=(*to_rgb(colour), max(alpha, 0.5)), edgecolor="#444444", label=name)
                for name, (colour, alpha) in OVERLAY.items()
            ],
            loc="lower right",
            ncols=len(OVERLAY),
            borderaxespad=0.3,
        )
        return save(figure, path)


def _picture_inches(pixels: int) -> float:
    """Returns how wide an image is drawn: each of its pixels is a whole number of the figure's."""
    return max(1, round(_PICTURE_PIXELS / pixels)) * min(pixels, _MOST_PIXELS) / DPI


def overlay(image: np.ndarray, truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Colours an image by where truth and prediction agree, and where they do not.

    Args:
        image: uint8 ``(h, w)``, 0..255.
        truth: Mask, bool ``(h, w)``.
        prediction: Mask, bool ``(h, w)``.

    Returns:
        uint8 ``(h, w, 3)``, 0..255; outside both masks the image as it was.
    """
    picture = np.repeat(image[..., None].astype(np.float64), 3, axis=-1)
    areas = (truth & prediction, truth & ~prediction, prediction & ~truth)
    for area, (colour, alpha) in zip(areas, OVERLAY.values(), strict=True):
        picture[area] = (1 - alpha) * picture[area] + alpha * 255 * np.array(to_rgb(colour))
    return picture.round().astype(np.uint8)


def _panels(image, truth, prediction, title: str) -> tuple[np.ndarray, ...]:
    """Returns a row's four pictures, each uint8 ``(h, w)`` or ``(h, w, 3)``."""
    image, truth, prediction = (
        np.asarray(image),
        np.asarray(truth) != 0,
        np.asarray(prediction) != 0,
    )
    if image.ndim != 2 or truth.shape != image.shape or prediction.shape != image.shape:
        raise ValueError(
            f"image, truth and prediction of {title!r} must be of one shape (height, width). "
            f"Got {image.shape}, {truth.shape}, {prediction.shape}."
        )
    masks = (255 * truth.astype(np.uint8), 255 * prediction.astype(np.uint8))
    return image, *masks, overlay(image, truth, prediction)
