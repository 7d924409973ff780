"""Ingest: reads each file once, checks it, groups it, assigns folds and writes TFDS shards."""

import contextlib
import csv
import dataclasses
import io
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from kerascxr.data.ingest import records
from kerascxr.data.ingest.candidates import search_of
from kerascxr.data.ingest.duplicates import Pair, duplicate_clusters, find_duplicates
from kerascxr.data.ingest.folds import assign_fixed_folds, assign_folds
from kerascxr.data.ingest.properties import PROPERTIES
from kerascxr.data.ingest.reading import UNLABELLED, read_all
from kerascxr.data.ingest.thumbnails import SIDE
from kerascxr.data.sources.open import Rejected, Source
from kerascxr.progress import ProgressBar
from kerascxr.runs.atomic import disk_errors, write_json

FORMAT = 10  # raise it with every change of what a store holds: older ones are ingested again
THUMBNAILS = "thumbnails.npy"
_MAX_REJECTION_RATE = 0.1
_ROW: tuple[str, ...] = ("id", "label", "group", "given_group", "split", "fold", "origin", "path")
_ROW += ("height", "width", "row_mm", "column_mm", "mask_state", "digest")


def ingest(source: Source, signature: dict[str, Any], folder: Path) -> None:
    """Reads a source and fills an empty folder with its store.

    Args:
        source: What to read.
        signature: What to know the source by, kept in store.json.
        folder: Where to; it is complete only when this returns.

    Raises:
        ValueError: If over a tenth of the files cannot be used.
    """
    rejected = list(source.rejected)
    with tempfile.TemporaryFile(dir=folder) as spool:  # each file is decoded once, encoded once
        everything, places, thumbnails, measured = _read_all(source, spool, rejected)
        conflicts = records.conflicting(everything)
        rejected += [
            Rejected(item.path, conflicts[item.id]) for item in everything if item.id in conflicts
        ]
        kept = [index for index, item in enumerate(everything) if item.id not in conflicts]
        _check_rejection_rate(source, len(kept), rejected)
        digests = [item.digest for item in everything]
        search = search_of(len(set(digests)))
        pairs = find_duplicates(thumbnails, digests)
        _write_pairs(folder / "duplicates.csv", pairs, everything)
        _write_csv(folder / "properties.csv", ("id", *PROPERTIES), measured)
        np.save(folder / THUMBNAILS, thumbnails[kept] if conflicts else thumbnails)
        checked = [everything[index] for index in kept]
        places = [places[index] for index in kept]
        alike = duplicate_clusters(pairs, len(everything))[kept]
        groups = records.joint_groups(checked, alike)
        labels = [item.label for item in checked]
        fixed_split = any(item.split for item in checked)
        if fixed_split:
            folds = assign_fixed_folds(labels, groups, [item.split for item in checked])
        else:
            folds = assign_folds(labels, groups)
        classes = source.classes or (UNLABELLED,)
        _write_shards(folder / "tfds", source.name, classes, checked, groups, folds, places, spool)
    _write_csv(
        folder / "examples.csv",
        _ROW,
        (
            dataclasses.asdict(item)
            | {"group": group, "given_group": item.group, "fold": int(fold)}
            | {"height": item.size[0], "width": item.size[1]}
            | dict(zip(("row_mm", "column_mm"), item.spacing or ("", ""), strict=True))
            for item, group, fold in zip(checked, groups, folds, strict=True)
        ),
    )
    _write_csv(folder / "rejected.csv", ("path", "reason"), map(dataclasses.asdict, rejected))
    write_json(
        folder / "store.json",
        {
            "format": FORMAT,
            "source": source.name,
            "layout": source.layout,
            "classes": list(classes),
            "fixed_split": fixed_split,
            "fingerprint": records.fingerprint(
                checked, groups, folds, alike, len(rejected), search
            ),
            "signature": signature,
        },
    )


def _check_rejection_rate(source: Source, kept: int, rejected: Sequence[Rejected]) -> None:
    if len(rejected) > _MAX_REJECTION_RATE * (kept + len(rejected)):
        first = "; ".join(f"{item.path}: {item.reason}" for item in rejected[:3])
        raise ValueError(
            f"at most one file in ten may be unusable. Got {len(rejected)} of "
            f"{kept + len(rejected)} in {source.name}: {first}"
        )


