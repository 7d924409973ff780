"""Parts of a PNG or JPEG file before its pixels, found in the graph: chunks, segments, tags."""

from collections.abc import Callable

import tensorflow as tf

# A file has some ten parts before its pixels; the bound keeps a hostile file from taking long.
_MOST_PARTS = 200
_MOST_ENTRIES = 200
_LONG = 4  # the type of a tag's value; a SHORT fills the first half of its place


def jpeg_segment(data: tf.Tensor, marker: int, name: bytes) -> tf.Tensor:
    """Returns the first segment of a JPEG file with a marker and a name, without these.

    Args:
        data: string scalar, the file's bytes.
        marker: The marker's second byte, e.g. 0xe1.
        name: What the segment begins with, e.g. b"Exif" and two zeros.

    Returns:
        string scalar; b"" if there is none before the pixels.
    """

    def step(place: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        head = _filled(data, place, 4)
        # Pixels follow the marker 0xda.
        segment = (head[0] == 0xFF) & (head[1] >= 0xC0) & (head[1] != 0xDA)
        length = tf.maximum(256 * head[2] + head[3], 2)
        wanted = (head[1] == marker) & tf.equal(_bytes(data, place + 4, len(name)), name)
        held = tf.where(segment & wanted, tf.maximum(length - 2 - len(name), 0), 0)
        return place + 2 + length, _bytes(data, place + 4 + len(name), held), segment

    return _first_part(step, 2)


def png_chunk(data: tf.Tensor, name: bytes) -> tf.Tensor:
    """Returns a PNG file's first chunk of a name, b"" if there is none before the pixels.

    Args:
        data: string scalar, the file's bytes.
        name: Four letters, e.g. b"eXIf".
    """

    def step(place: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        own = _bytes(data, place + 4, 4)
        before_pixels = (tf.strings.length(own) == 4) & tf.not_equal(own, b"IDAT")
        # A length of 2^30 or more would lead outside of every file that can be taken.
        scales = tf.constant([2**24, 2**16, 2**8, 1], tf.int64)
        length = tf.reduce_sum(tf.cast(_filled(data, place, 4), tf.int64) * scales)
        length = tf.cast(tf.minimum(length, 2**30), tf.int32)
        held = tf.where(before_pixels & tf.equal(own, name), length, 0)
        return place + 12 + length, _bytes(data, place + 8, held), before_pixels

    return _first_part(step, 8)


def _first_part(step: Callable[[tf.Tensor], tuple[tf.Tensor, ...]], begin: int) -> tf.Tensor:
    """Returns the first part that is not empty, b"" if there is none before the pixels.

    Args:
        step: Takes a part's place; returns that of the next, what is wanted of it, and whether
            there was one. Its reads are few: a graph has several such loops, and is slow to trace
            and to load with many operations.
        begin: The first part's place.
    """

    def go_on(
        count: tf.Tensor, place: tf.Tensor, found: tf.Tensor, more: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        place, found, is_part = step(place)
        more = is_part & (tf.strings.length(found) == 0) & (count + 1 < _MOST_PARTS)
        return count + 1, place, found, more

    start = (tf.constant(0), tf.constant(begin), tf.constant(b""), tf.constant(True))
    return tf.while_loop(lambda count, place, found, more: more, go_on, start)[2]


def tiff_tag(block: tf.Tensor, tag: int) -> tf.Tensor:
    """Returns the number that a tag has in a TIFF block's first directory, 1 if there is none.

    Args:
        block: string scalar, from the byte order on.
        tag: Of one SHORT or LONG.

    Returns:
        int32 scalar; 1 for a damaged block.
    """
    return tf.cond(
        tf.strings.length(block) >= 14, lambda: _read_tag(block, tag), lambda: tf.constant(1)
    )


def _read_tag(block: tf.Tensor, tag: int) -> tf.Tensor:
    big = tf.equal(tf.strings.substr(block, 0, 2), b"MM")
    known = big | tf.equal(tf.strings.substr(block, 0, 2), b"II")
    directory = _number(block, 4, 4, big)
    entries = tf.clip_by_value(_number(block, directory, 2, big), 0, _MOST_ENTRIES)
    places = directory + 2 + 12 * tf.range(entries)
    places = tf.boolean_mask(places, (places >= 0) & (places <= tf.strings.length(block) - 2))
    codes = tf.cast(tf.io.decode_raw(block, tf.uint8), tf.int32)
    first, second = tf.gather(codes, places), tf.gather(codes, places + 1)
    tags = tf.where(big, 256 * first + second, 256 * second + first)
    chosen = tf.concat([tf.boolean_mask(places, tags == tag), [-1]], 0)[0]
    is_long = _number(block, chosen + 2, 2, big) == _LONG
    value = tf.where(
        is_long, _number(block, chosen + 8, 4, big), _number(block, chosen + 8, 2, big)
    )
    return tf.where(known & (chosen >= 0), value, 1)


def _bytes(data: tf.Tensor, begin: tf.Tensor | int, length: tf.Tensor | int) -> tf.Tensor:
    """Returns some bytes, fewer at the data's end; none for a place outside."""
    end = tf.strings.length(data)
    begin = tf.where((begin < 0) | (begin > end), end, begin)
    return tf.strings.substr(data, begin, length)


def _filled(data: tf.Tensor, begin: tf.Tensor | int, length: int) -> tf.Tensor:
    """Returns some bytes, int32 (length,), with zeros beyond the data's end."""
    found = tf.strings.substr(_bytes(data, begin, length) + b"\0" * length, 0, length)
    return tf.cast(tf.ensure_shape(tf.io.decode_raw(found, tf.uint8), (length,)), tf.int32)


def _number(data: tf.Tensor, begin: tf.Tensor | int, length: int, big: tf.Tensor) -> tf.Tensor:
    """Returns an unsigned number of 2 or 4 bytes, int32; -1 outside of the data."""
    scales = tf.constant([256**place for place in range(length)], tf.int64)
    digits = tf.cast(_filled(data, begin, length), tf.int64)
    value = tf.reduce_sum(digits * tf.where(big, scales[::-1], scales))
    value = tf.cast(tf.minimum(value, 2**31 - 1), tf.int32)
    return tf.where((begin >= 0) & (begin + length <= tf.strings.length(data)), value, -1)
