"""EXIF orientation in the graph: read from a file's bytes, and applied to its pixels."""

import tensorflow as tf

from kerascxr.data.file_parts import jpeg_segment, png_chunk, tiff_tag

_ORIENTATION = 0x0112
_APP1, _EXIF = 0xE1, b"Exif\0\0"


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
        [
            (is_jpeg, lambda: jpeg_segment(data, _APP1, _EXIF)),
            (is_png, lambda: png_chunk(data, b"eXIf")),
        ],
        default=lambda: tf.constant(b""),
    )
    value = tiff_tag(block, _ORIENTATION)
    return tf.where((value >= 1) & (value <= 8), value, 1)


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
