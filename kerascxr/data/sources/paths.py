"""The files of a source: walking folders, telling masks from images, pairing them by name."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from kerascxr.data.files import SUFFIXES
from kerascxr.data.sources.examples import Rejected, natural_key, relative_name, without_level

# Folder names, in lower case.
IMAGE_LEVELS = ("images", "image", "cxr_png")
MASK_LEVELS = ("masks", "mask", "manualmask", "lung masks")
JUNK = {"thumbs.db", "desktop.ini", "__macosx"}

# Files that belong beside images and say nothing to us.
COMPANION_SUFFIXES = frozenset({
    ".txt", ".md", ".rst", ".rtf", ".csv", ".tsv", ".xlsx", ".xls", ".json", ".xml", ".yaml",
    ".yml", ".html", ".pdf", ".docx", ".zip", ".gz", ".tar", ".py", ".ipynb",
})  # fmt: skip


def bad_source(source: object, rule: str, hint: str) -> ValueError:
    """The one-line error for a source that cannot be used."""
    return ValueError(f"the data source must {rule}. Got source={str(source)!r}. {hint}.")


def walk(folder: Path) -> Iterator[Path]:
    """All files below ``folder`` in natural order, without hidden ones and system junk.

    Links are followed, as people link data sets together, but no folder is entered twice.
    """
    seen = set()

    def into(folder: Path) -> Iterator[Path]:
        stat = folder.stat()
        if (stat.st_dev, stat.st_ino) in seen:
            return
        seen.add((stat.st_dev, stat.st_ino))
        for path in visible(folder):
            if path.is_dir():
                yield from into(path)
            else:
                yield path

    return into(folder)


def visible(folder: Path) -> list[Path]:
    """What is in a folder, in natural order, without hidden files and system junk."""
    try:
        paths = [*folder.iterdir()]
    except OSError as error:
        raise bad_source(folder, "be readable", f"It is not: {error.strerror}") from error
    paths = [p for p in paths if not p.name.startswith(".") and p.name.casefold() not in JUNK]
    return sorted(paths, key=lambda path: natural_key(path.name))


def folders_in(folder: Path) -> list[Path]:
    """Returns a folder's sub-folders, in natural order, without hidden ones; a file has none."""
    return [path for path in visible(folder) if path.is_dir()] if folder.is_dir() else []


def count_images(folder: Path) -> int:
    """Returns the number of image files in a folder and below it."""
    return sum(map(is_image, walk(folder)))


def name_fault(name: object) -> str:
    """Returns why a table cannot hold a file's name, as what follows "its name"; "" if it can.

    Bytes that are no UTF-8 cannot be written, and CSV readers end a row at a carriage return.
    """
    try:
        str(name).encode()
    except UnicodeEncodeError:
        return "is not UTF-8"
    return "has a carriage return" if "\r" in str(name) else ""


def printable(name: object) -> str:
    """Returns a name with each undecodable byte as a backslash, x and two digits."""
    text = str(name).encode(errors="surrogateescape").decode(errors="backslashreplace")
    return text.replace("\r", "\\r")


def is_image(path: Path) -> bool:
    """Whether it is a file that is called like an image."""
    return path.suffix.lower() in SUFFIXES and path.is_file()


def only_images(root: Path, files: Iterable[Path], rejected: list[Rejected]) -> list[Path]:
    """Keeps the image files and notes the odd ones."""
    images = []
    for path in files:
        suffix = path.suffix.lower()
        if is_image(path):
            images.append(path)
        elif suffix in SUFFIXES:
            rejected.append(Rejected(relative_name(path, root), "a link to nothing"))
        elif suffix not in COMPANION_SUFFIXES:
            reason = f"not an image by its suffix {suffix!r}"
            rejected.append(Rejected(relative_name(path, root), reason))
    return images


def images_and_masks(
    root: Path, folder: Path, rejected: list[Rejected]
) -> tuple[list[Path], list[Path]]:
    """Splits the image files of a class's folder, or of a folder without classes, by kind."""
    files = only_images(root, walk(folder), rejected)
    names = {path: relative_name(path, root) for path in files}
    stems = {str(Path(name).with_suffix("")) for name in names.values()}
    images: list[Path] = []
    masks: list[Path] = []
    for path in files:
        below = relative_name(path, folder).split("/")[:-1]  # a class may be called "mask"
        base = str(Path(names[path]).with_suffix(""))
        # NAME_mask.png beside NAME.png is no X-ray either.
        beside = base.endswith("_mask") and base.removesuffix("_mask") in stems
        is_mask = beside or any(level.casefold() in MASK_LEVELS for level in below)
        (masks if is_mask else images).append(path)
    return images, masks


def match_masks(
    root: Path, images: Sequence[Path], masks: Sequence[Path], rejected: list[Rejected]
) -> dict[Path, tuple[Path, ...]]:
    """Image -> its mask, for those that have one; notes masks without an image."""
    by_key = masks_by_key(root, root, masks, rejected)
    matched: dict[Path, tuple[Path, ...]] = {}
    used = set()
    for path in images:
        key = mask_key(relative_name(path, root))
        if key in by_key:
            matched[path] = (by_key[key],)
            used.add(key)
    for key in by_key.keys() - used:
        name = relative_name(by_key[key], root)
        rejected.append(Rejected(name, "a mask without an image of its name"))
    rejected.sort(key=lambda item: natural_key(item.path))
    return matched


def masks_by_key(
    root: Path, base: Path, masks: Sequence[Path], rejected: list[Rejected]
) -> dict[str, Path]:
    """Mask files by ``mask_key`` below ``base``; notes a second one of the same name."""
    by_key: dict[str, Path] = {}
    for path in masks:
        key = mask_key(relative_name(path, base)).removesuffix("_mask")
        if by_key.setdefault(key, path) != path:
            reason = f"a second mask beside {by_key[key].name}"
            rejected.append(Rejected(relative_name(path, root), reason))
    return by_key


def mask_key(name: str) -> str:
    """What an image and its mask have in common: COVID/masks/A.png -> COVID/A."""
    return str(Path(without_level(name, IMAGE_LEVELS + MASK_LEVELS)).with_suffix(""))
