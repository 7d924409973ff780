"""The one preprocessing: training, evaluation and serving all call it."""

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar

import tensorflow as tf

from kerascxr.data.exif import apply_orientation, exif_orientation
from kerascxr.data.file_parts import jpeg_segment, png_chunk, tiff_tag
from kerascxr.data.files import BIT_DEPTHS, MAX_PIXELS

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_BMP = b"BM"
_GREY, _PALETTE = 0, 3  # PNG's colour types
_APP1, _APP2, _PICTURES = 0xE1, 0xE2, 0xB001  # JPEG segments, and a tag of the second
_PIECE = 2**20  # pixels turned to grey at a time: intermediate values take 50 bytes a pixel


def decode_png(data: tf.Tensor) -> tf.Tensor:
    """Decodes a store's PNG.

    Args:
        data: string scalar, the file's bytes.

    Returns:
        uint8 (height, width, 1).
    """
    image = tf.io.decode_png(data, channels=1)
    image.set_shape((None, None, 1))
    return image


@tf.function(input_signature=[tf.TensorSpec((), tf.string)], autograph=False)
def decode_file(data: tf.Tensor) -> tf.Tensor:
    """Decodes an image file's bytes to 8-bit grey, in the graph, as ``files.read_grey`` does.

    It is traced once per process: that takes half a second, and an export's graph calls it often.

    PNG (1 to 16 bits; grey, colour, palette, transparent), JPEG (grey, colour) and BMP. Equal to
    ``read_grey`` to the last bit, except for half-transparent pixels (one grey level at most). An
    EXIF orientation is applied if it is stored before the pixels.

    Args:
        data: string scalar, the file's bytes.

    Returns:
        uint8 (height, width, 1).

    Raises:
        tf.errors.InvalidArgumentError: If the bytes are none of these, damaged, truncated, hold
            several pictures, or claim more than ``MAX_PIXELS``; that is found before any pixel is
            decoded.
    """
    is_png = tf.equal(tf.strings.substr(data, 0, 8), _PNG)
    is_jpeg = tf.equal(tf.strings.substr(data, 0, 3), _JPEG)
    is_bmp = tf.equal(tf.strings.substr(data, 0, 2), _BMP)
    enough = tf.strings.length(data) >= 30
    known = tf.debugging.Assert(
        tf.logical_and(tf.reduce_any([is_png, is_jpeg, is_bmp]), enough),
        ["an image must be a PNG, JPEG or BMP file. Got bytes that begin with", _shown(data)],
    )
    with tf.control_dependencies([known]):
        image = tf.case(
            [(is_png, lambda: _decode_any_png(data)), (is_jpeg, lambda: _decode_jpeg(data))],
            default=lambda: _decode_bmp(data),
        )
        image = apply_orientation(image, exif_orientation(data))
    image.set_shape((None, None, 1))
    return image


def _shown(data: tf.Tensor) -> tf.Tensor:
    codes = tf.io.decode_raw(
        tf.strings.substr(data, 0, tf.minimum(8, tf.strings.length(data))), tf.uint8
    )
    return tf.strings.reduce_join(tf.strings.as_string(codes), separator=" ")


def _number(data: tf.Tensor, begin: int, length: int, little_endian: bool = False) -> tf.Tensor:
    """Reads an unsigned number of 1 or 4 bytes, int64."""
    values = tf.cast(tf.io.decode_raw(tf.strings.substr(data, begin, length), tf.uint8), tf.int64)
    values = values if little_endian else values[::-1]
    return tf.reduce_sum(values * tf.constant([256**place for place in range(length)], tf.int64))


def _check_pixels(height: tf.Tensor, width: tf.Tensor) -> tf.Operation:
    height, width = tf.cast(height, tf.int64), tf.cast(width, tf.int64)
    few = (height > 0) & (width > 0) & (height < 2**31) & (width < 2**31)
    few = tf.logical_and(few, height * width <= MAX_PIXELS)
    return tf.debugging.Assert(
        few, [f"an image must have 1 to {MAX_PIXELS} pixels. Got (height, width)", height, width]
    )


def _check_single(single: tf.Tensor) -> tf.Operation:
    return tf.debugging.Assert(single, ["a file must hold one picture. Got several"])


