r"""Draws the README's picture: a test image of a run, its lung mask, its Grad-CAM and the answer.

Run by hand, from the project's root, after a training on drawn images::

    kerascxr train-cls --backbone efficientnetb0 --depth 2 --weights drawn --data.source phantom \
        --data.phantom_images 600 --epochs 12 --augmented_copies 1 --name drawn
    python -m tools.readme_picture runs/classification/drawn

The image is the test image of ``--label`` that the run predicts correctly with the median
probability. The mask is that of the lung model that comes with kerascxr.
"""

import argparse
import io
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from kerascxr.cli.start import start_tensorflow
from kerascxr.config import ClassificationConfig
from kerascxr.parsing import load_config
from kerascxr.plots.heat import heat_overlay
from kerascxr.plots.overlay import overlay
from kerascxr.plots.style import BLUE, GREY, house_style, save
from kerascxr.runs.reading import read_predictions, read_run


def choose(rows: list[dict[str, str]], label: str) -> dict[str, str]:
    """Returns the row of the correctly predicted image with the median probability.

    Args:
        rows: The rows of ``predictions.csv``.
        label: The class.

    Raises:
        SystemExit: If no image of the class is predicted correctly.
    """
    right = [row for row in rows if row["truth"] == row["predicted"] == label]
    if not right:
        raise SystemExit(f"The run predicts no image of {label!r} correctly.")
    right.sort(key=lambda row: float(row[f"probability {label}"]))
    return right[len(right) // 2]


def draw(
    image: np.ndarray,
    mask: np.ndarray,
    heat: np.ndarray,
    probabilities: dict[str, float],
    path: Path,
) -> None:
    """Draws the four parts side by side.

    Args:
        image: uint8 (h, w), 0..255.
        mask: bool (h, w), true inside the lungs.
        heat: float (h, w), 0..1.
        probabilities: Class -> calibrated probability.
        path: The WebP file to write: the pictures' grain would make a PNG of twice the size.
    """
    with house_style():
        figure = Figure(figsize=(8, 2.2), layout="constrained")
        *pictures, answer = figure.subplots(1, 4, width_ratios=(1, 1, 1, 1.1))
        parts = (
            ("Drawn X-ray", np.repeat(image[..., None], 3, axis=2)),
            ("Lung mask", overlay(image, mask)),
            ("Grad-CAM", heat_overlay(image, heat)),
        )
        for axes, (title, part) in zip(pictures, parts, strict=True):
            axes.imshow(part)
            axes.set_title(title)
            axes.axis("off")
        names = list(probabilities)
        largest = max(names, key=probabilities.__getitem__)
        colours = [BLUE if name == largest else GREY for name in names]
        bars = answer.barh(names, list(probabilities.values()), color=colours)
        answer.bar_label(bars, fmt="%.2f", padding=2, fontsize=7)
        answer.set_xlim(0, 1.15)
        answer.set_xticks([0, 0.5, 1])
        answer.invert_yaxis()
        answer.grid(axis="y", visible=False)
        answer.set_title(f"Answer: {largest}")
        answer.set_xlabel("calibrated probability")
        png = io.BytesIO()
        save(figure, png)
    Image.open(png).convert("RGB").save(path, quality=85, method=6)


def main() -> None:
    """Chooses the image, computes the parts and writes the picture."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path, help="a classification run on drawn images")
    parser.add_argument("--label", default="COVID", help="the image's class")
    parser.add_argument("--to", type=Path, default=Path("docs/images/example.webp"))
    arguments = parser.parse_args()
    run = read_run(arguments.run, "classification")
    row = choose(read_predictions(run.path / "predictions.csv"), arguments.label)
    start_tensorflow()
    from kerascxr.data.images import resize_image
    from kerascxr.models.gradcam import GradCAM
    from kerascxr.models.lung_model import load_lung_segmenter
    from kerascxr.models.saved import load_saved
    from kerascxr.training.inputs import open_run_store, read_splits

    config = load_config(ClassificationConfig, run.path / "config.yaml")
    images = read_splits(config, open_run_store(run, config.data))["test"]
    pixels = images.pixels[images.ids.index(row["id"])][..., :1]
    segmenter = load_lung_segmenter()
    found = segmenter.probabilities(resize_image(pixels, segmenter.size)[None])
    mask = segmenter.mask_at(segmenter.of_lungs(found)[0], pixels.shape[:2])
    batch = np.repeat(pixels[None].astype(np.float32), 3, axis=-1)
    label = images.classes.index(row["predicted"])
    heat = GradCAM(load_saved(run.path / "model.keras"))(batch, np.array([label]))[0]
    probabilities = {name: float(row[f"probability {name}"]) for name in images.classes}
    arguments.to.parent.mkdir(parents=True, exist_ok=True)
    draw(pixels[..., 0], mask.numpy()[..., 0] > 0, heat, probabilities, arguments.to)
    print(f"{row['id']}: {arguments.to}, {arguments.to.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
