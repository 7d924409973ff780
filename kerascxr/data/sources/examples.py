"""What a source of images is: its examples, its classes, and what was rejected."""

import os
import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from kerascxr.data.remote import RemotePath, look_up_files, state_of

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
    "testing": "test",
}
"""What people call the splits, in lower case, and the names used here."""


class Drawable(Protocol):
    """An image that is drawn when asked for."""

    def draw(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the image, uint8 (height, width), and its lung mask, 0 or 255, of that shape."""
        ...


@dataclass(frozen=True)
class Example:
    """One X-ray, not read yet.

    Attributes:
        id: Unique in the source and the same on every machine, e.g. "COVID/COVID-1".
        image: The file, or the drawing to make.
        label: The class; None where the source has none.
        masks: Lung masks, to be united; () where there is none.
        group: Images of one group (a patient, a study) must stay in one fold.
        origin: Where the image was taken from.
        split: "train", "validation" or "test" where the source itself settles it.
        spacing: Distance of the image's rows and of its columns in mm, where the source gives it.
    """

    id: str
    image: Path | Drawable
    label: str | None = None
    masks: tuple[Path, ...] = ()
    group: str | None = None
    origin: str | None = None
    split: str | None = None
    spacing: tuple[float, float] | None = None


@dataclass(frozen=True)
class Rejected:
    """Something found in a source that is not used, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Source:
    """Images from one place.

    Attributes:
        name: For people and for run folders.
        layout: How it is arranged: one of ``layout_names``, or "phantom".
        root: The folder that names are relative to; None for the phantom.
        classes: In their fixed order; () without labels.
        examples: All images to be used.
        rejected: What was found and is not used.
        companions: Files besides images and masks that were read (a CSV, metadata).
        notice: A sentence or two for the user, or "".
        settings: Instead of files: what the drawings depend on, by name.
    """

    name: str
    layout: str
    root: Path | None
    classes: tuple[str, ...]
    examples: tuple[Example, ...]
    rejected: tuple[Rejected, ...] = ()
    companions: tuple[Path, ...] = ()
    notice: str = ""
    settings: tuple[tuple[str, tuple[int, int]], ...] = ()

    def signature(self) -> dict[str, tuple[int, ...]]:
        """Describes the state of the files, without reading images.

        Returns:
            File name relative to ``root`` -> (size in bytes, time of the last change of the content
            in ns, and of the file) for all files used, (-1, -1, -1) for one that is gone. The last
            one cannot be set: two files of one size that an archive gave one time, and that have
            changed places, differ in it. For remote files, size and what the server says of
            content and time (ETag, digest, date). For drawings, ``settings``.

        Raises:
            RemoteError: If a server cannot be asked.
        """
        if self.root is None:
            return {name: tuple(value) for name, value in self.settings}
        paths = set(self.companions)
        for example in self.examples:
            image = example.image if isinstance(example.image, Path) else Path(str(example.image))
            paths.update((image, *example.masks))
        look_up_files(paths)
        return {relative_name(path, self.root): state_of(path) for path in sorted(paths, key=str)}


def natural_key(text: str) -> tuple:
    """Sorts COVID-2 before COVID-10."""
    parts = re.split(r"(\d+)", text.casefold())
    # Odd places hold the numbers. The text itself settles ties, so the order is total.
    return [(int(part), "") if i % 2 else (-1, part) for i, part in enumerate(parts)], text


def relative_name(path: Path, root: Path) -> str:
    """The path from ``root`` with forward slashes, also for files outside of it."""
    if isinstance(path, RemotePath) and not path.is_relative_to(root):
        return "/".join(path.parts[1:])  # the host or bucket and what is below it
    return Path(os.path.relpath(path, root)).as_posix()


def unique_ids(names: list[str]) -> list[str]:
    """Shortens names of files to ids.

    The id is the name without its ``images/`` level and without its suffix. Where two files
    would share one (COVID-1.png and COVID-1.jpg), each of them keeps its suffix, and, if that
    is not unique either, its full name.
    """
    choices_of = [_choices(name) for name in names]
    level = [0] * len(names)
    while True:
        ids = [choices[at] for choices, at in zip(choices_of, level, strict=True)]
        counts = Counter(ids)
        clashing = [i for i, id_ in enumerate(ids) if counts[id_] > 1 and level[i] < 2]
        if not clashing:
            return ids
        for i in clashing:
            level[i] += 1


def _choices(name: str) -> tuple[str, str, str]:
    """The ids that a file may have, from short to full."""
    bare = without_level(name)
    return Path(bare).with_suffix("").as_posix(), bare, name


def without_level(name: str, levels: Collection[str] = ("images",)) -> str:
    """Leaves the folders called like one of ``levels`` out of a relative name."""
    *folders, file = name.split("/")
    return "/".join([*(folder for folder in folders if folder.casefold() not in levels), file])
