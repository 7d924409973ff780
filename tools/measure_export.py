"""Measures an export: parity with its run by every way, latency, and its input checks.

Run by hand, from the project's root::

    python -m tools.measure_export EXPORT/1 --run RUN --xrays FOLDER

Parity is of 32 of the run's test images, from bytes to probabilities, with predictions.csv at the
run's temperature; without ``--xrays`` it is all that is measured. REST and gRPC are the formats of
request and answer, served by the signature itself.

Latency is of one image, median and 95th percentile, all ways taking turns. X-rays should be ones
that the run was not trained on, or the input checks' rate for them is too good.
"""

import argparse
import io
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from sklearn.datasets import load_sample_images

from kerascxr.cli.start import start_tensorflow
from kerascxr.data.files import read_grey
from kerascxr.serving.files import find_files
from kerascxr.serving.formats import FORMATS
from kerascxr.tables import markdown_table

KINDS = 40  # pictures of each kind
TOLD = ("unlike", "inverted", "upside down", "on its side")


def png(pixels: np.ndarray) -> bytes:
    """Returns a picture as a PNG file's bytes."""
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG")
    return data.getvalue()


def crops(random: np.random.Generator) -> list[bytes]:
    """Returns pieces of scikit-learn's two photographs."""
    pictures = []
    for index in range(KINDS):
        photograph = load_sample_images().images[index % 2]
        side = int(random.integers(150, 420))
        top = int(random.integers(0, photograph.shape[0] - side + 1))
        left = int(random.integers(0, photograph.shape[1] - side + 1))
        pictures.append(png(photograph[top : top + side, left : left + side]))
    return pictures


def pages(random: np.random.Generator) -> list[bytes]:
    """Returns pictures of text."""
    words = Path(__file__).read_text(encoding="utf-8").split()
    pictures = []
    for _ in range(KINDS):
        page = Image.new("L", (300, 300), 255)
        lines = [" ".join(random.choice(words, 6)) for _ in range(20)]
        ImageDraw.Draw(page).multiline_text((8, 8), "\n".join(lines), fill=0)
        pictures.append(png(np.asarray(page)))
    return pictures


def warning_table(serve: Callable, xrays: list[Path]) -> str:
    """Returns how often each warning is given, by kind of picture."""
    import tensorflow as tf

    random = np.random.default_rng(0)
    held = [read_grey(path) for path in xrays]
    noise = [random.integers(0, 256, (256, 256)).astype(np.uint8) for _ in range(KINDS)]
    soft = [
        np.asarray(
            Image.fromarray(item).resize((9, 9)).resize((256, 256), Image.Resampling.BICUBIC)
        )
        for item in noise
    ]
    kinds = {
        "held-out X-rays": [path.read_bytes() for path in xrays],
        "the same, inverted": [png(255 - pixels) for pixels in held],
        "the same, upside down": [png(pixels[::-1].copy()) for pixels in held],
        "the same, on their side": [png(np.rot90(pixels).copy()) for pixels in held],
        "photographs": crops(random),
        "noise": [png(pixels) for pixels in noise],
        "clouds": [png(pixels) for pixels in soft],
        "text": pages(random),
        "plain grey": [png(np.full((256, 256), grey, np.uint8)) for grey in range(0, 250, 10)],
        "a strip": [png(pixels[: len(pixels) // 4].copy()) for pixels in held],
    }
    rows = []
    for name, files in kinds.items():
        told: list[str] = []
        for begin in range(0, len(files), 16):
            given = serve(images=tf.constant(files[begin : begin + 16]))["warnings"].numpy()
            told += [text.decode() for text in given]
        shares = [np.mean([kind in text for text in told]) for kind in TOLD]
        rows.append([name, len(told), f"{np.mean([bool(text) for text in told]):.0%}"])
        rows[-1] += [f"{share:.0%}" for share in shares]
    return markdown_table(["picture", "n", "any warning", *TOLD], rows)


def latency_table(
    serve: Callable, run: Path, formats: Path | None, xrays: list[Path], repeats: int
) -> str:
    """Returns the latency of bytes to probabilities, by format, and of its parts."""
    import tensorflow as tf

    from kerascxr.data.images import decode_file, resize_image
    from kerascxr.models.saved import load_saved
    from kerascxr.serving.graph import Classifier

    model = load_saved(run / "model.keras")
    height, width = model.input_shape[1:3]
    classifier = Classifier(model, ("",) * model.output_shape[1])
    bare = tf.function(lambda images: classifier.answer({"none": images}), reduce_retracing=True)

    @tf.function(input_signature=[tf.TensorSpec((), tf.string)])
    def decode(data: tf.Tensor) -> tf.Tensor:
        return tf.cast(resize_image(decode_file(data), (height, width)), tf.float32)[None]

    files = [path.read_bytes() for path in xrays]
    pixels = [decode(tf.constant(data)) for data in files]
    ways: dict[str, Callable[[int], object]] = {
        "decoding and resizing": lambda index: decode(tf.constant(files[index])).numpy(),
        "bare model": lambda index: bare(pixels[index])["probabilities"].numpy(),
        "SavedModel, bytes to probabilities": lambda index: serve(
            images=tf.constant([files[index]])
        )["probabilities"].numpy(),
    }

    def decoded(form: Callable[[np.ndarray], np.ndarray], index: int) -> np.ndarray:
        return form(decode(tf.constant(files[index])).numpy())

    for known in FORMATS.values():
        if formats and (path := formats / known.file).exists():
            form = known.load(path)
            ways[f"{path.name}, after decoding"] = partial(decoded, form)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(repeats + 5):
        for name, way in ways.items():
            started = time.perf_counter()
            way(repeat % len(files))
            if repeat >= 5:
                times[name].append(1000 * (time.perf_counter() - started))
    middle = {name: float(np.median(values)) for name, values in times.items()}
    parts = middle["decoding and resizing"] + middle["bare model"]
    rows = [
        [
            name,
            f"{middle[name]:.1f}",
            f"{np.percentile(values, 95):.1f}",
            f"{middle[name] / parts:.2f}",
        ]
        for name, values in times.items()
    ]
    return markdown_table(["one image", "p50 ms", "p95 ms", "of model and decoding"], rows)


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("export", type=Path, help="one version of an export")
    parser.add_argument("--run", type=Path, required=True, help="the run that was exported")
    parser.add_argument("--xrays", nargs="+", default=[], help="PNG or JPEG files or folders")
    parser.add_argument("--formats", type=Path, help="the formats folder of an export")
    parser.add_argument("--repeats", type=int, default=100)
    arguments = parser.parse_args()
    start_tensorflow()
    import tensorflow as tf

    from tests.support.parity import parity_table

    loaded = tf.saved_model.load(str(arguments.export))
    serve = loaded.signatures["serving_default"]
    print(parity_table(arguments.export, serve, arguments.run))
    if not arguments.xrays:
        return
    xrays = find_files(arguments.xrays)
    print()
    print(latency_table(serve, arguments.run, arguments.formats, xrays[:50], arguments.repeats))
    print()
    print(warning_table(serve, xrays))


if __name__ == "__main__":
    main()
