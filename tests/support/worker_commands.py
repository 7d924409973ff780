"""What each of several workers runs in tests: four commands, one after the other.

``python -m tests.support.worker_commands FOLDER``, with a FOLDER that ``test_several_workers.py``
has filled. The losses of all steps are in its files ``steps-N``. A classifier is interrupted after
two epochs and resumed; a U-Net is trained; then the second worker ends its own process at the start
of another classifier's third epoch: the steps of the second, which workers make together, begin
after the first worker has written the checkpoint of the first.
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
CLASSIFIER += ("--augment.enabled", "false", *SLOW)
UNET = ("--epochs", "4", *SLOW)


def classifier_arguments(folder, name):
    known = arguments(folder, "--data.source", f"{folder}/set")
    return ["train-cls", *known, *CLASSIFIER, "--name", name]


def unet_arguments(folder, name):
    places = ["--runs", f"{folder}/runs", "--data.stores", f"{folder}/stores"]
    places += ["--runtime.checkpoint_seconds", "0", "--data.source", f"{folder}/lungs"]
    return ["train-seg", *SMALL_UNET, *places, *UNET, "--name", name]


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


def _at_epoch(number, end):
    """Calls ``end`` once, at the start of an epoch."""
    from kerascxr.training import callbacks

    plain = callbacks.StopOnNonFinite.on_epoch_begin

    def begin(self, epoch, logs=None):
        plain(self, epoch, logs)
        if epoch == number:
            callbacks.StopOnNonFinite.on_epoch_begin = plain
            end()

    callbacks.StopOnNonFinite.on_epoch_begin = begin


def _interrupt():
    raise KeyboardInterrupt


def run(folder):
    """Runs the commands as one of several workers; returns the first exit code that is wrong."""
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
    classifier = classifier_arguments(folder, "together")
    undo = record_steps(folder / f"steps-{index}")
    with without_figures():
        _at_epoch(2, _interrupt)
        if main(classifier) != 130 or (folder / "runs/classification/together/DONE").exists():
            return 3
        code = main(classifier) or main(unet_arguments(folder, "together"))
        undo()
        if index == 1:
            _at_epoch(2, lambda: os.kill(os.getpid(), signal.SIGKILL))
        return code or main(classifier_arguments(folder, "lost"))


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1])))
