"""Plants changed copies among distinct images and counts how many the audit finds.

Run by hand, from the project's root::

    python -m tools.plant_duplicates --source PATH [--images 1000] [--copies 200]

Images that the audit finds to be near-duplicates before any planting are left out, all but one of
each cluster, so that a pair found is either planted or wrong (which makes the precision among the
distinct images themselves perfect by choice; only what copies meet tests it). Each copy is of one
kind, and its strength is drawn evenly from the range that its row names.
"""

import argparse
import time

import numpy as np

from kerascxr.audits.leakage import read_pixels
from kerascxr.data.ingest.duplicates import duplicate_clusters, find_duplicates
from kerascxr.data.ingest.records import digest
from kerascxr.data.ingest.thumbnails import thumbnail
from kerascxr.data.sources.open import open_source
from kerascxr.tables import text_table
from tests.support.planted_copies import plant, score


def _look(images: list[np.ndarray]) -> tuple[np.ndarray, list[str]]:
    return np.stack([thumbnail(image) for image in images]), [digest(image) for image in images]


def main() -> None:
    """Plants, looks and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--source", required=True)
    parser.add_argument("--images", type=int, default=1000, help="distinct images to begin with")
    parser.add_argument("--copies", type=int, default=200, help="copies of each kind")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    source = open_source(arguments.source, phantom_images=arguments.images, phantom_seed=0)
    random = np.random.default_rng(arguments.seed)
    count = min(arguments.images, len(source.examples))
    chosen = random.choice(len(source.examples), count, replace=False)
    images = [read_pixels(source.examples[index]) for index in np.sort(chosen)]
    known = find_duplicates(*_look(images))
    keep = np.unique(duplicate_clusters(known, count), return_index=True)[1]
    images = [images[index] for index in keep]
    copies = min(arguments.copies, len(images))
    planted, told = plant(images, copies, arguments.seed)
    everything = images + planted
    started = time.perf_counter()
    found = find_duplicates(*_look(everything))
    seconds = time.perf_counter() - started
    print(f"{len(images):,} distinct images of {source.name}, {copies} copies of each kind")
    print(f"{len(found):,} pairs found in {seconds:.1f} s")
    header = ["kind of copy", "copies", "recall", "precision"]
    print(text_table(header, score(found, told, len(images))))


if __name__ == "__main__":
    main()
