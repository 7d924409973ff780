"""Figures packed for the report: WebP where that is smaller than the PNG."""

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from kerascxr.report.blocks import Figure, Section

_QUALITY = 90
_CLEARLY = 0.5
"""A drawing stays lossless unless the lossy file is that much smaller, as for X-rays it is."""


def packed(parts: Sequence[Section], folder: Path) -> list[Section]:
    """Returns the sections with each figure's file packed.

    Args:
        parts: The sections.
        folder: An existing folder, which gets the files.
    """
    return [
        replace(
            part,
            blocks=[
                replace(block, path=pack(block.path, folder / block.name))
                if isinstance(block, Figure)
                else block
                for block in part.blocks
            ],
        )
        for part in parts
    ]


def pack(png: Path, to: Path) -> Path:
    """Writes a picture as the smallest of PNG, lossless WebP and, for X-rays, lossy WebP.

    Args:
        png: The picture.
        to: The path to write, without suffix.

    Returns:
        The path with the suffix of its format.
    """
    original = png.read_bytes()
    with Image.open(png) as opened:
        image = opened.convert("RGB")
    lossless = _webp(image, lossless=True, quality=60)
    lossy = _webp(image, quality=_QUALITY)
    best = lossy if len(lossy) < _CLEARLY * len(lossless) else lossless
    suffix, content = (".webp", best) if len(best) < len(original) else (".png", original)
    path = to.with_name(to.name + suffix)
    path.write_bytes(content)
    return path


def _webp(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "WEBP", method=4, **options)
    return file.getvalue()
