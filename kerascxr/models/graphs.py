"""Functions as TensorFlow graphs that are traced once, when they are made."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def traced(function: Callable[..., Any], *signature: tf.TensorSpec) -> Callable[..., Any]:
    """Returns a function as one graph, for batches of any size.

    A ``tf.function`` is traced at its first call and again for other shapes. Made anew for each
    model of an audit, it is traced in most of its calls, and TensorFlow warns of that.

    Args:
        function: Takes and returns tensors.
        signature: The shape and dtype of each argument; None for the batch.

    Returns:
        A function of tensors or arrays of the signature's dtypes.
    """
    graph = tf.function(function, autograph=False).get_concrete_function(*signature)

    def call(*values: Any, kept: Any = function) -> Any:
        del kept  # a graph does not keep the variables that it reads
        pairs = zip(values, signature, strict=True)
        return graph(*(tf.convert_to_tensor(value, spec.dtype) for value, spec in pairs))

    return call
