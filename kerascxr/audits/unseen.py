"""The images of another set that a run was neither trained nor validated on."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from kerascxr.data.ingest.duplicates import copies_of
from kerascxr.data.ingest.store import Store, find_store
from kerascxr.data.pipeline import Images
from kerascxr.runs.reading import read_predictions, read_run

logger = logging.getLogger(__name__)

SEEN = "training_images.csv"


def unseen(images: Images, store: Store, runs: Sequence[Path]) -> Images:
    """Returns the images that no run's model was trained or validated on.

    Such images are recognised by the digests of their pixels. Near-duplicates of them (resized,
    re-encoded) are left out too, where the store of the training is still there.

    Args:
        images: The set's images.
        store: Their store.
        runs: Finished runs' folders.

    Raises:
        ValueError: If there are none.
    """
    seen = {run: read_predictions(run / SEEN) for run in runs}
    digests = {row["digest"] for rows in seen.values() for row in rows}
    named = ", ".join(map(str, runs))
    same = {row["id"] for row in store.rows if row["digest"] in digests}
    alike = _near_duplicates(store, seen) - same
    kept = [place for place, image in enumerate(images.ids) if image not in same | alike]
    if not kept:
        raise ValueError(
            f"the set must hold images that {named} was not trained or validated on. Got "
            f"{store.path.name}, of which it was trained or validated on all {len(images):,}."
        )
    for some, relation in ((same, "which"), (alike, "near-duplicates of images that")):
        count = len(some.intersection(images.ids))
        if count:
            logger.warning(
                f"Left out: {count:,} of {len(images):,} images, {relation} the model was trained "
                "or validated on."
            )
    return images.only(kept) if len(kept) < len(images) else images


def _near_duplicates(store: Store, seen: Mapping[Path, Sequence[Mapping[str, str]]]) -> set[str]:
    """Returns the ids of a set's near-duplicates of images that runs were fitted on.

    Args:
        store: The set's store.
        seen: Run folder -> a row an image that the run was fitted on.
    """
    found: set[str] = set()
    ids = np.array([row["id"] for row in store.rows])
    for path, rows in seen.items():
        run = read_run(path)
        stores, here = Path(run.config["data"]["stores"]), store.path.parent
        known = run.metrics["data"]["fingerprint"]
        own = find_store(stores, known) or find_store(here, known)
        if own is None:
            logger.warning(
                f"Near-duplicates of the images that {path} was trained on were not looked for: "
                f"their store is neither in {stores} nor in {here}. "
                "Images with the same pixels are left out."
            )
            continue
        fitted = {row["id"] for row in rows}
        places = [place for place, row in enumerate(own.rows) if row["id"] in fitted]
        found |= set(ids[copies_of(store.thumbnails, own.thumbnails[places])].tolist())
    return found
