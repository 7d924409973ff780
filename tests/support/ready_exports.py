"""Exports without what takes most of their time: the SavedModel's writing, ONNX's copies."""

import functools
import shutil
from pathlib import Path

import tensorflow as tf


def take_ready_model(monkeypatch, module, version):
    """Lets an exporting module take the SavedModel of an export of the same run.

    Everything else is done, the comparison of the SavedModel with the run too.

    Args:
        monkeypatch: pytest's.
        module: What calls ``write_model``.
        version: The folder of the other export's version.
    """

    def copy(folder, models, signatures):
        for name in ("saved_model.pb", "variables"):
            source = version / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)

    monkeypatch.setattr(module, "write_model", copy)


def take_loaded_model(monkeypatch, module, version, loaded):
    """The same, and the SavedModel is not loaded again."""
    take_ready_model(monkeypatch, module, version)
    monkeypatch.setattr(tf.saved_model, "load", lambda folder: loaded)


def load_once(monkeypatch):
    """Lets a module's tests load a SavedModel once, for as long as its file stays as it is.

    Args:
        monkeypatch: pytest's, of a module.
    """
    load = tf.saved_model.load
    kept = functools.cache(lambda folder, stamp: load(folder))

    def loaded(folder):
        found = (Path(folder) / "saved_model.pb").stat()
        return kept(str(folder), (found.st_ino, found.st_mtime_ns))

    monkeypatch.setattr(tf.saved_model, "load", loaded)


def optimize_onnx_in_place(monkeypatch):
    """Lets tf2onnx keep no copy of the graph for each of its optimizers: that is half of its time.

    An optimizer that fails is an error then; for users the graph stays as it was before it.

    Args:
        monkeypatch: pytest's.
    """
    import tf2onnx.optimizer

    optimize = tf2onnx.optimizer.optimize_graph

    def in_place(graph, catch_errors, optimizers):
        return optimize(graph, catch_errors=False, optimizers=optimizers)

    monkeypatch.setattr(tf2onnx.optimizer, "optimize_graph", in_place)
