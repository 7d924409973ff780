"""Settings that save a fifth of the tests' time; users' processes have the usual ones."""

import gc
from types import SimpleNamespace

import tensorflow as tf
from keras.src.backend.common import global_state
from tensorflow.python.util import tf_stack


def leave_graphs_as_they_are():
    """TensorFlow does not optimise graphs, which are called a few times only.

    Rounding differs with it, so processes whose numbers are compared call it alike.
    """
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


def leave_modules_alone():
    """Garbage collection is rarer and does not go through what has been imported."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
    gc.enable()


def leave_garbage_to_python():
    """``keras.utils.clear_session``, which each training calls, collects no garbage.

    It would go through all that a worker has kept; Python's own collector runs as before.
    """
    global_state.gc = SimpleNamespace(collect=lambda: 0)


def leave_stacks_alone():
    """TensorFlow takes all operations for made in one place, which only its error messages name.

    To note each one's place under pytest's frames takes a seventh of a small training.
    """
    stack = tf_stack.extract_stack()
    tf_stack.extract_stack = lambda stacklevel=1: stack
