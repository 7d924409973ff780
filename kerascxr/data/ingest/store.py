"""The store: a source, ingested once, found again, and ingested anew when it has changed."""

import csv
import hashlib
import json
import logging
import re
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from kerascxr.data.ingest import records
from kerascxr.data.ingest.candidates import EXACT_UP_TO, search_of
from kerascxr.data.ingest.folds import check_folds
from kerascxr.data.ingest.ingest import FORMAT, THUMBNAILS, ingest
from kerascxr.data.sources.open import Source
from kerascxr.evaluation.leaks import search_text
from kerascxr.evaluation.masks import resized
from kerascxr.names import counted
from kerascxr.runs.atomic import mark, replace_folder
from kerascxr.runs.cache import CacheEntry, enforce_limit, leftovers, use
from kerascxr.runs.locks import locked

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Store:
    """An ingested set of images.

    Attributes:
        path: Its folder.
        classes: Class names in label order; ("unlabelled",) where the source has none.
        fingerprint: See ``records.fingerprint``.
        fixed_split: Whether the source itself says what trains and what tests.
        layout: How the source was arranged, see ``Source``; "phantom" for drawn images.
    """

    path: Path
    classes: tuple[str, ...]
    fingerprint: dict[str, Any]
    fixed_split: bool
    layout: str

    @cached_property
    def rows(self) -> list[dict[str, str]]:
        """One row an image, in the source's order: id, label, group, fold, path, mask_state, ...

        ``group`` is the first id of the images that belong together, ``given_group`` what the
        source says (a patient), "" where it says nothing.
        """
        with (self.path / "examples.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def spacings(self, size: tuple[int, int]) -> dict[str, tuple[float, float]]:
        """Returns the distances of rows and columns of images resized to a size.

        Args:
            size: (height, width) in pixels.

        Returns:
            {id: (mm, mm)} of the images whose spacing is known.
        """
        return {
            row["id"]: resized(
                (float(row["row_mm"]), float(row["column_mm"])),
                (int(row["height"]), int(row["width"])),
                size,
            )
            for row in self.rows
            if row["row_mm"]
        }

    def require_unchanged(self) -> None:
        """Checks that the folder still holds these images; call it after they were read.

        Raises:
            ValueError: If another process has ingested the changed source into it.
        """
        known = read_description(self.path)
        if known is None or known["fingerprint"] != self.fingerprint:
            raise ValueError(
                f"{self.path} must stay as it is while it is read. The source has changed, and "
                "another process has ingested it again; give the command again."
            )

    @cached_property
    def thumbnails(self) -> np.ndarray:
        """The images at 64x64 pixels, uint8 (n, 64, 64), in the order of ``rows``."""
        return np.load(self.path / THUMBNAILS)

    def require_folds(self) -> None:
        """Checks that the folds can train and test.

        Raises:
            ValueError: See ``check_folds``.
        """
        check_folds(*([row[name] for row in self.rows] for name in ("label", "group", "split")))

    @cached_property
    def duplicates(self) -> list[dict[str, str]]:
        """One row a pair of copies, by the images' ids: first, second, similarity, exact (0 or 1).

        Images that were rejected because two classes hold them are among them.
        """
        with (self.path / "duplicates.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    @cached_property
    def properties(self) -> dict[str, dict[str, float]]:
        """What ``properties.measure`` found, by id; also of images that two classes hold."""
        with (self.path / "properties.csv").open(encoding="utf-8", newline="") as file:
            return {
                row.pop("id"): {name: float(value) for name, value in row.items()}
                for row in csv.DictReader(file)
            }

    @cached_property
    def builder(self):
        """The TFDS builder that reads the shards."""
        import tensorflow_datasets as tfds

        return tfds.builder_from_directory(self.path / "tfds" / "1.0.0")


def open_store(source: Source, stores: Path, limit_gb: float = float("inf")) -> Store:
    """Returns the store of a source, ingesting it if that was not done or if it has changed.

    Files that cannot be read, masks without an image and images that two classes hold pixel for
    pixel are rejected: left out of the store, listed in its ``rejected.csv``, and logged. Images
    with an unusable mask stay, marked in ``mask_state``. Exact and near-duplicates stay, in one
    group; a group is assigned to one fold, unless the source itself fixes the split.

    Args:
        source: What to ingest.
        stores: Folder of stores.
        limit_gb: The largest size of that folder, in GB. After an ingest the least recently used
            stores go that no process uses.

    Returns:
        The store. Its folder appears only when it is complete.

    Raises:
        ValueError: If over a tenth of the files cannot be used.
    """
    stores.mkdir(parents=True, exist_ok=True)
    place = stores / store_name(source)
    signature = signature_of(source)
    waiting = "Another process is ingesting the same source; waiting for it."
    ingested = False
    with locked(stores / f".{place.name}.lock", waiting):
        known = read_description(place)
        if known is not None and known["signature"] == signature:
            logger.info(f"Using the ingested copy of {source.name} in {place}.")
            _log_other_search(known["fingerprint"])
        else:
            if known is not None:
                what = "was ingested with other settings"
                if source.root is not None:
                    what = "has changed since it was ingested"
                difference = _difference(source, known["signature"], signature)
                logger.info(f"{source.name} {what}: {difference}. Ingesting it again.")
            if (place / "store.json").exists():  # also a store of an older format
                mark(place, "store")
            replace_folder(place, lambda folder: ingest(source, signature, folder), "store")
            known = read_description(place)
            assert known is not None
            ingested = True
        store = _store_at(place, known)
        use(place, store)
    if ingested:
        enforce_limit(list_stores(stores), limit_gb, "data.stores_gb")
    logger.info(records.format_fingerprint(store.fingerprint))
    if store.fingerprint["rejected"]:
        with (place / "rejected.csv").open(encoding="utf-8", newline="") as file:
            first = list(islice(csv.DictReader(file), 3))
        shown = "; ".join(f"{row['path']}: {row['reason']}" for row in first)
        count = store.fingerprint["rejected"]
        more = f"; and {count - len(first):,} more" if count > len(first) else ""
        logger.info(
            f"{counted(count, 'file')} rejected, listed in {place / 'rejected.csv'}: {shown}{more}"
        )
    if store.fingerprint["groups_cut_by_split"]:
        _warn_of_cut_groups(store)
    return store


def find_store(stores: Path, digest: str) -> Store | None:
    """Returns the store in a folder that has a fingerprint, None if there is none.

    Args:
        stores: Folder of stores.
        digest: The fingerprint's digest.
    """
    for path in sorted(stores.glob("[!.]*/store.json")):
        try:
            known = read_description(path.parent)
        except (ValueError, KeyError):  # damaged, which list_stores names
            continue
        if known is not None and known["fingerprint"]["digest"] == digest:
            store = _store_at(path.parent, known)
            use(path.parent, store)
            return store
    return None


def list_stores(stores: Path) -> list[CacheEntry]:
    """Returns the stores in a folder, and what killed processes left of some."""
    found = list(leftovers(stores, "stores"))
    for path in sorted(stores.glob("[!.]*/store.json")):
        place = path.parent
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
            names = dict.fromkeys([known["source"], known["layout"]])  # the phantom's are equal
            text, current = ", ".join(names), known["format"] == FORMAT
        except (FileNotFoundError, ValueError, KeyError):
            text, current = "damaged", False
        about = text if current else f"{text}, of an older version"
        found.append(CacheEntry.of("stores", place, [place], about, usable=current))
    return found


def _warn_of_cut_groups(store: Store) -> None:
    groups, splits = zip(*((row["group"], row["split"]) for row in store.rows), strict=True)
    cut = records.groups_cut_by_split(groups, splits)
    logger.warning(
        f"The source's own splits divide {counted(len(cut), 'group')} of near-duplicates, or of "
        f"one patient's images (first: {', '.join(cut[:3])}): test results will be too good."
    )


def _log_other_search(fingerprint: dict[str, Any]) -> None:
    """Logs it if an ingest in this process would look for near-duplicates in another way."""
    used = fingerprint.get("near_duplicate_search")
    if used is None:  # of an older version, which compared all images unless there were many
        if fingerprint["images"] > EXACT_UP_TO:
            logger.info("How its near-duplicates were found is not recorded.")
        return
    here = search_of(used["images"])
    if here != used:
        logger.info(
            f"Its near-duplicates were found {search_text(used)}. An ingest here would find them "
            f"{search_text(here)}: groups, folds and the fingerprint could differ in a few images."
        )


def signature_of(source: Source) -> dict[str, list[int]]:
    """Returns a source's signature as store.json holds it."""
    return {name: list(value) for name, value in source.signature().items()}


def store_name(source: Source) -> str:
    """Returns the name of a source's store: that of the source, with a digest of its place."""
    name = re.sub(r"[^\w.-]+", "_", source.name)
    known = f"{source.layout} {source.root.resolve() if source.root else source.name}"
    if name != source.name:  # or "a b.csv" and "a_b.csv" of one folder would share a store
        known += f" {source.name}"
    return f"{name}-{hashlib.sha256(known.encode()).hexdigest()[:8]}"


def _store_at(place: Path, known: dict[str, Any]) -> Store:
    names = ("fingerprint", "fixed_split", "layout")
    return Store(place, tuple(known["classes"]), *(known[name] for name in names))


def read_description(place: Path) -> dict[str, Any] | None:
    """Returns what store.json holds; None without a store, or for one of an older format."""
    try:
        known = json.loads((place / "store.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return known if known["format"] == FORMAT else None


def _difference(source: Source, old: dict[str, Any], new: dict[str, Any]) -> str:
    if source.root is None:  # drawn: the signature holds settings, not files
        return ", ".join(
            f"{name.replace('/', '_')} {_setting(old.get(name))} -> {_setting(new.get(name))}"
            for name in sorted(new.keys() | old.keys())
            if old.get(name) != new.get(name)
        )
    added, removed = new.keys() - old.keys(), old.keys() - new.keys()
    changed = {name for name in new.keys() & old.keys() if new[name] != old[name]}
    parts = [
        f"{counted(len(names), 'file')} {what}, such as {min(names)}"
        for what, names in (("added", added), ("removed", removed), ("changed", changed))
        if names
    ]
    return "; ".join(parts)


def _setting(value: list[int] | None) -> str:
    if value is None:
        return "none"
    return str(value[0]) if value[1] == 0 else "x".join(map(str, value))