def _read_all(
    source: Source, spool: IO[bytes], rejected: list[Rejected]
) -> tuple[list[records.ImageRecord], list[tuple[int, int, int]], np.ndarray, list[dict[str, Any]]]:
    checked: list[records.ImageRecord] = []
    places, measured = [], []
    thumbnails = np.empty((len(source.examples), SIDE, SIDE), np.uint8)
    for read in ProgressBar(
        read_all(source.examples),
        total=len(source.examples),
        desc=f"Reading {source.name}",
        unit="image",
        mininterval=0.5,
    ):
        if isinstance(read, Rejected):
            rejected.append(read)
            continue
        thumbnails[len(checked)] = read.thumbnail
        checked.append(read.checked)
        measured.append({"id": read.checked.id, **read.properties})
        places.append((spool.tell(), len(read.image), len(read.mask)))
        spool.write(read.image + read.mask)
    return checked, places, thumbnails[: len(checked)], measured


def _write_pairs(path: Path, pairs: Sequence[Pair], checked: Sequence[records.ImageRecord]) -> None:
    rows = (
        {
            "first": checked[pair.first].id,
            "second": checked[pair.second].id,
            "similarity": f"{pair.similarity:.4f}",
            "exact": int(pair.exact),
        }
        for pair in pairs
    )
    _write_csv(path, ("first", "second", "similarity", "exact"), rows)


def _write_csv(path: Path, columns: Sequence[str], rows: Any) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _write_shards(
    folder: Path,
    name: str,
    classes: Sequence[str],
    checked: Sequence[records.ImageRecord],
    groups: Sequence[str],
    folds: np.ndarray,
    places: Sequence[tuple[int, int, int]],
    spool: IO[bytes],
) -> None:
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    bar = ProgressBar(total=len(checked), desc=f"Writing {name}", unit="image")

    def examples(fold: int) -> Iterator[tuple[str, dict[str, Any]]]:
        for item, group, own_fold, (begin, image, mask) in zip(
            checked, groups, folds, places, strict=True
        ):
            if own_fold == fold:
                spool.seek(begin)
                yield (
                    item.id,
                    {
                        "id": item.id,
                        "image": io.BytesIO(spool.read(image)),
                        "mask": io.BytesIO(spool.read(mask)),
                        "label": item.label,
                        "group": group,
                        "origin": item.origin,
                        "mask_state": item.mask_state,
                    },
                )
                bar.update()

    class Info(tfds.core.DatasetInfo):
        """What TFDS notes of the store."""

        def initialize_from_bucket(self) -> None:
            """Does nothing: TFDS' servers know no store, and it leaves a temporary folder."""

    # Not in TFDS' registry of names: this class is for one store alone.
    class ChestXray(  # type: ignore[call-arg]
        tfds.core.GeneratorBasedBuilder, skip_registration=True
    ):
        """8-bit grey chest X-rays with labels, lung masks and folds."""

        VERSION = tfds.core.Version("1.0.0")
        pkg_dir_path = folder

        def _info(self) -> tfds.core.DatasetInfo:
            grey = tfds.features.Image(shape=(None, None, 1), dtype=np.uint8, encoding_format="png")
            features = {
                "id": tfds.features.Text(),
                "image": grey,
                "mask": grey,
                "label": tfds.features.ClassLabel(names=list(classes)),
                "group": tfds.features.Text(),
                "origin": tfds.features.Text(),
                "mask_state": tfds.features.Text(),
            }
            return Info(
                builder=self, description=name, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, dl_manager):
            del dl_manager
            return {f"fold_{fold:02d}": examples(fold) for fold in np.unique(folds).tolist()}

        def _generate_examples(self):
            raise NotImplementedError("each split brings its own generator")

    # TFDS announces a download on standard output, and there is none.
    with bar, contextlib.redirect_stdout(io.StringIO()), disk_errors(folder):
        builder = ChestXray(data_dir=folder / "build")
        builder.download_and_prepare()
    shutil.move(builder.data_dir, folder / "1.0.0")
    shutil.rmtree(folder / "build")
