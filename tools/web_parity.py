"""Compares the browser page's answers with ``predict``'s, and times both.

Run by hand, from the project's root, with Playwright and Chromium installed::

    python -m tools.web_parity PAGE RUN IMAGES... --images 50

PAGE is what ``kerascxr export RUN --to PLACE --format web`` wrote. The images are spread evenly
over those that are found; those that the page or the package does not read, such as some of
pydicom's test files, are counted. The page is opened in headless Chromium; each image is given to
it as a file, so its own decoder and its model answer. Times: from the file to the answer, the lungs
included, once the page is warm; the page's first load, from localhost; ``predict`` for one image in
Python, warm, and as a command.
"""

import argparse
import base64
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kerascxr.cli.start import start_tensorflow
from kerascxr.data.files import ImageFileError, read_grey
from kerascxr.serving.files import find_files
from kerascxr.serving.web_names import find_page
from kerascxr.serving.web_server import make_server
from kerascxr.tables import text_table

ASK = """async ([name, text]) => {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const begun = performance.now();
  try {
    const answer = await kerascxr.answer(new File([bytes], name));
    return {...answer, measured: (performance.now() - begun) / 1000};
  } catch (error) {
    return null;
  }
}"""
TEXTS = ("decision", "prediction_set", "warnings")
Answer = Mapping[str, Any]


def answers_of_page(
    place: Path, files: Sequence[Path]
) -> tuple[list[Answer | None], dict[str, Any]]:
    """Returns the page's answer to each file (None if unread), and what is known of its loading."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with make_server(place, 0) as server, sync_playwright() as playwright:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        begun = time.perf_counter()
        page.goto(f"http://127.0.0.1:{server.server_port}/")
        page.evaluate("kerascxr.ready")
        loaded = time.perf_counter() - begun
        threads = page.evaluate("crossOriginIsolated ? navigator.hardwareConcurrency : 1")
        answers = []
        for file in files:
            text = base64.b64encode(file.read_bytes()).decode()
            answers.append(page.evaluate(ASK, [file.name, text]))
        browser.close()
        server.shutdown()
    return answers, {"first load, s": f"{loaded:.2f}", "cores seen by the page": threads}


def parity(answers: Sequence[Answer], known: Any) -> list[list[Any]]:
    """Returns the rows of the table of differences."""
    given = np.array([answer["probabilities"] for answer in answers])
    differences = np.abs(given - known.probabilities).max(axis=1)
    scores = np.abs(np.array([answer["ood_score"] for answer in answers]) - known.ood_scores)
    expected = {
        "decision": known.decisions,
        "prediction_set": known.prediction_sets,
        "warnings": known.warnings,
    }
    rows: list[list[Any]] = [
        ["images", len(answers)],
        ["probability, largest difference", f"{differences.max():.1e}"],
        ["probability, median of the images' largest", f"{np.median(differences):.1e}"],
        ["out-of-distribution score, largest difference", f"{scores.max():.1e}"],
    ]
    for name in TEXTS:
        same = [answer[name] == text for answer, text in zip(answers, expected[name], strict=True)]
        rows.append([f"same {name}", f"{sum(same)} of {len(same)}"])
    return rows


def is_read(path: Path) -> bool:
    """Returns whether the package reads a file."""
    try:
        read_grey(path)
    except ImageFileError:
        return False
    return True


def percentiles(seconds: Sequence[float]) -> str:
    """Returns the median and the 95th percentile, in seconds."""
    middle, late = np.percentile(seconds, [50, 95])
    return f"{middle:.2f} ({late:.2f})"


def times_of_predict(run: Any, paths: Sequence[Path], files: Sequence[Path]) -> dict[str, str]:
    """Returns the times of one image in Python, warm, and as a command."""
    seconds = []
    for file in files:
        begun = time.perf_counter()
        run.predict([file])
        seconds.append(time.perf_counter() - begun)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "kerascxr", "predict", *map(str, paths), str(files[0])]
        begun = time.perf_counter()
        subprocess.run([*command, "--to", f"{folder}/table.csv", "--quiet"], check=True)
        whole = time.perf_counter() - begun
    return {
        "predict in Python, s: median (95th percentile)": percentiles(seconds),
        "the command predict, s": f"{whole:.2f}",
    }


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("paths", nargs="+")
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--members", type=Path, nargs="*", default=[], help="an ensemble's others")
    values = parser.parse_args()
    place = find_page(values.page)
    if place is None:
        parser.error(f"{values.page} must be an export --format web.")
    found = find_files(values.paths)
    chosen = np.unique(np.linspace(0, len(found) - 1, values.images).astype(int))
    files = [found[index] for index in chosen]
    answers, loading = answers_of_page(place, files)
    start_tensorflow()
    from kerascxr.serving.loaded_run import load_ensemble, load_run

    paths = [values.run, *values.members]
    run = load_run(values.run) if len(paths) == 1 else load_ensemble(paths)
    read = [is_read(file) for file in files]
    given = list(zip(files, answers, read, strict=True))
    both = [(file, answer) for file, answer, known in given if answer is not None and known]
    rows: list[list[Any]] = [
        ["files", len(given)],
        ["read by the package alone", sum(known for _, answer, known in given if answer is None)],
        ["read by the page alone", sum(not known for _, answer, known in given if answer)],
        *parity([answer for _, answer in both], run.predict([file for file, _ in both])),
    ]
    print(text_table(["parity", ""], rows), end="\n\n")
    size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
    times = {
        "folder, MB": f"{size / 1e6:.1f}",
        **loading,
        "the page's first image, s": f"{both[0][1]['measured']:.2f}",
        "the page, s: median (95th percentile)": percentiles(
            [answer["measured"] for _, answer in both[1:]]
        ),
        **times_of_predict(run, paths, [file for file, _ in both[:20]]),
    }
    print(text_table(["time and size", ""], [list(row) for row in times.items()]))


if __name__ == "__main__":
    main()
