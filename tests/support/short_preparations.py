"""Settings that save a fifth of the tests' time; users' processes have the usual ones."""

import gc
from types import SimpleNamespace

import tensorflow as tf
from keras.src.backend.common import global_state


def leave_graphs_as_they_are():
    """TensorFlow does not optimise graphs, which are called a few times only.

    Rounding differs with it, so processes whose numbers are compared call it alike.
    """
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


def leave_modules_alone():
    """Garbage collection is rarer and does not go through what has been imported."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 10, 10)


def leave_garbage_to_python():
    """``keras.utils.clear_session``, which each training calls, collects no garbage.

    It would go through all that a worker has kept; Python's own collector runs as before.
    """
    global_state.gc = SimpleNamespace(collect=lambda: 0)
