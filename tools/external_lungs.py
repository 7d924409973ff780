"""Scores lung models on X-rays of other hospitals, against outlines traced by eye.

Run by hand, from the project's root, where the images are at hand::

    python -m tools.external_lungs FOLDER [FOLDER ...] --run RUN [RUN ...]

It prints a table of the package's lung model and of each run, and each run's paired differences
from the package's model. The outlines are in external_lungs.json; docs/design/lung-model.md says
how they were made. Their images are COLLECTION/FILE or COLLECTION/images/FILE below a FOLDER.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from kerascxr.cli.start import start_tensorflow
from kerascxr.data.files import read_grey
from kerascxr.evaluation.comparison import difference
from kerascxr.evaluation.segmentation import evaluate
from kerascxr.evaluation.uncertainty import segmentation_metrics
from kerascxr.tables import markdown_table, with_interval

OUTLINES = Path(__file__).with_suffix(".json")
SIDE = 256  # pixels: of the outlines, and of the images as the models read them
MEASURES = ("dice", "hd95", "assd")
POOR = 0.85

Rows = list[dict[str, Any]]


def traced_mask(outlines: Sequence[Sequence[float]]) -> np.ndarray:
    """Draws a mask from outlines.

    Args:
        outlines: One polygon a lung: x, y, x, y and so on, in pixels of a 256x256 image.

    Returns:
        bool (256, 256).
    """
    drawn = Image.new("L", (2 * SIDE, 2 * SIDE))
    for outline in outlines:
        ImageDraw.Draw(drawn).polygon([2 * value for value in outline], fill=255)
    return np.asarray(drawn.resize((SIDE, SIDE), Image.Resampling.BOX)) >= 128


def find_images(folders: Sequence[Path], names: Sequence[str]) -> list[Path]:
    """Finds images named COLLECTION/FILE.

    Args:
        folders: Where the collections' folders are, or such a folder itself.
        names: The images.

    Raises:
        FileNotFoundError: If one of them is in no folder.
    """
    found = []
    for name in names:
        collection, file = name.split("/")
        places = [
            place / file
            for folder in folders
            for place in (
                folder / collection,
                folder / collection / "images",
                *([folder] if folder.name == collection else []),
            )
        ]
        path = next((path for path in places if path.is_file()), None)
        if path is None:
            raise FileNotFoundError(f"{name} must be in one of {', '.join(map(str, folders))}.")
        found.append(path)
    return found


def score(segmenter: Any, images: np.ndarray, names: Sequence[str], masks: np.ndarray) -> Rows:
    """Scores the masks of a ``Segmenter``, as they are used, against traced ones.

    Args:
        segmenter: The lung model.
        images: uint8 (n, 256, 256, 1).
        names: COLLECTION/FILE of each image.
        masks: Traced, bool (n, 256, 256).
    """
    batches = (images[begin : begin + 8] for begin in range(0, len(images), 8))
    found = (mask[..., 0] for batch in batches for mask in segmenter.masks(batch).numpy())
    rows, _ = evaluate(masks, found, ids=names)
    return [row | {"group": row["id"]} for row in rows]


def table(scored: dict[str, Rows]) -> str:
    """Returns the means of each model with intervals, and the Dice of each collection."""
    collections = list(
        dict.fromkeys(row["id"].split("/")[0] for row in next(iter(scored.values())))
    )
    lines = []
    for model, rows in scored.items():
        metrics = segmentation_metrics(rows)
        dice = np.array([row["dice"] for row in rows])
        where = np.array([row["id"].split("/")[0] for row in rows])
        distances = [row["hd95"] for row in rows if row["hd95"] is not None]
        lines.append(
            [model, len(rows), with_interval(metrics["dice"].value, metrics["dice"].interval)]
            + [float(np.median(dice)), int((dice < POOR).sum())]
            + [with_interval(metrics[name].value, metrics[name].interval) for name in MEASURES[1:]]
            + [float(np.median(distances)), *(float(dice[where == c].mean()) for c in collections)]
        )
    header = ["model", "n", "Dice", "median Dice", f"Dice below {POOR}", "HD95", "ASSD"]
    return markdown_table([*header, "median HD95", *(f"Dice, {c}" for c in collections)], lines)


def differences(first: Rows, others: dict[str, Rows]) -> str:
    """Returns the paired differences of each model from the first one, with intervals."""
    base, lines = segmentation_metrics(first), []
    for model, rows in others.items():
        metrics, line = segmentation_metrics(rows), [model]
        for name in MEASURES:
            found = difference(base[name], metrics[name], paired=True)
            line.append(
                "" if found is None else f"{found.value:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"
            )
        changes = np.array([b["dice"] - a["dice"] for a, b in zip(first, rows, strict=True)])
        line += [f"{np.median(changes):+.4f}", f"{(changes > 0).sum()} / {(changes < 0).sum()}"]
        lines.append(line)
    header = ["minus the package's model", *MEASURES, "median of dice", "better / worse in Dice"]
    return markdown_table(header, lines)


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path, help="that have the collections' images")
    parser.add_argument("--run", nargs="*", default=[], type=Path, help="segmentation runs")
    arguments = parser.parse_args()
    outlines = json.loads(OUTLINES.read_text(encoding="utf-8"))
    paths = find_images(arguments.folders, list(outlines))
    start_tensorflow()
    from kerascxr.data.images import resize_image
    from kerascxr.training.lungs import PACKAGED, load_segmenter

    images = np.stack(
        [resize_image(read_grey(path)[..., None], (SIDE, SIDE)).numpy() for path in paths]
    )
    masks = np.stack([traced_mask(polygons) for polygons in outlines.values()])
    scored = {
        "the package's" if run == PACKAGED else run.name: score(
            load_segmenter(run), images, list(outlines), masks
        )
        for run in [PACKAGED, *arguments.run]
    }
    print(table(scored))
    if arguments.run:
        first, *_ = scored.values()
        print("\n" + differences(first, dict(list(scored.items())[1:])))


if __name__ == "__main__":
    main()
