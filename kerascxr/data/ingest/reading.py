"""Reads one example at ingest: its pixels, checked and measured, and both files as PNG."""

import io
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from kerascxr.data.files import ImageFileError, group_in, read_grey, read_mask, spacing_in
from kerascxr.data.ingest import records
from kerascxr.data.ingest.parallel import CORES, Results, in_processes, in_threads
from kerascxr.data.ingest.properties import measure
from kerascxr.data.ingest.thumbnails import thumbnail
from kerascxr.data.remote import RemotePath, fetched_once, state_of
from kerascxr.data.sources.examples import Example, Rejected

UNLABELLED = "unlabelled"
# Of fewer, processes would take longer to start than they save: see docs/design/file-handling.md.
FILES_FOR_PROCESSES = 1_000
DRAWINGS_FOR_PROCESSES = 200  # an image takes 20 times as long to draw as to read
_THREADS = max(4, CORES)
_REMOTE_THREADS = max(32, CORES)  # most of them wait for a server
_PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_EIGHT_BIT_GREY = b"\x08\0"  # depth and colour type, after the sides


def read_all(examples: Sequence[Example]) -> Results:
    """Reads examples with all cores, in order; see ``read_example``.

    Raises:
        ChildProcessError: If a process that reads was ended.
        RemoteError: See ``read_example``.
    """
    files = (file for example in examples for file in (example.image, *example.masks))
    if any(isinstance(file, RemotePath) for file in files):  # this process knows their servers
        return in_threads(read_example, examples, _REMOTE_THREADS)
    drawn = bool(examples) and not isinstance(examples[0].image, Path)
    least = DRAWINGS_FOR_PROCESSES if drawn else FILES_FOR_PROCESSES
    if CORES == 1 or len(examples) < least:
        return in_threads(read_example, examples, _THREADS)
    return in_processes(read_example, examples)


def _encode(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    # Run lengths alone are faster here than zlib's default, and smaller.
    Image.fromarray(pixels).save(buffer, "PNG", compress_type=zlib.Z_RLE)
    return buffer.getvalue()


def _encode_image(pixels: np.ndarray, origin: Path | None) -> bytes:
    """Encodes an image, or takes its file where that is the same grey PNG already."""
    if origin is not None:
        data = origin.read_bytes()
        plain = data.startswith(_PNG) and data[24:26] == _EIGHT_BIT_GREY
        changed = any(chunk in data for chunk in (b"eXIf", b"tRNS"))
        if plain and not changed and len(data) < 2 * pixels.nbytes:
            return data
    return _encode(pixels)


_NO_MASK = _encode(np.zeros((1, 1), np.uint8))


class ReadImage(NamedTuple):
    """What one reading of an image gives."""

    checked: records.ImageRecord
    thumbnail: np.ndarray
    properties: dict[str, float]
    image: bytes
    mask: bytes


def read_example(example: Example) -> ReadImage | Rejected:
    """Reads, checks and measures an image and its mask; a file that cannot be used is rejected.

    So is an image that changes meanwhile: its file is opened several times, for its pixels, its
    numbers and what the store takes.

    Raises:
        RemoteError: If a server does not send a file: it may be whole, so that it is not rejected.
    """
    with fetched_once():
        if not isinstance(example.image, Path):
            return _read(example)
        before = _content_state(example.image)
        read = None
        try:
            read = _read(example)
        except FileNotFoundError:
            if _content_state(example.image) == before:
                raise
        if read is None or _content_state(example.image) != before:
            return Rejected(str(example.image), "changed while it was read")
        return read


def _content_state(path: Path) -> tuple[int, ...]:
    return state_of(path)[:2]  # a new link to a file, as of a backup, is no change


def _read(example: Example) -> ReadImage | Rejected:
    try:
        if isinstance(example.image, Path):
            path = str(example.image)
            pixels = read_grey(example.image)
            file_bytes = example.image.stat().st_size
            group = example.group or group_in(example.image)
            stated = spacing_in(example.image) if example.spacing is None else None
            spacing = example.spacing if stated is None else (stated.row_mm, stated.column_mm)
            mask = read_mask(example.masks) if example.masks else None
        else:
            path, file_bytes, group = example.id, 0, example.group or ""
            spacing = None
            pixels, mask = example.image.draw()
    except ImageFileError as error:
        return Rejected(str(error.path), error.problem)
    size = (pixels.shape[0], pixels.shape[1])
    properties = measure(pixels, file_bytes)
    checked = records.ImageRecord(
        id=example.id,
        label=example.label or UNLABELLED,
        group=group,
        origin=example.origin or "",
        split=example.split or "",
        path=path,
        size=size,
        digest=records.digest(pixels),
        mean=properties["mean"],
        deviation=properties["deviation"],
        mask_state=records.mask_state(mask, size),
        mask_digest="" if mask is None else records.digest(mask),
        mask_fraction=float("nan") if mask is None else float((mask > 0).mean()),
        spacing=spacing,
    )
    mask_png = _NO_MASK if mask is None else _encode(mask)
    image_png = _encode_image(pixels, example.image if isinstance(example.image, Path) else None)
    return ReadImage(checked, thumbnail(pixels), properties, image_png, mask_png)
