"""What each of several workers runs in tests: both trainings, one after the other.

``python -m tests.support.worker_commands FOLDER``, with a FOLDER that ``test_several_workers.py``
has filled. The losses of all steps are in its files ``steps-N``. With a file ``fault`` in it, the
worker of that number ends its process, once, at the start of the third epoch of the classifier.
"""

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.support.small_runs import SMALL_UNET, arguments

# At a higher rate such small models double a difference of rounding in every other step.
SLOW = ("--optimizer.learning_rate", "1e-4")
# Without augmentation, of which the U-Net has enough: its import takes seconds in each process.
CLASSIFIER = ("--depth", "all", "--epochs", "4", "--optimizer.ema", "0.5")
CLASSIFIER += ("--augment.enabled", "false", *SLOW, "--name", "together")
UNET = ("--epochs", "4", *SLOW, "--name", "together")


def classifier_arguments(folder):
    return ["train-cls", *arguments(folder, "--data.source", f"{folder}/set"), *CLASSIFIER]


def unet_arguments(folder):
    places = ["--runs", f"{folder}/runs", "--data.stores", f"{folder}/stores"]
    places += ["--runtime.checkpoint_seconds", "0"]
    return ["train-seg", *SMALL_UNET, *places, "--data.source", f"{folder}/lungs", *UNET]


def record_steps(file):
    """Appends the mean loss of the epoch so far, after each step; returns what undoes it."""
    from kerascxr.training import callbacks

    plain = callbacks.StopOnNonFinite.on_train_batch_end

    def record(self, batch, logs=None):
        plain(self, batch, logs)
        with Path(file).open("a") as lines:
            lines.write(f"{self.model.name} {self._epoch} {batch} {logs['loss']!r}\n")

    callbacks.StopOnNonFinite.on_train_batch_end = record
    return lambda: setattr(callbacks.StopOnNonFinite, "on_train_batch_end", plain)


def _end_once(fault, index):
    from kerascxr.training import callbacks

    plain = callbacks.StopOnNonFinite.on_epoch_begin

    def begin(self, epoch, logs=None):
        plain(self, epoch, logs)
        if epoch == 2 and fault.exists() and fault.read_text() == str(index):
            fault.unlink()
            os.kill(os.getpid(), signal.SIGKILL)

    callbacks.StopOnNonFinite.on_epoch_begin = begin


def run(folder):
    """Runs both commands as one of several workers; returns the first exit code that is not 0."""
    from kerascxr.__main__ import main
    from kerascxr.cluster.local_workers import end_with_starter
    from kerascxr.cluster.several_workers import this_worker
    from kerascxr.models.backbones import BACKBONES
    from kerascxr.training import processor
    from tests.support.no_figures import without_figures
    from tests.support.short_preparations import leave_graphs_as_they_are
    from tests.support.tiny_backbone import TINY
    from tests.support.unet_stages import set_stages

    end_with_starter()
    BACKBONES["tiny"] = TINY
    set_stages(pytest.MonkeyPatch(), 1)
    leave_graphs_as_they_are()
    processor.computes_bfloat16 = lambda: False
    index = this_worker().index
    record_steps(folder / f"steps-{index}")
    _end_once(folder / "fault", index)
    with without_figures():
        return main(classifier_arguments(folder)) or main(unet_arguments(folder))


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1])))