def _decode_any_png(data: tf.Tensor) -> tf.Tensor:
    bits, colour = _number(data, 24, 1), _number(data, 25, 1)
    checks = [
        _check_pixels(_number(data, 20, 4), _number(data, 16, 4)),
        _check_single(tf.strings.length(png_chunk(data, b"acTL")) == 0),
    ]
    with tf.control_dependencies(checks):
        data = tf.identity(data)
    grey = colour == _GREY
    # Without transparency in the file, the decoder would give these one of 1 to 15 of 255.
    opaque = (colour == _PALETTE) & (bits < 8) & (tf.strings.length(png_chunk(data, b"tRNS")) == 0)
    return tf.case(
        [
            (
                grey & (bits == 16),
                lambda: _scale_deep(tf.io.decode_png(data, channels=1, dtype=tf.uint16)),
            ),
            # Asked for transparency, the decoder would give 1, 2 and 4 bits a wrong one.
            (grey & (bits < 8), lambda: tf.io.decode_png(data, channels=1)),
            (opaque, lambda: _to_luma(tf.io.decode_png(data, channels=3))),
        ],
        default=lambda: _to_luma(tf.io.decode_png(data, channels=4)),
    )


def _scale_deep(values: tf.Tensor) -> tf.Tensor:
    """Divides by the smallest full scale that holds the maximum: see ``files.read_grey``."""
    full_scales = tf.constant([2**bits - 1 for bits in BIT_DEPTHS], tf.int32)
    values = tf.cast(values, tf.int32)
    full = tf.reduce_min(tf.boolean_mask(full_scales, full_scales >= tf.reduce_max(values)))
    scaled = tf.range(full + 1, dtype=tf.float64) * (255.0 / tf.cast(full, tf.float64))
    return tf.gather(tf.cast(tf.round(scaled), tf.uint8), values)


