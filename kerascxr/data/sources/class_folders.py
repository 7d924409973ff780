"""One sub-folder of images for each class, as in the COVID-19 Radiography Database."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from kerascxr.data.files import SUFFIXES
from kerascxr.data.remote import RemoteError, local_file
from kerascxr.data.sources.examples import Example, Rejected, Source, relative_name, unique_ids
from kerascxr.data.sources.paths import (
    bad_source,
    folders_in,
    images_and_masks,
    is_image,
    match_masks,
    visible,
    walk,
)
from kerascxr.names import counted

RADIOGRAPHY_CLASSES = ("COVID", "Lung_Opacity", "Normal", "Viral Pneumonia")

# A group of more images than this share of its class is a collection, not a case.
LARGEST_GROUP = 1 / 40


def open_class_folders(root: Path) -> Source:
    """Lists the images of the radiography database, or of any folder with one sub-folder a class.

    Both may have an ``images/`` level in the class folders, and ``masks/`` beside it.

    Raises:
        ValueError: If there are fewer than two classes.
    """
    rejected: list[Rejected] = []
    found: dict[str, tuple[list[Path], list[Path]]] = {}
    for folder in folders_in(root):
        images, masks = images_and_masks(root, folder, rejected)
        if images:
            found[folder.name] = images, masks
        else:
            rejected.append(Rejected(folder.name, "a folder without any image"))
    loose = [path for path in visible(root) if is_image(path)]
    rejected += [Rejected(path.name, "an image outside of any class folder") for path in loose]
    _require_two_classes(root, found, loose)

    known = set(found) <= set(RADIOGRAPHY_CLASSES)
    classes = tuple(c for c in RADIOGRAPHY_CLASSES if c in found) if known else tuple(sorted(found))
    metadata = _find_metadata(root, classes) if known else {}
    names = [relative_name(path, root) for c in classes for path in found[c][0]]
    ids = iter(unique_ids(names))
    examples: list[Example] = []
    for label in classes:
        images, masks = found[label]
        matched = match_masks(root, images, masks, rejected)
        origins: dict[str, str] = {}
        if label in metadata:
            try:
                origins = read_metadata(metadata[label])
            except RemoteError:
                raise
            except ValueError as error:
                rejected.append(Rejected(metadata[label].name, str(error)))
        groups = case_groups([origins.get(path.stem.casefold()) for path in images])
        examples += [
            Example(
                id=next(ids),
                image=path,
                label=label,
                masks=matched.get(path, ()),
                group=group,
                origin=origins.get(path.stem.casefold()),
            )
            for path, group in zip(images, groups, strict=True)
        ]
    return Source(
        name=root.resolve().name,
        layout="radiography" if known else "folders",
        root=root,
        classes=classes,
        examples=tuple(examples),
        rejected=tuple(rejected),
        companions=tuple(metadata.values()),
    )


def _require_two_classes(root: Path, found: dict, loose: list[Path]) -> None:
    if len(found) > 1:
        return
    rule = "have one sub-folder of images for each of two or more classes"
    if found:
        raise bad_source(
            root,
            rule,
            f"It has one only, {next(iter(found))!r} (for segmentation, name a folder that holds "
            "images/ and masks/)",
        )
    if loose:
        images = counted(len(loose), "image")
        raise bad_source(
            root, rule, f"It holds {images} but no sub-folders: sort them into classes"
        )
    files = list(walk(root))
    if not files:
        raise bad_source(root, rule, "It is empty: name another folder, or unpack the archive")
    kinds = Counter(path.suffix.lower() or path.name for path in files)
    raise bad_source(
        root,
        rule,
        f"It holds no image ({', '.join(sorted(SUFFIXES))}) but "
        f"{', '.join(f'{count} {kind}' for kind, count in kinds.most_common(3))}",
    )


# ---- metadata of the radiography database


def _find_metadata(root: Path, classes: Sequence[str]) -> dict[str, Path]:
    books = {path.name.casefold(): path for path in visible(root)}
    names = {label: f"{label}.metadata.xlsx".casefold() for label in classes}
    return {label: books[name] for label, name in names.items() if name in books}


def read_metadata(path: Path) -> dict[str, str]:
    """Reads where each image of a class came from.

    Returns:
        File name in lower case without suffix -> URL. The workbooks write names in other case
        than the files' (NORMAL-1 for Normal-1.png).

    Raises:
        ValueError: If it is no workbook or lacks the columns FILE NAME and URL.
        RemoteError: If a server does not send it.
    """
    import openpyxl

    try:
        with local_file(path) as local:
            book = openpyxl.load_workbook(local, read_only=True, data_only=True)
            try:
                rows = [*book.worksheets[0].iter_rows(values_only=True)]
            finally:
                book.close()
    except RemoteError:
        raise
    except Exception as error:  # zip, XML and key errors: a workbook is many files in one
        raise ValueError(f"metadata that cannot be read ({type(error).__name__})") from error
    header = [str(cell).strip().upper() for cell in rows[0]] if rows else []
    if not {"FILE NAME", "URL"} <= set(header):
        raise ValueError("metadata without the columns FILE NAME and URL")
    name_at, url_at = header.index("FILE NAME"), header.index("URL")
    return {
        str(row[name_at]).strip().casefold(): str(row[url_at]).strip()
        for row in rows[1:]
        if row[name_at] and row[url_at]
    }


def case_groups(origins: Sequence[str | None]) -> list[str | None]:
    """Says which images of one class belong together by where they came from.

    An origin becomes a group only where it plausibly names a case. In the real database most
    URLs name a whole collection (one for all 6,012 Lung_Opacity images): they say nothing about
    patients, and a group of more than half a fold's share of its class (1/40 of it, at 20
    folds) could not be kept whole without unbalancing the folds. An origin of a single image
    needs no group.
    """
    counts = Counter(origins)
    most = max(2, int(len(origins) * LARGEST_GROUP))
    return [origin if origin and 2 <= counts[origin] <= most else None for origin in origins]
