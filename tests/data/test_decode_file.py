"""Decoding in the graph: what ingest makes of a file, a served model makes of its bytes."""

import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kerascxr.data.files import ImageFileError, read_grey
from kerascxr.data.images import decode_file

ROWS, COLUMNS = np.mgrid[0:40, 0:52]
WAVES = (np.sin(ROWS / 5) + np.cos(COLUMNS / 7) + 2) * 60
GREY = (WAVES + np.random.default_rng(0).normal(0, 4, WAVES.shape)).clip(0, 255).astype(np.uint8)
COLOUR = np.stack([GREY, np.roll(GREY, 3, 0), 255 - GREY], -1)


def file_of(image, kind, **options):
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def deep(top):
    return Image.fromarray((GREY / 255 * top).astype(np.uint16))


GREY_IMAGE, COLOUR_IMAGE = Image.fromarray(GREY), Image.fromarray(COLOUR)
TWO_PICTURES = file_of(COLOUR_IMAGE, "MPO", save_all=True, append_images=[GREY_IMAGE])


def with_xmp(data, text):
    """A JPEG with an XMP segment before its own."""
    content = b"http://ns.adobe.com/xap/1.0/\0" + text
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content + data[2:]


FILES = {
    "png grey": file_of(Image.fromarray(GREY), "PNG"),
    "png colour": file_of(Image.fromarray(COLOUR), "PNG"),
    "png transparent": file_of(Image.fromarray(np.dstack([COLOUR, GREY])), "PNG"),
    "png grey transparent": file_of(Image.fromarray(np.dstack([GREY, 255 - GREY]), "LA"), "PNG"),
    "png palette": file_of(Image.fromarray(COLOUR).quantize(64), "PNG"),
    **{
        f"png palette of {colours}": file_of(Image.fromarray(COLOUR).quantize(colours), "PNG")
        for colours in (2, 4, 16)
    },
    "png palette of 16, one transparent": file_of(
        Image.fromarray(COLOUR).quantize(16), "PNG", transparency=3
    ),
    "png 1 bit": file_of(Image.fromarray(GREY > 100), "PNG"),
    **{f"png 16 bit to {top}": file_of(deep(top), "PNG") for top in (200, 900, 4000, 16000, 65000)},
    "jpeg grey": file_of(Image.fromarray(GREY), "JPEG", quality=90),
    "jpeg colour": file_of(Image.fromarray(COLOUR), "JPEG", quality=70, subsampling=2),
    "jpeg progressive": file_of(Image.fromarray(COLOUR), "JPEG", progressive=True),
    "jpeg with a gain map": with_xmp(TWO_PICTURES, b'<x hdrgm:Version="1.0"/>'),
    "jpeg cmyk": file_of(Image.fromarray(COLOUR).convert("CMYK"), "JPEG"),
    "bmp grey": file_of(Image.fromarray(GREY), "BMP"),
    "bmp colour": file_of(Image.fromarray(COLOUR), "BMP"),
    "bmp 32 bit": file_of(Image.fromarray(COLOUR).convert("RGBA"), "BMP"),
}
_BMP = FILES["bmp grey"]  # a negative height says that the first row is the uppermost
FILES["bmp from the top"] = _BMP[:22] + struct.pack("<i", -GREY.shape[0]) + _BMP[26:]
PLAIN = FILES["png grey"]
HUGE = PLAIN[:16] + struct.pack(">II", 100_000, 100_000) + PLAIN[24:]
BROKEN = {
    "nothing": b"",
    "a page": b"<html><body>not found, and more text than a header has</body></html>",
    "a drawing": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"></svg>',
    "a beginning": PLAIN[:20],
    "a cut png": PLAIN[: len(PLAIN) // 2],
    "a cut jpeg": FILES["jpeg colour"][:300],
    "a cut bmp": FILES["bmp colour"][:300],
    "a bomb": HUGE,
    "a bomb of rows": PLAIN[:16] + struct.pack(">II", 2**31 + 5, 2) + PLAIN[24:],
    "a gif": file_of(Image.fromarray(GREY), "GIF"),
    "a bmp with a palette": file_of(Image.fromarray(COLOUR).quantize(64), "BMP"),
    "an animated png": file_of(GREY_IMAGE, "PNG", save_all=True, append_images=[COLOUR_IMAGE]),
    "a jpeg of two pictures": TWO_PICTURES,
}


@pytest.fixture(scope="module")
def decode():
    return tf.function(decode_file, autograph=False, input_signature=[tf.TensorSpec((), tf.string)])


@pytest.mark.parametrize("name", FILES)
def test_it_is_what_ingest_reads(decode, tmp_path, name):
    path = tmp_path / "file"
    path.write_bytes(FILES[name])
    expected = read_grey(path)
    given = decode(FILES[name]).numpy()
    assert given.dtype == np.uint8
    assert given.shape == (*expected.shape, 1)
    apart = np.abs(given[..., 0].astype(int) - expected.astype(int)).max()
    assert apart <= (1 if "transparent" in name else 0)


@pytest.mark.parametrize("name", ["an animated png", "a jpeg of two pictures"])
def test_several_pictures_are_refused_here_and_by_the_file_reader(decode, tmp_path, name):
    path = tmp_path / "file"
    path.write_bytes(BROKEN[name])
    with pytest.raises(ImageFileError, match="holds 2 frames"):
        read_grey(path)
    with pytest.raises(tf.errors.InvalidArgumentError, match="Got several"):
        decode(BROKEN[name])


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_image_is_refused(decode, name):
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode(BROKEN[name])


def test_a_bomb_is_refused_by_its_header(decode):
    with pytest.raises(tf.errors.InvalidArgumentError, match="100000"):
        decode(HUGE)
