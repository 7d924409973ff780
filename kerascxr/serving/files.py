"""The image files that paths, folders and globs name, and the names of files made of them."""

import glob
import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from kerascxr.data.files import SUFFIXES
from kerascxr.data.remote import RemotePath, join, look_up_files, open_url
from kerascxr.data.sources.paths import COMPANION_SUFFIXES, name_fault, printable, walk
from kerascxr.names import counted

logger = logging.getLogger(__name__)

_STEM, _STEM_BYTES = 60, 180  # of an image's name: names of files are limited to 255 bytes
_DIGITS = 12


def find_files(patterns: Sequence[str]) -> list[Path]:
    """Returns the image files that paths, folders, globs and URLs name, each once, in order.

    Of a folder, files whose suffix is no image's are passed over, and so are folders that a glob
    matches; a line says how many.

    Args:
        patterns: What names files; a URL is that of an image file, or of a folder.

    Raises:
        ValueError: If one of them names no file, or a server cannot be asked.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        path = join(Path(), pattern)
        if isinstance(path, RemotePath):
            files = _at_url(path)
        elif path.is_dir():
            files = _in_folder(path)
        elif path.exists():
            files = [path]
        else:
            names = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 (absolute ones too)
            files = [Path(name) for name in names if Path(name).is_file()]
            _name_folders(pattern, [Path(name) for name in names if Path(name).is_dir()])
        if not files:
            raise ValueError(f"each path must name images. Got {pattern!r}, where there are none.")
        found |= dict.fromkeys(files)
    look_up_files(found)  # a later call compares what the servers say now
    return list(found)


def _at_url(path: RemotePath) -> list[Path]:
    """Returns the image files at a URL; none if nothing is there."""
    if Path(urlsplit(str(path)).path).suffix.lower() in SUFFIXES:
        look_up_files([path], anew=True)
        return [path] if path.is_file() else []
    try:
        return _in_folder(open_url(str(path)))
    except FileNotFoundError:
        return []


def _in_folder(folder: Path) -> list[Path]:
    """Returns the image files in a folder and below it."""
    every = list(walk(folder))
    _name_passed_over(folder, every)
    return [file for file in every if file.suffix.lower() in SUFFIXES]


def _name_passed_over(folder: Path, files: Sequence[Path]) -> None:
    known = SUFFIXES | COMPANION_SUFFIXES
    others = [file for file in files if file.suffix.lower() not in known]
    if others:
        logger.warning(
            f"{folder} has {counted(len(others), 'file')} whose suffix is no image's, such as "
            f"{printable(others[0])}: passed over. A glob, as '{folder}/*', takes files of any "
            "name, such as DICOM files without a suffix."
        )


def _name_folders(pattern: str, folders: Sequence[Path]) -> None:
    """Logs which folders a glob matches, unless it matches all that is in them too."""
    if folders and "**" not in pattern:
        logger.warning(
            f"{pattern!r} matches {counted(len(folders), 'folder')}, such as {folders[0]}: passed "
            "over. A folder's own path takes the images in it and below it."
        )


def nameable(files: Sequence[Path]) -> tuple[list[Path], list[tuple[str, str]]]:
    """Splits off the files whose names a table cannot hold, see ``name_fault``.

    Returns:
        The other files; and of each one split off, its printable path and the reason.
    """
    faults = {path: name_fault(path) for path in files}
    odd = [(printable(path), f"its name {fault}") for path, fault in faults.items() if fault]
    return [path for path, fault in faults.items() if not fault], odd


def derived_name(path: str, suffix: str) -> str:
    """Returns a name for a file that is made of an image: its own name and a digest of its path.

    Images of the same name in several folders get several names, and each always the same one.
    """
    digest = hashlib.sha256(path.encode()).hexdigest()[:_DIGITS]
    stem = Path(path).stem[:_STEM].encode()[:_STEM_BYTES].decode(errors="ignore")
    return f"{stem}-{digest}{suffix}"
