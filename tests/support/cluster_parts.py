"""What workers of a cluster call in tests: the real functions, with what conftest.py sets up.

A file in ``KERASCXR_TEST_FAULTS`` named after a run makes it end its process, once; one
named after it with ``-hangs`` makes it hang, once: the file is gone when it does.
"""

import os
import signal
import threading
from pathlib import Path

from kerascxr.cli import study_runs
from kerascxr.serving import predict_on_cluster
from tests.support.no_figures import without_figures

TRAIN_IN_STUDY = study_runs.train_in_worker
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


def train_in_study(part):
    from kerascxr.models.backbones import BACKBONES

    folder = Path(os.environ[FAULTS])
    with (folder / "entries").open("a") as lines:
        lines.write(f"{'tiny' in BACKBONES}\n")
    _set_up()
    ends, hangs = folder / part.folder.name, folder / f"{part.folder.name}-hangs"
    if ends.exists():
        ends.unlink()
        _after_epoch(1, lambda: os.kill(os.getpid(), signal.SIGKILL))
    elif hangs.exists():
        _after_epoch(2, lambda: (hangs.unlink(), threading.Event().wait()))
    with without_figures():
        TRAIN_IN_STUDY(part)


def _after_epoch(number, end):
    from kerascxr.training import callbacks

    save = callbacks.Progress.on_epoch_end

    def save_and_end(self, epoch, logs=None):
        save(self, epoch, logs)
        if epoch == number:
            end()

    callbacks.Progress.on_epoch_end = save_and_end


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
