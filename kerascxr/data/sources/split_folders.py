"""Folders named train, validation and test, each with class folders or images and masks inside."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from kerascxr.data.sources.examples import SPLIT_NAMES, Example, Rejected, Source
from kerascxr.data.sources.paths import (
    bad_source,
    count_images,
    folders_in,
    is_image,
    visible,
)
from kerascxr.names import listed


def _split_folders(root: Path) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for folder in folders_in(root):
        split = SPLIT_NAMES.get(folder.name.casefold())
        if split is not None:
            found.setdefault(split, []).append(folder)
    return found


def has_split_folders(root: Path) -> bool:
    """Whether sub-folders are splits rather than classes.

    They are if their names mean two or more splits, or if one that is named like a split has
    images in sub-folders of its own. (A class may be called "valid", beside "invalid".)
    """
    found = _split_folders(root)
    inner = [inner for folders in found.values() for path in folders for inner in folders_in(path)]
    return len(found) > 1 or any(count_images(folder) for folder in inner)


def open_split_folders(root: Path, open_split: Callable[[Path], Source]) -> Source:
    """Lists the images of all splits, each image with its split fixed.

    Args:
        root: The folder.
        open_split: Lists the images of one split's folder.

    Raises:
        ValueError: If there are no training or no test images, two folders stand for one split, or
            a split's folder cannot be used.
    """
    found = _split_folders(root)
    for split, folders in found.items():
        if len(folders) > 1:
            names = listed(folder.name for folder in folders)
            raise bad_source(root, f"have one folder for {split}", f"It has {names}: merge them")
    if not {"train", "test"} <= set(found):
        names = ", ".join(folder.name for folders in found.values() for folder in folders)
        raise bad_source(
            root,
            "have class folders, or a train and a test folder with class folders inside",
            f"It has {names}: name that folder itself, or add the other",
        )
    order = [split for split in ("train", "validation", "test") if split in found]
    parts = {split: (found[split][0], open_split(found[split][0])) for split in order}
    unlabelled = [folder.name for folder, part in parts.values() if not part.classes]
    if unlabelled and len(unlabelled) < len(parts):
        hint = f"{listed(unlabelled)} has images and masks"
        raise bad_source(root, "have class folders in all splits or in none", hint)
    examples: list[Example] = []
    rejected: list[Rejected] = []
    for split, (folder, part) in parts.items():
        examples += [
            replace(example, id=f"{folder.name}/{example.id}", split=split)
            for example in part.examples
        ]
        rejected += [Rejected(f"{folder.name}/{item.path}", item.reason) for item in part.rejected]
    for folder in folders_in(root):
        if folder.name.casefold() not in SPLIT_NAMES:
            count = count_images(folder)
            what = f"a folder of {count} images" if count else "a folder without any image"
            rejected.append(Rejected(folder.name, f"{what} beside the splits' folders"))
    loose = [path for path in visible(root) if is_image(path)]
    rejected += [Rejected(path.name, "an image outside of any class folder") for path in loose]
    sources = [part for _, part in parts.values()]
    classes = {name for part in sources for name in part.classes}
    return Source(
        name=root.resolve().name,
        layout="splits",
        root=root,
        classes=tuple(sorted(classes)),
        examples=tuple(examples),
        rejected=tuple(rejected),
        companions=tuple(path for part in sources for path in part.companions),
    )
