"""The decoder in the graph turns images upright as Pillow does, and survives damaged EXIF."""

import io
import struct
import time

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kerascxr.data.exif import exif_orientation
from kerascxr.data.files import read_grey
from kerascxr.data.images import decode_file
from tests.support.hostile_files import chunk, with_chunk

GREY = np.random.default_rng(0).integers(0, 256, (24, 40)).astype(np.uint8)
decode = tf.function(decode_file, autograph=False, input_signature=[tf.TensorSpec((), tf.string)])
orientation_of = tf.function(
    exif_orientation, autograph=False, input_signature=[tf.TensorSpec((), tf.string)]
)


def file_of(kind, orientation):
    exif = Image.Exif()
    exif[0x010F], exif[0x0112], exif[0x0131] = "A maker", orientation, "A program"
    data = io.BytesIO()
    Image.fromarray(GREY).save(data, kind, exif=exif)
    return data.getvalue()


def tiff(order, entries):
    """An EXIF block of (tag, type, value) entries."""
    packed = b"".join(struct.pack(f"{order}HHIHH", tag, kind, 1, n, 0) for tag, kind, n in entries)
    start = (b"MM" if order == ">" else b"II") + struct.pack(f"{order}HI", 42, 8)
    return start + struct.pack(f"{order}H", len(entries)) + packed + bytes(4)


def jpeg(*segments):
    """A JPEG with these (marker, content) segments before its own."""
    plain = io.BytesIO()
    Image.fromarray(GREY).save(plain, "JPEG")
    more = b"".join(
        bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content
        for marker, content in segments
    )
    return plain.getvalue()[:2] + more + plain.getvalue()[2:]


def exif_segment(block):
    return 0xE1, b"Exif\0\0" + block


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_the_graph_turns_as_the_file_reader_does(tmp_path, kind, orientation):
    data = file_of(kind, orientation)
    (tmp_path / "image").write_bytes(data)
    expected = read_grey(tmp_path / "image")
    assert expected.shape == ((40, 24) if orientation >= 5 else (24, 40))
    np.testing.assert_array_equal(decode(tf.constant(data))[..., 0], expected)


@pytest.mark.parametrize("order", ["<", ">"])
def test_both_byte_orders_and_other_segments_first(order):
    block = tiff(order, [(0x0100, 3, 9), (0x0112, 3, 6), (0x0113, 3, 8)])
    data = jpeg(
        (0xFE, b"a comment"), (0xE1, b"http://ns.adobe.com/xap/1.0/\0"), exif_segment(block)
    )
    assert orientation_of(tf.constant(data)) == 6
    assert Image.open(io.BytesIO(data)).getexif()[0x0112] == 6


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"MM",
        b"XX" + tiff("<", [(0x0112, 3, 6)])[2:],
        tiff("<", [(0x0112, 3, 0)]),
        tiff("<", [(0x0112, 3, 9)]),
        tiff("<", [(0x0100, 3, 6)]),
        tiff("<", []),
        tiff("<", [(0x0112, 3, 6)])[:12],
        b"II*\0\xff\xff\xff\xff" + bytes(8),
        b"II*\0\xf0\xff\xff\x7f" + bytes(8),
        b"II*\0\x08\0\0\0\xff\xff" + bytes(40),
    ],
)
def test_a_damaged_block_leaves_the_image_as_it_is(block):
    plain = decode(tf.constant(jpeg()))
    for data in (jpeg(exif_segment(block)), with_chunk(_png(), b"eXIf", block)):
        assert orientation_of(tf.constant(data)) == 1
    np.testing.assert_array_equal(decode(tf.constant(jpeg(exif_segment(block)))), plain)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [3, 4])
def test_a_number_of_two_or_four_bytes_is_read(tmp_path, order, kind):
    block = tiff(order, [(0x0112, kind, 6)])
    if (order, kind) == (">", 4):
        block = block.replace(struct.pack(">HH", 6, 0), struct.pack(">I", 6))
    for data in (jpeg(exif_segment(block)), with_chunk(_png(), b"eXIf", block)):
        (tmp_path / "image").write_bytes(data)
        np.testing.assert_array_equal(
            decode(tf.constant(data))[..., 0], read_grey(tmp_path / "image")
        )
        assert orientation_of(tf.constant(data)) == 6


def test_the_file_reader_takes_no_orientation_after_the_pixels(tmp_path):
    data = _png()[:-12] + chunk(b"eXIf", tiff("<", [(0x0112, 3, 6)])) + _png()[-12:]
    (tmp_path / "image").write_bytes(data)
    np.testing.assert_array_equal(read_grey(tmp_path / "image"), GREY)
    np.testing.assert_array_equal(decode(tf.constant(data))[..., 0], GREY)


def test_an_orientation_after_the_pixels_is_not_read():
    block = tiff("<", [(0x0112, 3, 6)])
    segment = jpeg(exif_segment(block))[2:]
    for marker in (b"\xff\xda", b"\xff\x01"):  # the pixels, and what is no segment
        assert orientation_of(tf.constant(jpeg()[:2] + marker + b"\0\2" + segment)) == 1
    turned = with_chunk(_png(), b"eXIf", block)[33:]  # behind the signature and the header
    assert orientation_of(tf.constant(_png()[:33] + turned)) == 6
    pixels = struct.pack(">I", 0) + b"IDAT" + bytes(4)
    assert orientation_of(tf.constant(_png()[:33] + pixels + turned)) == 1


def _png():
    data = io.BytesIO()
    Image.fromarray(GREY).save(data, "PNG")
    return data.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        jpeg()[:2] + b"\xff\xe1\0\0" * 100_000,
        jpeg()[:2] + b"\xff\xe1\xff\xff",
        _png()[:8] + struct.pack(">I", 0) * 100_000,
        _png()[:8] + struct.pack(">I", 2**31 + 5) + b"aaaa" + bytes(30),
        b"\xff\xd8",
        b"",
        _png()[:33],
    ],
)
def test_a_hostile_file_takes_no_time(data):
    orientation_of(tf.constant(_png()))  # traced
    started = time.process_time()
    assert orientation_of(tf.constant(data)) == 1
    assert time.process_time() - started < 2
