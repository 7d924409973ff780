"""Measures a GPU: both tasks in each precision, with XLA and without, in ten minutes at most.

Run by hand, from the project's root, on a machine with one NVIDIA GPU::

    python -m tools.gpu_check
    python -m tools.gpu_check --minutes 5 --batch 64

It prints, in Markdown: images a second and peak memory of training steps, and how far their losses
are from those of a CPU in float32; from how many epochs on cached features pay; and whether a run
that a CPU began is resumed on the GPU. What the time is too short for is named.
"""

import argparse
import csv
import dataclasses
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.support.training_steps import Size, TrainingStep

ROOT = Path(__file__).resolve().parent.parent
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
MODELS = {
    "classifier, depth all": "efficientnetb0:all",
    "classifier, depth 2 on features": "efficientnetb0:2",
    "U-Net": "unet",
}
LOSSES = 3
"""Steps whose losses are compared."""

_NO_GPU = {"CUDA_VISIBLE_DEVICES": "-1"}
_RUN = ["--backbone", "shufflenetv2", "--depth", "1", "--weights", "drawn", "--patience", "9"]
_RUN += ["--data.phantom_images", "240", "--epochs", "6", "--augmented_copies", "1"]
_RUN += ["--runtime.checkpoint_seconds", "0", "--runtime.tensorboard", "false", "--name", "run"]


def training_step(model: str, precision: str, xla: bool, size: "Size") -> "TrainingStep":
    """Returns a training step of a fixed seed, without random layers.

    Args:
        model: One of ``MODELS``.
        precision: The Keras dtype policy of the training step.
        xla: Whether XLA compiles it.
        size: The size of the step.
    """
    import keras

    from tests.support.training_steps import TrainingStep

    keras.utils.clear_session()
    keras.utils.set_random_seed(0)
    optimizer = keras.optimizers.AdamW(1e-4)
    return TrainingStep(MODELS[model], precision, size, optimizer, xla=xla, random_layers=False)


def losses_of(step: "TrainingStep") -> list[float]:
    """Returns the losses of the first steps."""
    return [step.first_loss, *(step() for _ in range(LOSSES - 1))]


