"""Times whole classification runs against plain Keras ``fit``, and prints the table of ratios.

Run by hand, from the project's root::

    python -m tools.benchmark --source PATH --weights efficientnetb0=FILE
    python -m tools.benchmark --source PATH --weights efficientnetb0=FILE --study --depths

The plain side is ``keras.Model.fit`` of the same model with the same optimizer, on images decoded
beforehand into memory, validated after each epoch. It trains for ``--plain-epochs``; the rest of
``--epochs`` is counted at the time that its epochs after the first took. Of a single epoch, what
its first steps took longer than the others, which is tracing, is left out. Our side is the command
itself, with an empty folder of features, and trains in full: on images as they are and without a
linear probe, as the plain side, unless ``--default-training`` is given. The two take turns, each in
a process of its own, so that whatever else the machine does hits both; the ratios hold on a busy
machine, the seconds only on an idle one.
"""

import argparse
import json
import re
import shutil
import statistics
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from kerascxr.training.processor import processor_name
from tests.support.measured_commands import measured

ROOT = Path(__file__).resolve().parent.parent
SAME_TRAINING = {"augmented_copies": "1", "linear_probe": "false"}
HEADER = ("backbone", "depth", "what", "plain fit", "ours", "ratio")


def plain_worker(settings: dict[str, Any]) -> None:
    """Trains the plain way; prints the seconds of each epoch and of its steps, and the accuracy."""
    sys.path.insert(0, str(ROOT))
    from kerascxr.cli.start import start_tensorflow

    start_tensorflow()
    import keras
    import numpy as np
    import tensorflow as tf

    from kerascxr.config import ClassificationConfig, DataConfig
    from kerascxr.data.images import to_backbone_input
    from kerascxr.data.ingest.store import open_store
    from kerascxr.data.sources.open import open_source
    from kerascxr.models.classifier import build_classifier, fine_tune
    from kerascxr.models.weights import load_weights
    from kerascxr.training.fitting import build_optimizer
    from kerascxr.training.inputs import read_splits
    from kerascxr.training.learner import _standardize_by_images

    config = ClassificationConfig(
        backbone=settings["backbone"],
        depth=settings["depth"],
        data=DataConfig(source=settings["source"], stores=Path(settings["stores"])),
    )
    source = open_source(config.data.source, phantom_images=0, phantom_seed=0)
    store = open_store(source, config.data.stores)
    splits = read_splits(config, store)
    keras.utils.set_random_seed(0)
    model = build_classifier(config.backbone, len(store.classes))
    load_weights(model, config.backbone, settings["weights"])
    fine_tune(model, config.depth, update_statistics=True)
    _standardize_by_images(model, splits["train"], config)

    def batches(name: str, shuffle: bool) -> tf.data.Dataset:
        images = splits[name]
        rows = tf.data.Dataset.from_tensor_slices((images.pixels, images.labels))
        if shuffle:
            rows = rows.shuffle(len(images), seed=0)
        rows = rows.batch(config.batch_size)
        return rows.map(
            lambda pixels, label: (
                to_backbone_input(pixels),
                tf.one_hot(label, len(store.classes)),
            ),
            num_parallel_calls=tf.data.AUTOTUNE,
        ).prefetch(tf.data.AUTOTUNE)

    steps = -(-len(splits["train"]) // config.batch_size)
    model.compile(
        optimizer=build_optimizer(config.optimizer, settings["epochs"], steps),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
        jit_compile=False,
    )
    seconds: list[float] = []
    parts: dict[str, list[float]] = {"train": [], "test": []}  # of the steps

    class Clock(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.started = self.last = time.perf_counter()

        def on_train_batch_end(self, batch, logs=None):
            self.count("train")

        def on_test_begin(self, logs=None):
            self.last = time.perf_counter()

        def on_test_batch_end(self, batch, logs=None):
            self.count("test")

        def count(self, part):
            now = time.perf_counter()
            parts[part].append(now - self.last)
            self.last = now

        def on_epoch_end(self, epoch, logs=None):
            seconds.append(time.perf_counter() - self.started)

    model.fit(
        batches("train", True),
        validation_data=batches("validation", False),
        epochs=settings["plain_epochs"],
        callbacks=[Clock()],
        verbose=0,
    )
    accuracy = np.asarray(model.evaluate(batches("test", False), verbose=0))[1]
    found = {"epochs": seconds, "parts": parts, "accuracy": float(accuracy)}
    print(json.dumps(found))


def epoch_seconds(epochs: list[float], parts: dict[str, list[float]]) -> float:
    """Returns the seconds of an epoch once everything is traced.

    Args:
        epochs: The seconds of each epoch.
        parts: The seconds of the steps, of training and of validation, each traced at its first.
    """
    if len(epochs) > 1:
        return statistics.fmean(epochs[1:])
    tracing = [steps[0] - statistics.fmean(steps[1:]) for steps in parts.values() if len(steps) > 1]
    return epochs[0] - sum(max(0.0, seconds) for seconds in tracing)


def run_plain(settings: dict[str, Any], work: Path) -> dict[str, float]:
    """Returns seconds of an epoch and of a whole run, and the peak bytes, of the plain side."""
    command = [sys.executable, "-m", "tools.benchmark", "--worker", json.dumps(settings)]
    taken = measured(command, work / "plain.txt")
    lines = (work / "plain.txt").read_text(encoding="utf-8").splitlines()
    given = json.loads(next(line for line in reversed(lines) if line.startswith("{")))
    epoch = epoch_seconds(given["epochs"], given["parts"])
    missing = settings["epochs"] - len(given["epochs"])
    return {"epoch": epoch, "whole": taken["wall"] + missing * epoch, "peak": taken["peak"]}


def run_ours(settings: dict[str, Any], work: Path) -> dict[str, float]:
    """Returns the same of the command, with its features computed on the way."""
    features = work / "features"
    shutil.rmtree(features, ignore_errors=True)
    command = [sys.executable, "train_cls.py", "--name", "ours", "--overwrite", "true"]
    for key in ("backbone", "depth", "weights", "epochs"):
        command += [f"--{key}", str(settings[key])]
    for key, value in settings["training"].items():
        command += [f"--{key}", value]
    command += ["--patience", str(settings["epochs"])]
    command += ["--data.source", settings["source"], "--data.stores", settings["stores"]]
    command += ["--data.features", str(features), "--runs", str(work)]
    taken = measured(command, work / "log.txt")
    run = work / "classification" / "ours"
    log = (run / "log.txt").read_text(encoding="utf-8")
    ends = [
        datetime.fromisoformat(stamp).timestamp()
        for stamp in re.findall(r"^(\S+ \S+)  epoch \d+/", log, re.MULTILINE)
    ]
    later = json.loads((run / "history.json").read_text(encoding="utf-8"))[1:]
    # The log's times include checkpoints, but are whole seconds.
    whole = max(ends[-1] - ends[0], sum(row["seconds"] for row in later))
    return {"epoch": whole / len(later), "whole": taken["wall"], "peak": taken["peak"]}


def run_study(
    arguments: argparse.Namespace, training: dict[str, str], stores: Path, work: Path
) -> float:
    """Returns the wall seconds of the same classifiers by the study command."""
    command = [sys.executable, "-m", "kerascxr", "study", "--segmentation", "false"]
    command += ["--data.source", arguments.source, "--data.stores", str(stores)]
    command += ["--data.features", str(work / "study-features"), "--runs", str(work / "study")]
    command += ["--classifier.epochs", str(arguments.epochs)]
    command += ["--classifier.patience", str(arguments.epochs)]
    for key, value in training.items():
        command += [f"--classifier.{key}", value]
    command += ["--backbones", ",".join(arguments.backbones)]
    if arguments.depths:
        command += ["--depths", ",".join(map(str, arguments.depths))]
    for name in arguments.backbones:
        command += [f"--weights.{name}", arguments.weights.get(name, "none")]
    return measured(command, work / "study.txt")["wall"]


def main() -> None:
    """Runs both sides and prints the table as Markdown, a line as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--source", help="a source with classes")
    parser.add_argument("--weights", action="append", default=[], metavar="BACKBONE=WEIGHTS")
    parser.add_argument("--backbones", nargs="+", default=["efficientnetb0", "shufflenetv2"])
    parser.add_argument("--depths", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--plain-epochs", type=int, default=3)
    parser.add_argument("--study", action="store_true", help="also time the whole study command")
    parser.add_argument(
        "--default-training",
        action="store_true",
        help="our side also trains on augmented copies, with a linear probe, as it does by default",
    )
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        plain_worker(json.loads(arguments.worker))
        return
    if not arguments.source:
        parser.error("--source must name a source with classes")
    if arguments.plain_epochs < 1 or arguments.epochs < 2:
        parser.error("--plain-epochs must be at least 1, and --epochs at least 2")
    training = {} if arguments.default_training else SAME_TRAINING
    arguments.weights = dict(item.split("=", 1) for item in arguments.weights)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        stores = work / "stores"
        ingest = [sys.executable, "-m", "kerascxr", "data", "--source", arguments.source]
        measured([*ingest, "--stores", str(stores)], work / "log.txt")
        print(f"{processor_name()}, {datetime.now():%Y-%m-%d %H:%M}.\n")
        print("| " + " | ".join(HEADER) + " |\n|---|---|---|---:|---:|---:|", flush=True)
        plain_total = 0.0
        for backbone in arguments.backbones:
            for depth in arguments.depths:
                settings = {
                    "backbone": backbone,
                    "depth": depth,
                    "weights": arguments.weights.get(backbone, "none"),
                    "source": arguments.source,
                    "stores": str(stores),
                    "epochs": arguments.epochs,
                    "plain_epochs": arguments.plain_epochs,
                    "training": training,
                }
                plain, ours = run_plain(settings, work), run_ours(settings, work)
                plain_total += plain["whole"]
                for what, key, scale, unit in (
                    ("one epoch", "epoch", 1, "s"),
                    (f"a run of {arguments.epochs} epochs", "whole", 1, "s"),
                    ("peak memory", "peak", 2**-30, "GiB"),
                ):
                    print(
                        f"| {backbone} | {depth} | {what} | {plain[key] * scale:.2f} {unit} | "
                        f"{ours[key] * scale:.2f} {unit} | {plain[key] / ours[key]:.1f} |",
                        flush=True,
                    )
        if arguments.study:
            seconds = run_study(arguments, training, stores, work)
            print(
                f"| all | all | the study's classifiers | {plain_total:.0f} s | {seconds:.0f} s | "
                f"{plain_total / seconds:.1f} |"
            )


if __name__ == "__main__":
    main()
