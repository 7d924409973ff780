"""EXIF orientation in the graph: read from a file's bytes, and applied to its pixels."""

import tensorflow as tf

_ORIENTATION = 0x0112
_EXIF = b"Exif\0\0"
# A file has some ten segments before its pixels; the bound keeps a hostile file from taking long.
_MOST_SEGMENTS = 200
_MOST_ENTRIES = 200


def exif_orientation(data: tf.Tensor) -> tf.Tensor:
    """Reads the orientation of a JPEG or PNG file.

    Args:
        data: string scalar, the file's bytes.

    Returns:
        int32 scalar, 1 to 8; 1, upright, if there is none before the pixels, or a damaged one.

    Source:
        CIPA DC-008 (EXIF 2.32), sections 4.5 and 4.6; PNG 3rd edition, section 11.3.4.5.
    """
    is_jpeg = tf.equal(tf.strings.substr(data, 0, 2), b"\xff\xd8")
    is_png = tf.equal(tf.strings.substr(data, 0, 4), b"\x89PNG")
    block = tf.case(
        [(is_jpeg, lambda: _jpeg_block(data)), (is_png, lambda: _png_block(data))],
        default=lambda: tf.constant(b""),
    )
    return tf.cond(
        tf.strings.length(block) >= 14, lambda: _read_tiff(block), lambda: tf.constant(1)
    )


def apply_orientation(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Turns an image upright.

    Args:
        image: (height, width, channels).
        orientation: int32 scalar, 1 to 8, from ``exif_orientation``.

    Returns:
        The image as a viewer shows it; height and width change places for 5 to 8.
    """
    turned = tf.cond(orientation >= 5, lambda: tf.transpose(image, (1, 0, 2)), lambda: image)
    rows = tf.reduce_any(orientation == tf.constant([3, 4, 7, 8]))
    columns = tf.reduce_any(orientation == tf.constant([2, 3, 6, 7]))
    turned = tf.cond(rows, lambda: tf.reverse(turned, [0]), lambda: turned)
    return tf.cond(columns, lambda: tf.reverse(turned, [1]), lambda: turned)


def _jpeg_block(data: tf.Tensor) -> tf.Tensor:
    """Returns the TIFF block of a JPEG's EXIF segment, or b""."""

    def goes_on(count: tf.Tensor, place: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
        marker = _number(data, place + 1, 1, big=True)
        # Pixels follow the marker 0xda.
        segment = (_number(data, place, 1, big=True) == 0xFF) & (marker >= 0xC0) & (marker != 0xDA)
        return (count < _MOST_SEGMENTS) & (tf.strings.length(found) == 0) & segment

    def step(
        count: tf.Tensor, place: tf.Tensor, found: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        length = _number(data, place + 2, 2, big=True)
        is_exif = (_number(data, place + 1, 1, big=True) == 0xE1) & tf.equal(
            _bytes(data, place + 4, len(_EXIF)), _EXIF
        )
        begin = place + 4 + len(_EXIF)
        block = tf.cond(
            is_exif,
            lambda: _bytes(data, begin, tf.maximum(length - 2 - len(_EXIF), 0)),
            lambda: tf.constant(b""),
        )
        return count + 1, place + 2 + tf.maximum(length, 2), block

    start = (tf.constant(0), tf.constant(2), tf.constant(b""))
    return tf.while_loop(goes_on, step, start)[2]


def _png_block(data: tf.Tensor) -> tf.Tensor:
    """Returns a PNG's eXIf chunk, or b""."""

    def goes_on(count: tf.Tensor, place: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
        name = _bytes(data, place + 4, 4)
        before_pixels = (tf.strings.length(name) == 4) & tf.not_equal(name, b"IDAT")
        return (count < _MOST_SEGMENTS) & (tf.strings.length(found) == 0) & before_pixels

    def step(
        count: tf.Tensor, place: tf.Tensor, found: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        # A length of 2^30 or more would lead outside of every file that can be taken.
        length = _number(data, place, 4, big=True)
        length = tf.where((length < 0) | (length >= 2**30), 2**30, length)
        is_exif = tf.equal(_bytes(data, place + 4, 4), b"eXIf")
        block = tf.cond(is_exif, lambda: _bytes(data, place + 8, length), lambda: tf.constant(b""))
        return count + 1, place + 12 + length, block

    start = (tf.constant(0), tf.constant(8), tf.constant(b""))
    return tf.while_loop(goes_on, step, start)[2]


def _read_tiff(block: tf.Tensor) -> tf.Tensor:
    """Returns the orientation in a TIFF block's first directory, 1 if there is none."""
    big = tf.equal(tf.strings.substr(block, 0, 2), b"MM")
    known = big | tf.equal(tf.strings.substr(block, 0, 2), b"II")
    directory = _number(block, 4, 4, big)
    entries = tf.clip_by_value(_number(block, directory, 2, big), 0, _MOST_ENTRIES)
    places = directory + 2 + 12 * tf.range(entries)
    tags = tf.map_fn(lambda place: _number(block, place, 2, big), places)
    values = tf.map_fn(lambda place: _number(block, place + 8, 2, big), places)
    chosen = tf.boolean_mask(values, tags == _ORIENTATION)
    value = tf.concat([chosen, [1]], 0)[0]
    return tf.where(known & (value >= 1) & (value <= 8), value, 1)


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
