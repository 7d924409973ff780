"""The one preprocessing: training, evaluation and serving all call it."""

import tensorflow as tf


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


def resize_image(image: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Resizes a grey image, averaging where it shrinks.

    The result is rounded to 8 bits, so that a cached image and a served one are the same image.

    Args:
        image: uint8 (height, width, 1), or a batch of such.
        size: Height and width wanted.

    Returns:
        uint8 (*size, 1).
    """
    resized = tf.image.resize(image, size, method="bilinear", antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(resized), 0.0, 255.0), tf.uint8)


def resize_mask(mask: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Resizes a mask so that it stays binary: each new pixel takes the majority of what it covers.

    Args:
        mask: uint8 (height, width, 1), 0 or 255.
        size: Height and width wanted.

    Returns:
        uint8 (*size, 1), 0 or 255.
    """
    covered = tf.image.resize(mask, size, method="bilinear", antialias=True)
    return tf.where(covered >= 127.5, tf.constant(255, tf.uint8), tf.constant(0, tf.uint8))


def to_trunk_input(images: tf.Tensor) -> tf.Tensor:
    """Turns grey images into what classifiers take.

    Args:
        images: (batch, height, width, 1), 0..255, any number type.

    Returns:
        float32 (batch, height, width, 3), 0..255, the grey copied to three channels.
    """
    return tf.repeat(tf.cast(images, tf.float32), 3, axis=-1)
