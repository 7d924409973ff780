"""Parts of a PNG or JPEG file before its pixels, found in the graph: chunks, segments, tags."""

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

    def goes_on(count: tf.Tensor, place: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
        own = _number(data, place + 1, 1, big=True)
        # Pixels follow the marker 0xda.
        segment = (_number(data, place, 1, big=True) == 0xFF) & (own >= 0xC0) & (own != 0xDA)
        return (count < _MOST_PARTS) & (tf.strings.length(found) == 0) & segment

    def step(
        count: tf.Tensor, place: tf.Tensor, found: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        length = _number(data, place + 2, 2, big=True)
        wanted = (_number(data, place + 1, 1, big=True) == marker) & tf.equal(
            _bytes(data, place + 4, len(name)), name
        )
        begin = place + 4 + len(name)
        block = tf.cond(
            wanted,
            lambda: _bytes(data, begin, tf.maximum(length - 2 - len(name), 0)),
            lambda: tf.constant(b""),
        )
        return count + 1, place + 2 + tf.maximum(length, 2), block

    start = (tf.constant(0), tf.constant(2), tf.constant(b""))
    return tf.while_loop(goes_on, step, start)[2]


def png_chunk(data: tf.Tensor, name: bytes) -> tf.Tensor:
    """Returns a PNG file's first chunk of a name, b"" if there is none before the pixels.

    Args:
        data: string scalar, the file's bytes.
        name: Four letters, e.g. b"eXIf".
    """

    def goes_on(count: tf.Tensor, place: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
        own = _bytes(data, place + 4, 4)
        before_pixels = (tf.strings.length(own) == 4) & tf.not_equal(own, b"IDAT")
        return (count < _MOST_PARTS) & (tf.strings.length(found) == 0) & before_pixels

    def step(
        count: tf.Tensor, place: tf.Tensor, found: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        # A length of 2^30 or more would lead outside of every file that can be taken.
        length = _number(data, place, 4, big=True)
        length = tf.where((length < 0) | (length >= 2**30), 2**30, length)
        wanted = tf.equal(_bytes(data, place + 4, 4), name)
        block = tf.cond(wanted, lambda: _bytes(data, place + 8, length), lambda: tf.constant(b""))
        return count + 1, place + 12 + length, block

    start = (tf.constant(0), tf.constant(8), tf.constant(b""))
    return tf.while_loop(goes_on, step, start)[2]


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
    tags = tf.map_fn(lambda place: _number(block, place, 2, big), places)
    chosen = tf.concat([tf.boolean_mask(places, tags == tag), [-1]], 0)[0]
    is_long = _number(block, chosen + 2, 2, big) == _LONG
    value = tf.cond(
        is_long,
        lambda: _number(block, chosen + 8, 4, big),
        lambda: _number(block, chosen + 8, 2, big),
    )
    return tf.where(known & (chosen >= 0), value, 1)


def _bytes(data: tf.Tensor, begin: tf.Tensor, length: tf.Tensor | int) -> tf.Tensor:
    """Returns some bytes, fewer at the data's end; none for a place outside."""
    end = tf.strings.length(data)
    begin = tf.where((begin < 0) | (begin > end), end, begin)
    return tf.strings.substr(data, begin, length)


def _number(data: tf.Tensor, begin: tf.Tensor, length: int, big: tf.Tensor | bool) -> tf.Tensor:
    """Returns an unsigned number of 1, 2 or 4 bytes, int32; -1 outside of the data."""
    found = _bytes(data, begin, length)

    def read() -> tf.Tensor:
        digits = tf.cast(tf.io.decode_raw(found, tf.uint8), tf.int64)
        digits = tf.where(big, digits[::-1], digits)
        scales = tf.constant([256**place for place in range(length)], tf.int64)
        return tf.cast(tf.minimum(tf.reduce_sum(digits * scales), 2**31 - 1), tf.int32)

    return tf.cond(tf.strings.length(found) == length, read, lambda: tf.constant(-1))
