"""Parts of damaged files: none, rather than bytes of somewhere else."""

import struct

import tensorflow as tf

from kerascxr.data.file_parts import png_chunk, tiff_tag

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(name, content, length=None):
    size = len(content) if length is None else length
    return struct.pack(">I4s", size, name) + content + b"\0" * 4


def test_a_chunk_that_ends_beyond_the_file_is_the_last_one():
    turned = chunk(b"eXIf", b"MM")
    whole = SIGNATURE + chunk(b"juNK", turned) + turned
    assert png_chunk(tf.constant(whole), b"eXIf").numpy() == b"MM"
    # In 32 bits this length is -4: the next chunk would be the one in the content.
    beyond = SIGNATURE + chunk(b"juNK", turned, length=2**32 - 4)
    assert png_chunk(tf.constant(beyond), b"eXIf").numpy() == b""


def test_a_number_that_is_cut_off_is_none():
    block = b"II*\0" + struct.pack("<IHHHIH", 8, 1, 0x0112, 3, 1, 6)
    assert tiff_tag(tf.constant(block), 0x0112).numpy() == 6
    for size in range(14, len(block)):
        assert tiff_tag(tf.constant(block[:size]), 0x0112).numpy() < 2, size
