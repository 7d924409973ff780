"""What workers of a cluster call in tests: the real functions, with what conftest.py sets up.

A file in ``KERASCXR_TEST_FAULTS`` named after a run makes it fail, or end its process, once.
"""

import os
import signal
from pathlib import Path

from kerascxr.audits import input_ablations
from kerascxr.cli import study_runs
from kerascxr.training import repeats

TRAIN_IN_STUDY, TRAIN_IN_REPEATS = study_runs.train_in_worker, repeats.train_in_worker
TRAIN_IN_AUDIT = input_ablations.train_in_worker
FAULTS = "KERASCXR_TEST_FAULTS"


def _prepare(folder):
    from kerascxr.models.backbones import BACKBONES
    from kerascxr.training import callbacks, processor
    from tests.support.short_preparations import leave_graphs_as_they_are
    from tests.support.tiny_backbone import TINY

    BACKBONES["tiny"] = TINY
    leave_graphs_as_they_are()  # or the last digits are others
    processor.computes_bfloat16 = lambda: False
    fault = Path(os.environ[FAULTS]) / folder.name
    if not fault.exists():
        return
    kind = fault.read_text()
    fault.unlink()
    if kind == "fails":
        raise RuntimeError("the disk is on fire")
    save = callbacks.Progress.on_epoch_end

    def save_and_die(self, epoch, logs=None):
        save(self, epoch, logs)
        if epoch == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    callbacks.Progress.on_epoch_end = save_and_die


def train_in_study(part):
    _prepare(part.folder)
    TRAIN_IN_STUDY(part)


def train_in_repeats(path, *more):
    _prepare(path)
    TRAIN_IN_REPEATS(path, *more)


def train_in_audit(config, path, data):
    _prepare(path)
    TRAIN_IN_AUDIT(config, path, data)
