"""What workers of a cluster call in tests: the real functions, with what conftest.py sets up.

A file in ``KERASCXR_TEST_FAULTS`` named after a run makes it fail, or end its process, once.
"""

import os
import signal
from pathlib import Path

from kerascxr.cli import study_runs
from kerascxr.serving import predict_on_cluster
from kerascxr.training import repeats

TRAIN_IN_STUDY, TRAIN_IN_REPEATS = study_runs.train_in_worker, repeats.train_in_worker
LOAD_CHOSEN = predict_on_cluster.load_chosen
FAULTS = "KERASCXR_TEST_FAULTS"


def _set_up():
    from kerascxr.models.backbones import BACKBONES
    from kerascxr.training import processor
    from tests.support.short_preparations import leave_graphs_as_they_are
    from tests.support.tiny_backbone import TINY

    BACKBONES["tiny"] = TINY
    leave_graphs_as_they_are()  # or the last digits are others
    processor.computes_bfloat16 = lambda: False


def _prepare(folder):
    from kerascxr.training import callbacks

    _set_up()
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


def load_chosen(chosen):
    """Loads a model; the first worker to compute a second chunk ends there."""
    _set_up()
    kind, compute = LOAD_CHOSEN(chosen)
    done = []

    def compute_or_die(chunk):
        fault = Path(os.environ[FAULTS]) / "chunk"
        if done and fault.exists():
            fault.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        done.append(chunk)
        return compute(chunk)

    return kind, compute_or_die
