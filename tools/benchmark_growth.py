"""Measures how time and memory grow with the number of images, and fits a law to it.

Run by hand, from the project's root::

    python -m tools.benchmark_growth --source PATH --work FOLDER
    python -m tools.benchmark_growth --source PATH --work FOLDER --sizes 1000 5000 --stages ingest

The images are made of the source's, as ``tools.benchmark_audit`` makes them; a smaller set is the
beginning of the largest. Each stage of each size runs in a process of its own: the ingest, with the
search for near-duplicates; the features of training and validation images as they are, decoding
included; a training on these features, of which an epoch is an epoch after the first and the run
all of it, the test and its figures included; and the report of that run. Time is wall and CPU
seconds. Peak memory is that of the process and its children together. CPU seconds and memory hold
on a busy machine, wall seconds only on an idle one.

What was measured is kept in ``--work`` and not measured again, so a command that was stopped
continues, and sizes can be added. The law of a quantity is ``constant + factor * images ** power``:
least squares of relative errors. A constant takes three sizes; two give a factor and a power.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from kerascxr.runs.atomic import write_json
from kerascxr.tables import markdown_table
from kerascxr.training.processor import processor_name
from tests.support.growth_laws import FAR, GIB, Measurements, draw, first_limits, laws
from tests.support.measured_commands import measured

ROOT = Path(__file__).resolve().parent.parent
SIZES = (1_000, 5_000, 21_165, 100_000)
STAGES = ("ingest", "features", "epoch", "report")
HEADER = ("images", "stage", "wall s", "CPU s", "peak memory, GiB", "on disk, GiB")

_EPOCHS = 3
_OF_INTEREST = 1_000 * FAR  # a law hardly grows that reaches a limit beyond


def feature_worker(options: Mapping[str, Any]) -> None:
    """Computes the features of training and validation images, as a training does."""
    from kerascxr.cli.start import start_tensorflow

    start_tensorflow()
    import keras

    from kerascxr.config import ClassificationConfig, DataConfig
    from kerascxr.models.classifier import build_classifier, fine_tune
    from kerascxr.models.weights import load_weights
    from kerascxr.training.engines import likely_engine
    from kerascxr.training.feature_files import FeatureFolder
    from kerascxr.training.features import BackboneFeatures
    from kerascxr.training.inputs import open_data, read_splits

    data = DataConfig(
        source=options["source"],
        stores=Path(options["stores"]),
        features=Path(options["features"]),
        features_gb=10_000,
    )
    config = ClassificationConfig(backbone=options["backbone"], depth=options["depth"], data=data)
    store = open_data(data)
    splits = read_splits(config, store)
    keras.utils.set_random_seed(0)
    model = build_classifier(config.backbone, len(store.classes), dropout=config.dropout)
    load_weights(model, config.backbone, options["weights"])
    fine_tune(model, config.depth, update_statistics=True)
    features = BackboneFeatures(
        model, config.depth, FeatureFolder.of(data), engine=likely_engine("auto")
    )
    features.engine_for(splits["validation"])
    for name in ("train", "validation"):
        features.of(splits[name])


def training_worker(argv: Sequence[str], to: str) -> None:
    """Runs the training command; writes the wall and CPU seconds of each epoch to a file."""
    import train_cls
    from kerascxr.training.callbacks import Progress

    epochs: list[dict[str, float]] = []
    begun, ended = Progress.on_epoch_begin, Progress.on_epoch_end

    def begin(self: Progress, epoch: int, logs: dict | None = None) -> None:
        epochs.append({"wall": time.perf_counter(), "cpu": time.process_time()})
        begun(self, epoch, logs)

    def end(self: Progress, epoch: int, logs: dict | None = None) -> None:
        epochs[-1] = {
            "wall": time.perf_counter() - epochs[-1]["wall"],
            "cpu": time.process_time() - epochs[-1]["cpu"],
        }
        ended(self, epoch, logs)

    Progress.on_epoch_begin, Progress.on_epoch_end = begin, end  # type: ignore[method-assign]
    status = train_cls.main(argv)
    Path(to).write_text(json.dumps(epochs))
    raise SystemExit(status)


def make_images(source: str, images: int, folder: Path) -> None:
    """Makes the largest set, unless it is there."""
    from tests.support.made_sets import make_set

    if not folder.exists():
        begun = folder.with_name("begun")
        shutil.rmtree(begun, ignore_errors=True)  # of a command that was stopped
        make_set(source, images, begun)
        begun.rename(folder)


def beginning(folder: Path, images: int, to: Path) -> Path:
    """Returns a folder of the first images of a larger set, linked."""
    for path in sorted(folder.rglob("*.png")):
        if int(path.stem) < images:
            link = to / path.parent.name / path.name
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.exists():
                os.link(path, link)
    return to


def measure_stage(stage: str, place: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Measures a stage on a size; returns rows of the table by their names.

    Args:
        stage: One of ``STAGES``; those before it have been measured.
        place: The folder of the size, with ``images``.
        options: From the command line.
    """
    python = [sys.executable, "-m"]
    images, stores, features, runs = (
        str(place / name) for name in ("images", "stores", "features", "runs")
    )
    run = partial(measured, log=place / f"{stage}.txt")
    if stage == "ingest":
        command = [*python, "kerascxr", "data", images, "--stores", stores]
        return {stage: run(command) | {"disk": _bytes_in(Path(stores))}}
    settings = {"source": images, "stores": stores, "features": features}
    settings |= {key: getattr(options, key) for key in ("backbone", "depth", "weights")}
    worker = [*python, "tools.benchmark_growth", "--worker"]
    if stage == "features":
        found = run([*worker, json.dumps(settings)])
        return {stage: found | {"disk": _bytes_in(Path(features))}}
    if stage == "report":
        command = [*python, "kerascxr", "report", f"{runs}/classification/run"]
        return {stage: run([*command, "--to", str(place / "report")])}
    argv = [f"--{key}={settings[key]}" for key in ("backbone", "depth", "weights")]
    argv += [f"--data.{key}={settings[key]}" for key in ("source", "stores", "features")]
    argv += [f"--epochs={_EPOCHS}", f"--patience={_EPOCHS}", "--augmented_copies=1"]
    argv += ["--data.features_gb=10000", "--linear_probe=false", "--runtime.tensorboard=false"]
    argv += [f"--runs={runs}", "--name=run", "--overwrite=true"]
    before = _bytes_in(Path(features))
    whole = run([*worker, json.dumps({"argv": argv, "to": str(place / "epochs.json")})])
    if _bytes_in(Path(features)) != before:
        raise SystemExit("The features of the training must be those of the stage before it.")
    later = json.loads((place / "epochs.json").read_text())[1:]
    epoch = {key: float(np.median([one[key] for one in later])) for key in ("wall", "cpu")}
    return {"epoch": epoch | {"peak": whole["peak"]}, "run": whole}


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def show(found: Measurements) -> None:
    """Prints the tables of measurements, of laws and of limits."""
    cells = [
        [
            f"{size:,}",
            stage,
            f"{row['wall']:.1f}",
            f"{row['cpu']:.1f}",
            f"{row['peak'] / GIB:.2f}",
            f"{row['disk'] / GIB:.2f}" if "disk" in row else "",
        ]
        for size, rows in sorted(found.items())
        for stage, row in rows.items()
    ]
    print(markdown_table(HEADER, cells) + "\n")
    cells = []
    names = {"wall": (1.0, "wall s"), "cpu": (1.0, "CPU s"), "peak": (GIB, "peak memory, GiB")}
    for quantity, (unit, name) in (names | {"disk": (GIB, "on disk, GiB")}).items():
        for stage, law in laws(found, quantity).items():
            parts = [f"{part / unit:.3g}" for part in (law.constant, law.factor)]
            cells.append([name, stage, *parts, f"{law.power:.2f}", f"{law(FAR) / unit:,.0f}"])
    if not cells:
        print("A law takes two sizes or more.")
        return
    print(markdown_table(("quantity", "stage", "constant", "factor", "power", f"{FAR:,}"), cells))
    from kerascxr.config import ClassificationConfig, DataConfig

    memory, disk = psutil.virtual_memory().total, psutil.disk_usage(str(ROOT)).free
    versions = ClassificationConfig().augmented_copies
    limits = first_limits(found, memory, disk, DataConfig().features_gb, versions)
    print(f"\nExtrapolated, on this machine, from at most {max(found):,} images:\n")
    for images, what in limits:
        if images < _OF_INTEREST:
            print(f"- from {images:,.0f} images on, {what}")
    if limits and limits[0][0] < FAR:
        print(f"\nOn the way to {FAR:,} images, this breaks first: {limits[0][1]}.")


