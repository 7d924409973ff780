"""Exports without the writing of the SavedModel, which takes most of their time."""

import shutil

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
