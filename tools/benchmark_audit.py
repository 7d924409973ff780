"""Times ``data audit`` on as many images as the whole database has, and weighs it.

Run by hand, from the project's root::

    python -m tools.benchmark_audit --source PATH [--images 21165]

The images are made of the source's: two of one class, each bent a little and one of them perhaps
mirrored, laid over each other. They look as much alike as X-rays do, which is what the search for
copies takes its time for; the table has the number of candidate pairs per image. One in
fifty is a copy of another, slightly cropped or brighter. The audit runs in a process of its own:
first from nothing, then with the ingested copy there.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from kerascxr.data.ingest.candidates import candidates
from kerascxr.tables import text_table
from tests.support.made_sets import make_set
from tests.support.measured_commands import measured


def run_audit(folder: Path, stores: Path, to: Path) -> tuple[float, float]:
    """Runs the audit in a process of its own; returns seconds and its peak memory in MiB."""
    command = [sys.executable, "-m", "kerascxr", "data", "audit", str(folder)]
    command += ["--stores", str(stores), "--to", str(to)]
    taken = measured(command, to.with_suffix(".txt"))
    return taken["wall"], taken["peak"] / 2**20


def main() -> None:
    """Makes the images, audits them twice and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--source", required=True)
    parser.add_argument("--images", type=int, default=21_165)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder, stores, to = (Path(scratch) / name for name in ("made", "stores", "audit"))
        thumbnails = make_set(arguments.source, arguments.images, folder)
        alike = len(candidates(thumbnails)) / len(thumbnails)
        size = sum(path.stat().st_size for path in folder.rglob("*.png")) / 2**20
        rows: list[list[object]] = []
        for name in ("from nothing", "with the ingested copy there"):
            seconds, memory = run_audit(folder, stores, to)
            rows.append([name, f"{seconds:.1f}", f"{memory:,.0f}"])
        found = json.loads((to / "audit.json").read_text(encoding="utf-8"))
    print(f"{arguments.images:,} images made of {arguments.source}, {size:,.0f} MiB")
    near = found["pairs"]["near"]["pairs"]
    print(f"{alike:.1f} candidate pairs per image, {near:,} of them found to be near-duplicates")
    print(text_table(["audit", "seconds", "peak memory, MiB"], rows))


if __name__ == "__main__":
    main()
