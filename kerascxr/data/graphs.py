"""Functions that TensorFlow traces as they are."""

import tensorflow as tf

do_not_convert = tf.autograph.experimental.do_not_convert
"""Marks a function for ``tf.data`` or ``tf.function`` whose Python branches hang on no tensor.

AutoGraph would rewrite its source, and that of all that it calls, before the first batch: two
seconds of a first training."""
