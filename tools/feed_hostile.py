"""Feeds an export, and predict, broken, lying and huge files, and prints what each does.

Run by hand, from the project's root, on Linux::

    python -m tools.feed_hostile EXPORT/1 --run RUN --good IMAGE.png

The SavedModel gets each input alone and at place 5 of eight; ``predict`` gets it as a file beside a
good one, and in the end everything in one folder, by its command. Memory is the peak above what
the process held before, in a process of its own for each input that becomes large. "Same" is
whether a good image afterwards gets its probabilities, to 1e-6. Ends with code 1 if anything is
not as it must be: an item unnamed, a process dead or waiting, other probabilities.
"""

import argparse
import csv
import multiprocessing
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, TimeoutError
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from kerascxr.cli.start import start_tensorflow
from kerascxr.tables import markdown_table
from tests.support.hostile_files import (
    dicom_files,
    encode,
    large_files,
    small_files,
    strange_places,
)

SECONDS = 120  # the longest that an answer is waited for
PLACE, BATCH = 5, 8
SAME = 1e-6
HEADER = ["input", "SavedModel", "MiB", "s", "same", "predict", "MiB", "s", "same"]

_held: dict[str, Any] = {}  # what a worker process keeps between inputs


def _kib(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def _measure(action: Callable[[], str]) -> tuple[str, float, float]:
    """Returns what an action says, its peak memory above the present one in MiB, and seconds."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # VmHWM begins anew
    before, started = _kib("VmRSS"), time.perf_counter()
    said = action()
    return said, (_kib("VmHWM") - before) / 1024, time.perf_counter() - started


def _open_export(export: Path, good: bytes) -> None:
    start_tensorflow()
    import tensorflow as tf

    _held["model"] = tf.saved_model.load(str(export))
    serve = _held["model"].signatures["serving_default"]
    _held["ask"] = lambda files: serve(images=tf.constant(files, tf.string))
    _held["ask"]([good] * BATCH)
    _held["known"] = _held["ask"]([good])["probabilities"].numpy()


def _ask(batch: list[bytes]) -> tuple[str, float, float]:
    """Feeds one request; what is said is an answer, "refused: place N" or a failure."""

    def once() -> str:
        try:
            given = _held["ask"](batch)
        except Exception as error:  # what a server would send back
            place = re.search(r"counted from 0\)\] \[(\d+)\]", str(error))
            return f"place {place[1]}" if place else f"UNNAMED: {str(error)[:80]}"
        item = min(PLACE, len(batch) - 1)
        top = float(given["probabilities"].numpy()[item].max())
        told = given["warnings"].numpy()[item].decode() if "warnings" in given else ""
        return f"{given['label'].numpy()[item].decode()} {top:.3f}{told and f' ({told})'}"

    return _measure(once)


def _ask_both(good: bytes, data: bytes) -> list:
    alone, first, seconds = _ask([data])
    batch = [good] * BATCH
    batch[PLACE] = data
    among, second, more = _ask(batch)
    known = _held["known"]
    same = float(np.abs(_held["ask"]([good])["probabilities"].numpy() - known).max()) <= SAME
    if alone == "place 0" and among == f"place {PLACE}":
        said = f"refused: places 0 and {PLACE}"
    else:
        said = alone if alone == among else f"{alone}; in the batch {among}"
    wrong = "UNNAMED" in said or ("place" in said and not said.startswith("refused"))
    return [said, max(first, second), seconds + more, same, wrong]


def _ask_many(good: bytes, data: bytes) -> list:
    said, memory, seconds = _ask([data] * BATCH)
    given = _held["ask"]([good])["probabilities"].numpy()
    same = float(np.abs(given - _held["known"]).max()) <= SAME
    return [said, memory, seconds, same, "UNNAMED" in said]


def _open_run(run: Path, good: Path) -> None:
    start_tensorflow()
    from kerascxr.serving.predictors import load_predictor

    _held["predictor"] = load_predictor(run)
    _held["known"] = _predict(good, [good])[1]


def _predict(good: Path, files: list[Path]) -> tuple[list, np.ndarray | None]:
    from kerascxr.serving.predict import predict_files

    with tempfile.TemporaryDirectory() as folder:
        to = Path(folder) / "table.csv"
        refused = predict_files(_held["predictor"], files, to)
        with to.open(encoding="utf-8", newline="") as file:
            rows = {row["path"]: row for row in csv.DictReader(file)}
    values = {
        path: np.array([float(row[name]) for name in row if name.startswith("probability")])
        for path, row in rows.items()
    }
    lines = [f"refused: {reason}" for _, reason in refused]
    lines += [
        f"{row['predicted']} {values[path].max():.3f}"
        for path, row in rows.items()
        if path != str(good)
    ]
    return [lines, [path for path, _ in refused]], values.get(str(good))


def _predict_one(good: Path, path: Path) -> list:
    found: list[Any] = []

    def once() -> str:
        found.extend(_predict(good, [path, good]))
        return found[0][0][0]

    try:
        said, memory, seconds = _measure(once)
    except Exception as error:  # the command would have died of it
        return [f"DIED: {type(error).__name__}: {str(error)[:80]}", 0.0, 0.0, False, True]
    same = found[1] is not None and float(np.abs(found[1] - _held["known"]).max()) <= SAME
    unnamed = said.startswith("refused") and found[0][1] != [str(path)]
    return [said, memory, seconds, same, unnamed]


class Worker:
    """A process that holds a model, replaced when it dies or does not answer."""

    def __init__(self, start: Callable, *arguments: object) -> None:
        self._start, self._arguments = start, arguments
        self._pool: ProcessPoolExecutor | None = None

    def do(self, action: Callable, *arguments: object, fresh: bool = False) -> list:
        """Returns a row's part; with ``fresh``, from a process that has done nothing else."""
        if fresh:
            self.close()
        if self._pool is None:
            spawn = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(1, spawn, self._start, self._arguments)
        try:
            return self._pool.submit(action, *arguments).result(SECONDS)
        except (BrokenProcessPool, TimeoutError) as error:
            hung = isinstance(error, TimeoutError)
            self.close(kill=True)
            return ["HANGS" if hung else "THE PROCESS DIED", 0.0, 0.0, False, True]
        finally:
            if fresh:
                self.close()

    def close(self, kill: bool = False) -> None:
        """Ends the process."""
        if self._pool:
            for process in list((self._pool._processes or {}).values()) if kill else []:
                process.kill()
            self._pool.shutdown(wait=not kill)
            self._pool = None


def _cells(part: list) -> list:
    said, memory, seconds, same, _ = part
    text = " ".join(said.split()).replace("|", "/")[:110]
    return [text, f"{memory:,.0f}", f"{seconds:.1f}", "yes" if same else "NO"]


def whole_folder(run: Path, folder: Path, n: int) -> str:
    """Runs the command on all files at once; returns a line about it."""
    command = [sys.executable, "-m", "kerascxr", "predict", str(run), str(folder)]
    started = time.perf_counter()
    to = folder.parent / "all.csv"
    done = subprocess.run(
        [*command, "--to", str(to)], capture_output=True, text=True, timeout=5 * SECONDS
    )
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    with to.open(encoding="utf-8", newline="") as file:
        rows = sum(1 for _ in csv.DictReader(file))
    found = re.search(r"([\d,]+) files could not be read", done.stdout)
    return (
        f"`predict` of the folder of all {n} files: exit code {done.returncode}, {rows} "
        f"rows, {found[1] if found else 0} files listed as unreadable, peak {peak:,.0f} MiB in "
        f"all, {time.perf_counter() - started:.0f} s."
    )


def main() -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("export", type=Path, help="one version of an export")
    parser.add_argument("--run", type=Path, required=True, help="the run that was exported")
    parser.add_argument("--good", type=Path, required=True, help="a PNG X-ray")
    parser.add_argument("--only", default="", help="a pattern of inputs")
    arguments = parser.parse_args()
    good, pixels = arguments.good.read_bytes(), np.asarray(Image.open(arguments.good).convert("L"))
    large = large_files(pixels)
    strange = dicom_files()
    served = {"PNG, good": encode(pixels)} | small_files(pixels) | large
    served = {name: data for name, data in served.items() if re.search(arguments.only, name)}
    strange = {name: data for name, data in strange.items() if re.search(arguments.only, name)}
    rows, wrong = [], []
    model = Worker(_open_export, arguments.export, good)
    command = Worker(_open_run, arguments.run, arguments.good)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "set"
        folder.mkdir()
        paths = {}
        for number, (name, data) in enumerate((served | strange).items()):
            paths[name] = folder / f"{number}.png"
            paths[name].write_bytes(data)
        for number, (name, make) in enumerate(strange_places(folder).items()):
            if re.search(arguments.only, name):
                paths[name] = make(f"strange {number}.png")
        for name, path in paths.items():
            parts = []
            huge = name in large or "1 GB" in name
            if name in served:
                parts.append(model.do(_ask_both, good, served[name], fresh=huge))
            cells = _cells(parts[0]) if parts else ["–"] * 4
            parts.append(command.do(_predict_one, arguments.good, path, fresh=huge))
            rows.append([name, *cells, *_cells(parts[-1])])
            wrong += [name for part in parts if part[4] or not part[3]]
            print(rows[-1], file=sys.stderr)
        for name in ("PNG of 10,000 x 8,000, grey", "PNG of 10,000 x 8,000, RGBA"):
            if name in served:
                part = model.do(_ask_many, good, large[name], fresh=True)
                rows.append([f"eight of: {name}", *_cells(part), *["–"] * 4])
                wrong += [name] if part[4] or not part[3] else []
        model.close()
        command.close()
        print(markdown_table(HEADER, rows))
        print("\n" + whole_folder(arguments.run, folder, len(paths)))
    print(f"\nNot as it must be: {', '.join(dict.fromkeys(wrong)) or 'nothing'}.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
