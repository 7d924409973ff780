"""The layouts in which people keep X-rays, and how each is recognised and read."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from kerascxr.data.sources.class_folders import open_class_folders
from kerascxr.data.sources.csv_list import open_csv
from kerascxr.data.sources.examples import Example, Rejected, Source, relative_name
from kerascxr.data.sources.mask_folders import (
    find_mask_folders,
    is_downloaded_set,
    open_mask_folders,
)
from kerascxr.data.sources.paths import bad_source, folders_in, name_fault, printable
from kerascxr.data.sources.plain_images import has_plain_images, open_plain_images
from kerascxr.data.sources.split_folders import has_split_folders, open_split_folders

RADIOGRAPHY_NAME = "COVID-19_Radiography_Dataset"


@dataclass(frozen=True)
class Layout:
    """One way in which files are arranged.

    Attributes:
        applies: Whether a path, an existing folder or file, is arranged in this way. It looks at
            names only.
        open: Lists the images of such a path, without reading them. Raises ``ValueError`` in one
            line where the path cannot be used.
        names: What ``Source.layout`` can be of such a path; the entry's own name if empty.
        open_tested: Likewise for a finished model, for which one class will do, or none; ``open``
            if it is None.
    """

    applies: Callable[[Path], bool]
    open: Callable[[Path], Source]
    names: tuple[str, ...] = ()
    open_tested: Callable[[Path], Source] | None = None


def layout_names() -> set[str]:
    """Returns what ``Source.layout`` can be, of files and folders."""
    return {name for key, layout in LAYOUTS.items() for name in layout.names or (key,)}


def open_path(path: Path, only_tested: bool = False) -> Source:
    """Lists the images of a folder or file by the last layout that applies; no image is read.

    Files whose names have a fault are rejected, see ``name_fault``: tables could not name them.

    Args:
        path: The folder or file.
        only_tested: Whether the images are for a finished model: then one class will do, or none.

    Raises:
        ValueError: If no layout applies, or the one that does cannot use the path.
    """
    if name_fault(path.resolve()):
        rule = "have a UTF-8 path without carriage returns"
        raise bad_source(printable(path), rule, "Rename the folder")
    for layout in reversed(LAYOUTS.values()):
        if layout.applies(path):
            opened = layout.open_tested if only_tested and layout.open_tested else layout.open
            return _without_faulty_names(opened(path))
    hint = (
        "Unpack it"
        if path.suffix.lower() in (".zip", ".gz", ".tar")
        else "Give a folder, a .csv file or a word"
    )
    raise bad_source(path, "be a folder or a .csv file", hint)


def _without_faulty_names(source: Source) -> Source:
    root = source.root or Path()
    examples: list[Example] = []
    rejected = [Rejected(printable(item.path), item.reason) for item in source.rejected]
    for example in source.examples:
        files = [file for file in (example.image, *example.masks) if isinstance(file, Path)]
        faults = {file: name_fault(relative_name(file, root)) for file in files}
        bad = {file: fault for file, fault in faults.items() if fault}
        rejected += [
            Rejected(
                printable(relative_name(file, root)), f"a file name that {fault}: rename the file"
            )
            for file, fault in bad.items()
        ]
        if example.image not in bad:
            examples.append(replace(example, masks=() if bad else example.masks))
    if len(examples) == len(source.examples):
        return replace(source, rejected=tuple(rejected), examples=tuple(examples))
    labels = {example.label for example in examples}
    return replace(
        source,
        rejected=tuple(rejected),
        examples=tuple(examples),
        classes=tuple(name for name in source.classes if name in labels),
    )


def _has_inner_radiography(path: Path) -> bool:
    return path.is_dir() and (path / RADIOGRAPHY_NAME).is_dir()


def _downloaded_sets(path: Path) -> list[Path]:
    return [folder for folder in folders_in(path) if is_downloaded_set(folder)]


def _open_downloaded_set(path: Path) -> Source:
    sets = _downloaded_sets(path)
    if len(sets) > 1:
        names = ", ".join(folder.name for folder in sets)
        raise bad_source(path, "be one set", f"Name one of: {names}")
    return open_mask_folders(sets[0])


LAYOUTS: dict[str, Layout] = {
    "classes": Layout(
        lambda path: path.is_dir(),
        open_class_folders,
        ("radiography", "folders", "images"),
        lambda path: (open_plain_images if has_plain_images(path) else open_class_folders)(path),
    ),
    "splits": Layout(has_split_folders, lambda path: open_split_folders(path, _open_one_split)),
    "downloaded set": Layout(
        lambda path: bool(_downloaded_sets(path)), _open_downloaded_set, ("pairs",)
    ),
    "radiography database one level down": Layout(
        _has_inner_radiography,
        lambda path: open_class_folders(path / RADIOGRAPHY_NAME),
        ("radiography", "folders"),
    ),
    "images and masks": Layout(
        lambda path: find_mask_folders(path) is not None, open_mask_folders, ("pairs",)
    ),
    "csv": Layout(
        lambda path: path.is_file() and path.suffix.lower() == ".csv",
        open_csv,
        open_tested=lambda path: open_csv(path, only_tested=True),
    ),
}
"""From general to special: of the layouts that apply to a path, the last one reads it."""


def _open_one_split(path: Path) -> Source:
    """Opens the folder of one split: class folders, or images and masks."""
    is_segmentation = find_mask_folders(path) is not None
    return open_mask_folders(path) if is_segmentation else open_class_folders(path)