def _decode_jpeg(data: tf.Tensor) -> tf.Tensor:
    shape = tf.image.extract_jpeg_shape(data)
    # As Pillow does, which takes a photograph with a gain map (Ultra HDR) for one picture.
    pictures = tiff_tag(jpeg_segment(data, _APP2, b"MPF\0"), _PICTURES)
    about = jpeg_segment(data, _APP1, b"http://ns.adobe.com/xap/1.0/\0")
    has_gain_map = tf.strings.regex_replace(about, ' hdrgm:Version="', "") != about
    single = (pictures <= 1) | has_gain_map
    with tf.control_dependencies([_check_pixels(shape[0], shape[1]), _check_single(single)]):
        data = tf.identity(data)
    # The slow transform is the exact one, and Pillow's.
    return _to_luma(tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE"))


def _decode_bmp(data: tf.Tensor) -> tf.Tensor:
    height = _number(data, 22, 4, little_endian=True)
    height = tf.where(height >= 2**31, 2**32 - height, height)  # negative: rows from the top
    bits = _number(data, 28, 1)
    palette = tf.io.decode_raw(
        tf.strings.substr(data, 14 + tf.cast(_number(data, 14, 1), tf.int32), 1024), tf.uint8
    )
    ramp = tf.repeat(tf.range(tf.size(palette) // 4), 3)
    colours = tf.reshape(tf.cast(palette, tf.int32)[: tf.size(palette) // 4 * 4], (-1, 4))[:, :3]
    # The decoder takes indices into the palette for grey values.
    plain = (bits == 24) | (bits == 32)
    plain |= (bits == 8) & tf.reduce_all(tf.reshape(colours, (-1,)) == ramp)
    checks = [
        _check_pixels(height, _number(data, 18, 4, little_endian=True)),
        tf.debugging.Assert(plain, ["a BMP file must be grey or colour, without palette"]),
    ]
    with tf.control_dependencies(checks):
        image = tf.io.decode_bmp(tf.identity(data), channels=0)
    return tf.cond(
        tf.shape(image)[2] == 1, lambda: image[..., :1], lambda: _to_luma(image[..., :3])
    )


def _to_luma(colour: tf.Tensor) -> tf.Tensor:
    """Turns uint8 (h, w, 3 or 4) to ITU-R 601 luma in Pillow's integers, transparent to black."""
    transparent = colour.shape[-1] == 4
    pixels = tf.reshape(colour, (-1, tf.shape(colour)[2]))
    n = (tf.shape(pixels)[0] + _PIECE - 1) // _PIECE

    def add(index: tf.Tensor, pieces: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
        values = tf.cast(pixels[index * _PIECE : (index + 1) * _PIECE], tf.int32)
        if transparent:
            values = (values[:, :3] * values[:, 3:] + 127) // 255
        weighted = values[:, 0] * 19595 + values[:, 1] * 38470 + values[:, 2] * 7471 + 2**15
        grey = tf.cast(tf.bitwise.right_shift(weighted, 16), tf.uint8)
        return index + 1, pieces.write(index, grey)

    empty = tf.TensorArray(tf.uint8, n, infer_shape=False, element_shape=(None,))
    _, pieces = tf.while_loop(lambda index, _: index < n, add, (0, empty), parallel_iterations=1)
    return tf.reshape(pieces.concat(), (*tf.unstack(tf.shape(colour)[:2]), 1))


def antialiased(images: tf.Tensor, size: tuple[int, int] | tf.Tensor) -> tf.Tensor:
    """Resizes as ``tf.image.resize`` does with bilinear antialiasing: same bits, in less time.

    TensorFlow's kernel adds rows as vectors, and columns value by value. Here the columns are rows
    of the transposed image, and all that a row holds is channels, so both are added as vectors, in
    the same order.

    Args:
        images: (height, width, channels), or a batch of such, any number type.
        size: Height and width wanted.

    Returns:
        float32 (*size, channels), or a batch of such.
    """
    images = tf.convert_to_tensor(images)
    batch = images if images.shape.rank == 4 else images[None]
    for wanted in (size[0], size[1]):
        batch = tf.transpose(_resized_rows(batch, wanted), (0, 2, 1, 3))
    return batch if images.shape.rank == 4 else batch[0]


def _resized_rows(batch: tf.Tensor, wanted: int | tf.Tensor) -> tf.Tensor:
    dynamic = tf.unstack(tf.shape(batch))
    known = zip(batch.shape, dynamic, strict=True)
    n, height, width, channels = (now if side is None else side for side, now in known)
    resized = tf.raw_ops.ScaleAndTranslate(
        images=tf.reshape(batch, (n, height, 1, width * channels)),
        size=tf.stack([wanted, 1]),
        scale=tf.stack([tf.cast(wanted, tf.float32) / tf.cast(height, tf.float32), 1.0]),
        translation=tf.zeros((2,)),
        kernel_type="triangle",
        antialias=True,
    )
    return tf.reshape(resized, (n, wanted, width, channels))


Resample = Callable[[tf.Tensor, tuple[int, int]], tf.Tensor]
"""An image, (height, width, 1), and a size to float32 (*size, 1), averaged where it shrinks."""


_resample: ContextVar[Resample] = ContextVar("resample", default=antialiased)


@contextlib.contextmanager
def resampling_by(resample: Resample) -> Iterator[None]:
    """Lets ``resize_image`` and ``resize_mask`` compute in another way while the block runs.

    A graph for a runtime without TensorFlow's kernel is traced so, with regions of interest and all
    else that resizes.

    Args:
        resample: Must have the same values as ``tf.image.resize`` with antialiasing.
    """
    before = _resample.set(resample)
    try:
        yield
    finally:
        _resample.reset(before)


def resize_image(image: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Resizes a grey image, averaging where it shrinks.

    The result is rounded to 8 bits, so that a cached image and a served one are the same image.

    Args:
        image: uint8 (height, width, 1), or a batch of such.
        size: Height and width wanted.

    Returns:
        uint8 (*size, 1).
    """

    def resample() -> tf.Tensor:
        resized = _resample.get()(image, size)
        return tf.cast(tf.clip_by_value(tf.round(resized), 0.0, 255.0), tf.uint8)

    image = tf.convert_to_tensor(image)
    if _resample.get() is antialiased:
        # Resampling to the same size changes nothing and takes most of the time.
        same = tf.reduce_all(tf.shape(image)[-3:-1] == tf.constant(size))
        resized = tf.cond(same, lambda: image, resample)
    else:
        resized = resample()  # other runtimes get no branch that they need not have
    return tf.ensure_shape(resized, (*image.shape[:-3], *size, image.shape[-1]))


def resize_mask(mask: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Resizes a mask so that it stays binary: each new pixel takes the majority of what it covers.

    Args:
        mask: uint8 (height, width, 1), 0 or 255.
        size: Height and width wanted.

    Returns:
        uint8 (*size, 1), 0 or 255.
    """
    covered = _resample.get()(mask, size)
    return tf.where(covered >= 127.5, tf.constant(255, tf.uint8), tf.constant(0, tf.uint8))


def to_backbone_input(images: tf.Tensor) -> tf.Tensor:
    """Turns grey images into what classifiers take.

    Args:
        images: (batch, height, width, 1 or 2), 0..255, any number type; a second channel marks the
            lungs.

    Returns:
        float32 (batch, height, width, 3), 0..255: the grey in all channels, or the lungs in blue.
    """
    images = tf.cast(images, tf.float32)
    grey = images[..., :1]
    return tf.concat([grey, grey, images[..., -1:]], axis=-1)
