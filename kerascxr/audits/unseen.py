"""The images of another set that a run was neither trained nor validated on."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kerascxr.data.ingest.duplicates import copies_of
from kerascxr.data.ingest.store import Store, find_store
from kerascxr.data.pipeline import Images
from kerascxr.names import listed
from kerascxr.runs.reading import read_predictions, read_run
from kerascxr.runs.training_images import SEEN

logger = logging.getLogger(__name__)


class LeftOut(NamedTuple):
    """What was left out of a set.

    Attributes:
        images: How many images.
        near_duplicates_checked: Whether near-duplicates of the training images were looked for,
            those of all runs.
    """

    images: int
    near_duplicates_checked: bool


def unseen(images: Images, store: Store, runs: Sequence[Path]) -> tuple[Images, LeftOut]:
    """Returns the images that no run's model was trained or validated on, and what was left out.

    Such images are recognised by the digests of their pixels. Near-duplicates of them (resized,
    re-encoded) are left out too, where the store of the training is still there. Images that the
    run of the starting weights was trained or validated on count as these do. So are the images
    of a patient of the training: those of a group that both sources call the same, and those of a
    group of this set that holds an image of the training.

    Args:
        images: The set's images.
        store: Their store.
        runs: Finished runs' folders.

    Raises:
        ValueError: If there are none.
    """
    seen = {run: read_predictions(run / SEEN) for run in runs}
    same = _same_pixels(store, seen)
    near_duplicates, checked = _near_duplicates(store, seen)
    alike = near_duplicates - same
    namesakes = _same_group_names(store, seen) - same - alike
    groups = {row["group"] for row in store.rows if row["id"] in same | alike | namesakes}
    together = {row["id"] for row in store.rows if row["group"] in groups}
    related = together - same - alike - namesakes
    kept = [place for place, image in enumerate(images.ids) if image not in together]
    counts = {
        relation: len(some.intersection(images.ids))
        for relation, some in (
            ("which", same),
            ("near-duplicates of images that", alike),
            ("of groups (patients) with the name of a group that", namesakes),
            ("of the same groups as these, as images that", related),
        )
    }
    found = [
        f"{count:,} of {len(images):,} images, {relation} the model was trained or validated on."
        for relation, count in counts.items()
        if count
    ]
    if not kept:
        raise ValueError(
            f"the set must hold images that {', '.join(map(str, runs))} was not trained or "
            f"validated on. Got {store.path.name}, of which it was trained or validated on all "
            f"{len(images):,}: {' '.join(found)}{_hint(store, namesakes)}"
        )
    for text in found:
        logger.warning(f"Left out: {text}")
    if namesakes:
        logger.warning(_hint(store, namesakes).strip())
    left_out = LeftOut(len(images) - len(kept), checked)
    return images.only(kept) if left_out.images else images, left_out


def _hint(store: Store, namesakes: set[str]) -> str:
    """Returns what to do where groups have the same name and are not the same; "" without any."""
    names = sorted({row["given_group"] for row in store.rows if row["id"] in namesakes})
    if not names:
        return ""
    return (
        f" If a group such as {names[0]!r} is another patient than in the training, give the "
        "groups of this set other names, and give the command again."
    )


def _same_pixels(store: Store, seen: Mapping[Path, Sequence[Mapping[str, str]]]) -> set[str]:
    digests = {row["digest"] for rows in seen.values() for row in rows}
    return {row["id"] for row in store.rows if row["digest"] in digests}


def _same_group_names(store: Store, seen: Mapping[Path, Sequence[Mapping[str, str]]]) -> set[str]:
    """Returns the ids of images whose group has the name of a group that runs were fitted on."""
    for path, rows in seen.items():
        if any("given_group" not in row for row in rows):
            logger.warning(
                f"Groups (patients) of the images that {path} was trained on were not looked for: "
                f"its {SEEN} is of an older version and does not name them."
            )
    names = {row.get("given_group", "") for rows in seen.values() for row in rows} - {""}
    return {row["id"] for row in store.rows if row["given_group"] in names}


def _near_duplicates(
    store: Store, seen: Mapping[Path, Sequence[Mapping[str, str]]]
) -> tuple[set[str], bool]:
    """Returns the ids of a set's near-duplicates of images that runs were fitted on.

    And whether those of all runs were looked for.

    Args:
        store: The set's store.
        seen: Run folder -> a row an image that the run was fitted on.
    """
    found: set[str] = set()
    checked = True
    ids = np.array([row["id"] for row in store.rows])
    for path, rows in seen.items():
        run = read_run(path)
        stores, here = Path(run.config["data"]["stores"]), store.path.parent
        known = run.metrics["data"]["fingerprint"]
        own = find_store(stores, known) or find_store(here, known)
        if own is None:
            logger.warning(
                f"Near-duplicates of the images that {path} was trained on were not looked for: "
                f"their store is not in {listed(dict.fromkeys((stores, here)), 'or')}. "
                "Images with the same pixels are left out."
            )
            checked = False
            continue
        fitted = {(row["id"], row["digest"]) for row in rows}
        places = [
            place for place, row in enumerate(own.rows) if (row["id"], row["digest"]) in fitted
        ]
        if len(places) < len(fitted):
            logger.warning(
                f"Near-duplicates of {len(fitted) - len(places):,} images that the starting "
                f"weights of {path} were trained or validated on were not looked for: they are of "
                "another source. Images with the same pixels are left out."
            )
            checked = False
        found |= set(ids[copies_of(store.thumbnails, own.thumbnails[places])].tolist())
    return found, checked
