"""Packs a trained U-Net as the lung model that comes with the package.

Run by hand, from the project's root, where the run's images are at hand::

    python -m tools.pack_lung_model RUN --data TEXT --licence TEXT --command COMMAND

The stored weights are float16. They are tested on the run's test images, and nothing is written
unless their mean Dice is within 0.0005 of the run's. Results of ``kerascxr evaluate RUN`` on other
sets become rows of the card, and so does a cross-validation of the same training on the same images
(``--folds FOLDER``), which tests more of them than a run that trains on nearly all.
"""

import argparse
import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

from kerascxr import __version__
from kerascxr.cli.start import start_tensorflow
from kerascxr.config import SegmentationConfig
from kerascxr.evaluation.segmentation import score_image, summarise
from kerascxr.evaluation.uncertainty import segmentation_intervals
from kerascxr.parsing import load_config
from kerascxr.runs.reading import Run, read_run

TOLERANCE = 0.0005
NOT_TRAINING = {"data", "folds", "name", "overwrite", "patience", "runs", "save_masks", "seeds"}
NOT_TRAINING |= {"split"}
LIMITS = (
    "Not a medical device: not validated for diagnosis or treatment.",
    "Trained on frontal X-rays of adults from one hospital. Other views, children, other devices "
    "and other annotation habits give worse masks; measure on images of your own.",
    "Large consolidations, effusions, a collapsed lung or a missing lung lead to masks that leave "
    "out what is opaque, or that fill in what is not there. Look at the overlays.",
    "The region behind the heart and below the diaphragm is not part of the masks.",
    "Which lung is the right one is taken from its place: the image is assumed not to be mirrored.",
)


def score(segmenter: Any, run: Run, config: SegmentationConfig) -> dict[str, Any]:
    """Tests a ``Segmenter`` on a run's test images."""
    from kerascxr.training.inputs import open_run_store, read_splits
    from tests.support.predicted_masks import masks_and_references

    images = read_splits(config, open_run_store(run, config.data), masks=True)["test"]
    rows = []
    for index, truth, mask in masks_and_references(segmenter, images, config.batch_size):
        named = {"id": images.ids[index], "group": images.groups[index]}
        rows.append(named | score_image(truth, mask))
    return summarise(rows) | {"intervals": segmentation_intervals(rows)}


def external_results(run: Run) -> dict[str, Any]:
    """Returns what ``kerascxr evaluate`` found on other sets with the run's float32 weights."""
    found = {}
    for path in sorted((run.path / "external").glob("*/metrics.json")):
        metrics = json.loads(path.read_text(encoding="utf-8"))
        found[f"{metrics['data']['source'].rpartition('-')[0]} (float32)"] = metrics["test"]
    return found


def cross_validation(path: Path, config: SegmentationConfig, run: Run) -> dict[str, Any]:
    """Returns the pooled results of a cross-validation that differs from a run in its split alone.

    Args:
        path: The folder of a finished run with ``--folds``.
        config: The run's config.
        run: The run.

    Raises:
        ValueError: If the training or the images differ.
    """
    summary = json.loads((path / "summary.json").read_text(encoding="utf-8"))
    other = load_config(SegmentationConfig, path / "config.yaml")
    trained = {item.name for item in dataclasses.fields(config)} - NOT_TRAINING
    differing = sorted(name for name in trained if getattr(other, name) != getattr(config, name))
    if summary["data"]["fingerprint"] != run.metrics["data"]["fingerprint"]:
        differing.append("data")
    if differing:
        raise ValueError(f"{path} must be of the run's own training. Got another {differing}.")
    return {f"cross-validation, {other.folds} folds (float32)": summary["pooled"]}


def training_config(config: SegmentationConfig) -> dict[str, Any]:
    """Returns the config without what is only true on the machine of its training."""
    values = json.loads(json.dumps(dataclasses.asdict(config), default=str))
    for name in ("runs", "overwrite", "name"):
        del values[name]
    values["data"] = {"source": Path(config.data.source).name}
    return values


def main() -> None:
    """Writes the lung model's folder."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path, help="a finished segmentation run")
    parser.add_argument("--data", required=True, help="what the images are and where they are from")
    parser.add_argument("--licence", required=True, help="of the images and of the masks")
    parser.add_argument("--command", required=True, help="that trains the run")
    parser.add_argument("--folds", type=Path, help="a cross-validation of the same training")
    parser.add_argument("--to", type=Path, help="by default the package's folder of it")
    arguments = parser.parse_args()
    start_tensorflow()
    from kerascxr.models import lung_model
    from kerascxr.models.parameters import parameter_summary
    from kerascxr.models.saved import load_saved

    to = arguments.to or lung_model.FOLDER
    run = read_run(arguments.run, "segmentation")
    config = load_config(SegmentationConfig, run.path / "config.yaml")
    model = load_saved(run.path / "model.keras")
    card: dict[str, Any] = {
        "title": run.metrics["title"],
        "version": __version__,
        "parameters": parameter_summary(model)["total"],
        "input": "x".join(map(str, config.image_size)) + " pixels, 0..255",
        "threshold": run.metrics["threshold"],
        "data": arguments.data,
        "licence": arguments.licence,
        "images": run.metrics["data"]["images"],
        "fingerprint": run.metrics["data"]["fingerprint"],
        "command": arguments.command,
        "results": {},
        "limits": LIMITS,
    }
    with tempfile.TemporaryDirectory() as folder:
        lung_model.write_lung_model(Path(folder), model, training_config(config), card)
        packed = lung_model.load_lung_segmenter(Path(folder))
        result = score(packed, run, config)
    change = result["dice"] - run.metrics["test"]["dice"]
    print(f"Dice of the run's test images: {result['dice']:.5f}, {change:+.5f} by float16 weights.")
    if abs(change) > TOLERANCE:
        raise SystemExit(f"The Dice must change by at most {TOLERANCE}. Nothing was written.")
    card["results"] = {"the run's test": result} | external_results(run)
    if arguments.folds:
        card["results"] |= cross_validation(arguments.folds, config, run)
    lung_model.write_lung_model(to, packed.model, training_config(config), card)
    size = (to / lung_model.WEIGHTS).stat().st_size / 1e6
    print(f"Written to {to}: {size:.1f} MB of weights.")


if __name__ == "__main__":
    main()