def measure(model: str, precision: str, xla: bool, size: "Size", seconds: float) -> dict[str, Any]:
    """Trains for some seconds; returns images a second, peak bytes (None on a CPU) and losses."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        tf.config.experimental.reset_memory_stats("GPU:0")
    step = training_step(model, precision, xla, size)
    losses = losses_of(step)
    steps, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds or not steps:
        step()
        steps += 1
    rate = steps * size.batch / (time.perf_counter() - start)
    peak = tf.config.experimental.get_memory_info("GPU:0")["peak"] if gpus else None
    return {"images/s": rate, "peak": peak, "losses": losses}


def on_cpu(model: str, size: "Size") -> list[float]:
    """Returns the losses of a CPU in float32, computed in another process."""
    question = json.dumps({"model": model, "size": dataclasses.asdict(size)})
    command = [sys.executable, "-m", "tools.gpu_check", "--worker", question]
    environment = os.environ | _NO_GPU
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    losses: list[float] = json.loads(done.stdout.splitlines()[-1])
    return losses


def difference(losses: list[float], expected: list[float]) -> float:
    """Returns the largest difference, relative to the largest loss; infinite if one is NaN."""
    pairs = zip(losses, expected, strict=True)
    found = [abs(one - other) / max(expected) for one, other in pairs]
    return max(found) if all(map(math.isfinite, found)) else math.inf


def epochs_to_pay(image: float, step: float, features: float) -> int | None:
    """Returns from how many epochs on computing features first takes less time than not to.

    Args:
        image: Seconds of a training step on an image, the frozen part included.
        step: Seconds of one on its features.
        features: Seconds to compute them.

    Returns:
        None if it never does.
    """
    return math.floor(features / (image - step)) + 1 if image > step else None


def feature_times(size: "Size", seconds: float) -> tuple[float, float, float]:
    """Returns the arguments of ``epochs_to_pay`` for EfficientNetB0 at depth 2, in float32."""
    import keras
    import tensorflow as tf

    from kerascxr.models.classifier import build_classifier, fine_tune, split_at_depth

    keras.utils.clear_session()
    side = size.image
    model = build_classifier("efficientnetb0", 4, image_size=(side, side))
    fine_tune(model, 2)
    frozen, rest = split_at_depth(model, 2)
    x = tf.random.uniform((size.batch, side, side, 3), 0, 255)
    y = tf.one_hot(tf.zeros(size.batch, tf.int32), 4)
    features = frozen.predict_on_batch(x)
    for trained in (model, rest):
        loss = keras.losses.CategoricalCrossentropy(from_logits=True)
        trained.compile("adamw", loss, jit_compile=False)

    def taken(run: Callable[[], object]) -> float:
        run()  # traces
        count, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds or not count:
            run()
            count += 1
        return (time.perf_counter() - start) / count / size.batch

    return (
        taken(lambda: model.train_on_batch(x, y)),
        taken(lambda: rest.train_on_batch(features, y)),
        taken(lambda: frozen.predict_on_batch(x)),
    )


def resumed(folder: Path, options: list[str], limit_seconds: float) -> str:
    """Begins a run on the CPU, kills it after two epochs, resumes it here; returns what happened.

    Args:
        folder: An empty folder.
        options: Options of the training command.
        limit_seconds: Longest time of each of the two.
    """
    command = [sys.executable, "train_cls.py", *options, "--quiet", "--runs", str(folder)]
    command += ["--data.stores", f"{folder}/stores", "--data.features", f"{folder}/features"]
    run = folder / "classification" / "run"
    history = run / "history.csv"
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | _NO_GPU)
    started = time.monotonic()
    while process.poll() is None and len(_rows(history)) < 2:
        if time.monotonic() - started > limit_seconds:
            break
        time.sleep(0.05)
    process.kill()
    process.wait()
    before = _rows(history)
    if not before or (run / "DONE").exists():
        return f"not tried: the CPU made {len(before)} epochs"
    subprocess.run(command, cwd=ROOT, check=True, timeout=limit_seconds)
    after = _rows(history)
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    regime = metrics["regime"]
    # The last line may be of an epoch without a checkpoint, which is trained again.
    kept = after[: len(before) - 1] == before[: len(before) - 1]
    return (
        f"{'resumed' if kept else 'NOT resumed'}: {len(before)} epochs on the CPU, "
        f"{len(after)} in all, the end on {', '.join(regime['devices'])} in {regime['precision']}"
    )


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def table(size: "Size", seconds: float, ends: float) -> None:
    """Prints the table of training steps, a line as soon as it is known.

    Args:
        size: Of a classifier's step. A U-Net has a quarter of the images, of 256x256.
        seconds: How long each is trained.
        ends: When to stop, by ``time.monotonic``.
    """
    print("| model | precision | XLA | images/s | peak memory | loss, difference to the CPU |")
    print("|---|---|---|---:|---:|---:|", flush=True)
    for model in MODELS:
        own = size
        if model == "U-Net":  # whose images are larger, and its steps slow on the CPU
            own = dataclasses.replace(size, image=256, batch=max(1, size.batch // 4))
        expected = on_cpu(model, own)
        for xla in (False, True):
            for precision in PRECISIONS:
                named = f"| {model} | {precision} | {'on' if xla else 'off'} |"
                if time.monotonic() > ends:
                    print(f"{named} no time left | | |", flush=True)
                    continue
                found = measure(model, precision, xla, own, seconds)
                far = difference(found["losses"], expected)
                print(
                    f"{named} {found['images/s']:.0f} | {(found['peak'] or 0) / 2**30:.2f} GiB "
                    f"| {far:.3%} |",
                    flush=True,
                )


def main() -> None:
    """Prints the tables, or one line on a machine whose GPU TensorFlow does not use."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="time for all of it")
    parser.add_argument("--batch", type=int, default=32, help="images a step; a quarter for U-Nets")
    parser.add_argument("--filters", type=int, default=64, help="of the U-Net")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        from tests.support.training_steps import Size

        asked = json.loads(options.worker)
        taken = training_step(asked["model"], "float32", False, Size(**asked["size"]))
        print(json.dumps(losses_of(taken)))
        return
    from kerascxr.cli.start import start_tensorflow

    start_tensorflow()  # also says why a GPU that is there cannot be used
    import tensorflow as tf

    from tests.support.training_steps import Size

    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        raise SystemExit("gpu_check: TensorFlow must find a GPU. Got none; nothing was measured.")
    tf.config.experimental.set_memory_growth(gpus[0], True)
    details = tf.config.experimental.get_device_details(gpus[0])
    capability = ".".join(map(str, details.get("compute_capability", ())))
    name = details.get("device_name", "GPU")
    began = time.monotonic()
    size = Size(224, options.batch, options.filters)
    print(f"{name}, compute capability {capability}, TensorFlow {tf.__version__}.\n", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        outcome = resumed(Path(folder), _RUN, options.minutes * 60 / 4)
    print(f"A run that a CPU began: {outcome}.\n", flush=True)
    image, step, features = feature_times(size, 2.0)
    epochs = epochs_to_pay(image, step, features)
    print(
        f"EfficientNetB0, depth 2, microseconds an image: a step on images {1e6 * image:.0f}, on "
        f"features {1e6 * step:.0f}; features {1e6 * features:.0f}. Features "
        + (f"pay from {epochs} epochs on.\n" if epochs else "do not pay.\n"),
        flush=True,
    )
    table(size, 3.0, began + options.minutes * 60 - 45)
    print(f"\n{(time.monotonic() - began) / 60:.1f} minutes.")


if __name__ == "__main__":
    main()
