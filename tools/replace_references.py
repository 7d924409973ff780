"""Replaces reference masks that a trained U-Net contradicts by the U-Net's own, in a copy.

Run by hand, from the project's root, where the run's images are at hand::

    python -m tools.replace_references RUN --below 0.924 --to FOLDER

Only masks of the run's training and validation images are replaced, so a training on FOLDER with
the same split is tested on the references as they were. The source must be a folder with images/
and masks/, as ``python train_seg.py --data.source`` reads it. docs/design/lung-model.md says when
this helps. Nothing is written unless every mask that must be replaced was found.
"""

import argparse
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from kerascxr.cli.start import start_tensorflow
from kerascxr.config import SegmentationConfig
from kerascxr.evaluation.segmentation import score_image
from kerascxr.parsing import load_config
from kerascxr.runs.reading import Run, read_run
from kerascxr.tables import markdown_table


def contradicted(
    segmenter: Any, run: Run, config: SegmentationConfig, below: float
) -> Iterator[tuple[str, str, float, np.ndarray]]:
    """Finds the references of a run's training and validation images that its U-Net contradicts.

    Args:
        segmenter: A ``Segmenter`` of the run.
        run: The run.
        config: The run's config.
        below: The Dice of reference and mask below which the U-Net contradicts, 0..1.

    Yields:
        The split, the image's id, that Dice, and the U-Net's mask, uint8 (h, w), 0 or 255.
    """
    from kerascxr.training.inputs import open_run_store, read_splits
    from tests.support.predicted_masks import masks_and_references

    splits = read_splits(config, open_run_store(run, config.data), masks=True)
    for split in ("train", "validation"):
        images = splits[split]
        for index, reference, mask in masks_and_references(segmenter, images, config.batch_size):
            dice = score_image(reference, mask)["dice"]
            if dice < below:
                yield split, images.ids[index], dice, mask


def replace_masks(source: Path, masks: dict[str, np.ndarray], to: Path) -> None:
    """Copies a folder of pairs, with other masks for some images.

    Args:
        source: A folder with images/ and masks/.
        masks: Masks by the image's id, uint8 (h, w); each is resized to that of the mask that it
            replaces, to the nearest pixel.
        to: The folder to write.

    Raises:
        ValueError: If there is no mask to replace, or ``to`` exists.
    """
    if to.exists():
        raise ValueError(f"--to must be a new folder. Got {to}.")
    files = {path.stem: path for path in sorted((source / "masks").glob("*.png"))}
    if missing := sorted(masks.keys() - files.keys()):
        raise ValueError(
            f"{source / 'masks'} must have ID.png for each mask to replace. Missing: {missing}."
        )
    to.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=to.parent) as scratch:
        folder = Path(scratch) / "pairs"
        for name in ("images", "masks"):
            shutil.copytree(source / name, folder / name)
        for image, mask in masks.items():
            with Image.open(files[image]) as reference:
                size = reference.size
            shown = Image.fromarray(mask).resize(size, Image.Resampling.NEAREST)
            shown.save(folder / "masks" / files[image].name)
        folder.rename(to)


def main() -> None:
    """Writes the copy, and prints which masks were replaced."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path, help="a finished segmentation run")
    parser.add_argument("--below", type=float, required=True, help="Dice, 0..1")
    parser.add_argument("--to", type=Path, required=True, help="the folder to write")
    arguments = parser.parse_args()
    start_tensorflow()
    from kerascxr.training.lungs import load_segmenter

    run = read_run(arguments.run, "segmentation")
    config = load_config(SegmentationConfig, run.path / "config.yaml")
    found = list(contradicted(load_segmenter(run.path), run, config, arguments.below))
    masks = {image: mask for _, image, _, mask in found}
    replace_masks(Path(config.data.source), masks, arguments.to)
    print(markdown_table(["split", "id", "Dice"], [[*row[:2], f"{row[2]:.3f}"] for row in found]))
    print(f"{len(found)} masks replaced, in {arguments.to}.")


if __name__ == "__main__":
    main()
