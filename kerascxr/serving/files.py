"""The image files that paths, folders and globs name."""

import glob
from collections.abc import Sequence
from pathlib import Path

from kerascxr.data.files import SUFFIXES
from kerascxr.data.sources.paths import walk


def find_files(patterns: Sequence[str]) -> list[Path]:
    """Returns the image files that paths, folders and globs name, each once, in order.

    Raises:
        ValueError: If one of them names no file.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        path = Path(pattern)
        if path.is_dir():
            files = [file for file in walk(path) if file.suffix.lower() in SUFFIXES]
        elif path.exists():
            files = [path]
        else:
            names = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 (absolute ones too)
            files = [Path(name) for name in names if Path(name).is_file()]
        if not files:
            raise ValueError(f"each path must name images. Got {pattern!r}, where there are none.")
        found |= dict.fromkeys(files)
    return list(found)
