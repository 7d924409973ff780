"""Times and checks the search for near-duplicates in sets of up to hundreds of thousands of images.

Run by hand, from the project's root::

    python -m tools.benchmark_duplicates --source PATH [--sizes 5000 20000 ...]

Thumbnails of images are made in memory, each of two of the source's: bent, one of them perhaps
mirrored, and laid over each other. One in fifty is an altered copy of the one before it: resized,
re-encoded, brighter, cropped or all of these. The smaller sets are the beginnings of the largest.
Each search runs in a process of its own. The table has its time and memory, and the share of the
altered copies that it found. Below it are the power law of the time, and what follows from it for a
million images. In sets of more than 50,000, only copies of so many of the images are searched,
among all; the times are those of the part, scaled, since each image is searched for by itself.
Making an image takes 2.7 ms of CPU time: ``--set`` keeps the set for the next call.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from kerascxr.audits.leakage import read_pixels
from kerascxr.data.ingest import candidates as selection
from kerascxr.data.ingest.candidates import candidates
from kerascxr.data.ingest.duplicates import SAME, similarities
from kerascxr.data.ingest.thumbnails import SIDE, thumbnail
from kerascxr.data.sources.open import open_source
from kerascxr.tables import text_table
from tests.support.made_images import made_of
from tests.support.measured_commands import peak_bytes
from tests.support.planted_copies import KINDS

_SIDE = 128
_BEND = 0.03  # root mean square, of the side
_FIRST_SHARE = (0.5, 0.8)
_COPIES = 50
_AT_ONCE = 1000
_SEARCHED = 50_000
_MILLION = 1_000_000


def make_thumbnails(pixels: np.ndarray, labels: np.ndarray, begin: int, end: int) -> np.ndarray:
    """Makes the thumbnails of numbers begin to end, uint8 (end - begin, 64, 64)."""
    changes = list(KINDS.values())[1:]
    places = {label: np.flatnonzero(labels == label) for label in set(labels.tolist())}
    made = np.empty((end - begin, SIDE, SIDE), np.uint8)
    for number in range(begin, end):
        is_copy = number % _COPIES == 1
        random = np.random.default_rng(number - 1 if is_copy else number)
        first = int(random.integers(len(pixels)))
        second = int(random.choice(places[labels[first]]))
        image = made_of(pixels[first], pixels[second], random, _FIRST_SHARE, _BEND)
        if is_copy:
            image = changes[number // _COPIES % len(changes)](image, random)
        made[number - begin] = thumbnail(image)
    return made


def make_set(source: str, n: int, path: Path) -> None:
    """Writes n thumbnails to an .npy file, in processes on all cores."""
    examples = open_source(source, phantom_images=600, phantom_seed=0).examples
    sized = [
        Image.fromarray(read_pixels(example)).resize((_SIDE, _SIDE))
        for example in tqdm(examples, desc="Reading")
    ]
    pixels = np.stack([np.asarray(image) for image in sized])
    labels = np.array([example.label or "none" for example in examples])
    begins = list(range(0, n, _AT_ONCE))
    ends = [min(begin + _AT_ONCE, n) for begin in begins]
    target = np.lib.format.open_memmap(path, "w+", np.uint8, (n, SIDE, SIDE))
    with ProcessPoolExecutor(mp_context=get_context("forkserver")) as pool:
        made = pool.map(partial(make_thumbnails, pixels, labels), begins, ends)
        for begin, part in tqdm(zip(begins, made, strict=True), "Making", len(begins)):
            target[begin : begin + len(part)] = part
    target.flush()


def timed(work: Callable[[], Any]) -> tuple[Any, np.ndarray]:
    """Returns what a function returns, and the CPU and wall seconds that it took."""
    started, began = time.process_time(), time.perf_counter()
    found = work()
    return found, np.array([time.process_time() - started, time.perf_counter() - began])


def measure(path: Path, n: int, exact: bool) -> dict[str, float]:
    """Searches the first n thumbnails and returns what was found and what it took."""
    selection.EXACT_UP_TO = n if exact else 0
    thumbnails = np.array(np.load(path, mmap_mode="r")[:n])
    every, block = -(-n // _SEARCHED), selection._BLOCK
    searched = np.arange(n) // block % every == 0
    share = searched.mean()
    selecting, comparing = np.zeros(2), np.zeros(2)
    candidates(thumbnails[:1000])  # imports what the search needs
    if every > 1:  # what does not grow with the number of images whose copies are searched
        _, selecting = timed(lambda: candidates(thumbnails, n))
        _, comparing = timed(lambda: similarities(thumbnails, np.empty((0, 2), np.int64)))
    found, seconds = timed(lambda: candidates(thumbnails, every))
    selecting = selecting + (seconds - selecting) / share
    alike, seconds = timed(lambda: similarities(thumbnails, found))
    comparing = comparing + (seconds - comparing) / share
    near = found[alike > SAME]
    pairs = set(map(tuple, near.tolist()))
    places = [number for number in range(1, n, _COPIES) if searched[number - 1 : number + 1].all()]
    return {
        "candidates": len(found) / searched.sum(),
        "selecting": selecting[0],
        "comparing": comparing[0],
        "both": selecting[1] + comparing[1],
        "near": len(near),
        "recall": float(np.mean([(number - 1, number) in pairs for number in places])),
        "searched": int(searched.sum()),
        "memory": peak_bytes() / 2**20,
    }


def measured_apart(path: Path, n: int, exact: bool) -> dict[str, float]:
    """Calls ``measure`` in a process of its own."""
    command = [sys.executable, "-m", "tools.benchmark_duplicates", "--measure", str(path)]
    command += ["--sizes", str(n)] + ["--exact"] * exact
    finished = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if finished.returncode:
        raise SystemExit(f"The search ended with status {finished.returncode}.")
    return json.loads(finished.stdout)


def growth(name: str, measured: np.ndarray) -> str:
    """Fits power laws and states what they give for a million images.

    Args:
        name: Of the search.
        measured: float (k, 4), k > 1: images; CPU seconds to select, and in all; peak MiB.
    """
    n, *columns = np.log(measured.T)
    (select, _), (power, at_one), _ = (np.polyfit(n, column, 1) for column in columns)
    slope, base = np.polyfit(measured[:, 0], measured[:, 3], 1)  # memory grows linearly
    seconds = np.exp(at_one + power * np.log(_MILLION))
    return (
        f"{name}: the CPU time to select grows with n to the {select:.2f}, in all to the "
        f"{power:.2f}. A million images would take {seconds / 3600:.1f} h of CPU time and "
        f"{(base + slope * _MILLION) / 1024:.1f} GiB."
    )


def main() -> None:
    """Makes the set, searches each size of it and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--source")
    sizes = [5_000, 20_000, 50_000, 100_000, 200_000, 400_000]
    parser.add_argument("--sizes", type=int, nargs="+", default=sizes)
    parser.add_argument("--exact-up-to", type=int, default=50_000)
    parser.add_argument("--set", type=Path, help="where the set is, or will be, as an .npy file")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--exact", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure, arguments.sizes[0], arguments.exact)))
        return
    rows: list[list[object]] = []
    points: dict[str, list[tuple[int, float, float, float]]] = {"exact": [], "index": []}
    with tempfile.TemporaryDirectory() as scratch:
        path = arguments.set or Path(scratch) / "thumbnails.npy"
        if not path.exists():
            make_set(arguments.source, max(arguments.sizes), path)
        for n in sorted(arguments.sizes):
            for name in ["exact"] * (n <= arguments.exact_up_to) + ["index"]:
                found = measured_apart(path, n, name == "exact")
                seconds = [found[part] for part in ("selecting", "comparing", "both")]
                points[name].append((n, found["selecting"], sum(seconds[:2]), found["memory"]))
                row: list[object] = [f"{n:,}", f"{found['searched']:,}", name]
                row += [f"{value:.0f}" for value in seconds]
                row += [f"{found['memory']:,.0f}", f"{found['candidates']:.1f}"]
                row += [f"{found['near']:,.0f}"]
                rows.append([*row, f"{found['recall']:.4f}"])
                print(*rows[-1], file=sys.stderr)
    header = ["images", "searched", "search", "selecting, CPU s", "comparing, CPU s", "both, s"]
    header += ["peak memory, MiB", "candidate pairs per image", "near-duplicates", "copies found"]
    print(text_table(header, rows))
    for name, measured in points.items():
        if len(measured) > 1:
            print(growth(name, np.array(measured)))


if __name__ == "__main__":
    main()