def main() -> None:
    """Measures what is missing, and prints and draws all that was measured."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--source", help="a source with classes, of which images are made")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--backbone", default="efficientnetb0")
    parser.add_argument("--depth", type=int, default=1)
    parser.add_argument("--weights", default="drawn", help="starting weights, as of train-cls")
    parser.add_argument("--work", type=Path, help="a folder that keeps images and measurements")
    parser.add_argument("--figure", type=Path, help="the PNG to draw, as docs/images/growth.png")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        asked = json.loads(options.worker)
        training_worker(**asked) if "argv" in asked else feature_worker(asked)
        return
    if not options.source:
        parser.error("--source must name a source with classes")
    work = (options.work or Path(tempfile.mkdtemp(prefix="growth-"))).resolve()
    work.mkdir(parents=True, exist_ok=True)
    known = work / "measured.json"
    kept = json.loads(known.read_text()) if known.exists() else {}
    found = {int(size): rows for size, rows in kept.items()}
    print(f"{processor_name()}. Images and measurements are in {work}.\n", flush=True)
    for size in sorted(options.sizes):
        place = work / str(size)
        for stage in STAGES:
            if stage in options.stages and stage not in found.get(size, {}):
                largest = work / f"made-{max(options.sizes)}"
                make_images(options.source, max(options.sizes), largest)
                beginning(largest, size, place / "images")
                found.setdefault(size, {}).update(measure_stage(stage, place, options))
                write_json(known, found)
    show(found)
    if options.figure:
        draw(found, options.figure)


if __name__ == "__main__":
    main()
