"""What several workers agree on, without connecting them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerascxr.cluster.several_workers import local_config, this_worker
from kerascxr.config import SegmentationConfig
from kerascxr.runs.folder import RunFolder
from kerascxr.training import workers
from kerascxr.training.fitting import Fitting, Session, fit
from kerascxr.training.precision import FLOAT32, check_step
from kerascxr.training.runtime import Runtime
from kerascxr.training.workers import Workers, connect

PLACE = this_worker({"TF_CONFIG": local_config([4000, 4001], 1)})


class Second(Workers):
    """The second of two workers; the chief has ``of_chief``, and sums up what it has to."""

    def __init__(self, of_chief):
        super().__init__(PLACE, None)
        self._of_chief = of_chief

    def of_chief(self, value):
        return self._of_chief

    def total(self, values):
        sizes = {np.shape(values), (len(self._of_chief) + 1,)}
        assert len(sizes) == 1, "the chief sums up another number of values"
        return np.asarray(values, np.float32)


CHIEFS = {"data": "1f", "engine": "keras", "weights": ""}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, None),
        ({"OpenVINO": ""}, None),
        ({"data": "2e"}, r"data \(1 of them\)'\."),
        ({"engine": "openvino", "OpenVINO": "2026"}, r"engine \(1 .*, what the chief has not \(1 "),
        ({"OpenVINO": "2026"}, r"='what the chief has not \(1 of them\)'\."),
    ],
)
def test_a_worker_that_has_something_else_is_refused(change, words):
    if words is None:
        Second(CHIEFS).require_equal(CHIEFS | change)
        return
    with pytest.raises(ValueError, match=f"all workers must have the chief's .* Got .*{words}"):
        Second(CHIEFS).require_equal(CHIEFS | change)


def test_a_worker_that_lacks_something_is_refused():
    less = {name: value for name, value in CHIEFS.items() if name != "engine"}
    with pytest.raises(ValueError, match=r"='engine \(1 of them\)'\."):
        Second(CHIEFS).require_equal(less)


def test_workers_with_another_precision_are_refused_before_the_chief_decides():
    with pytest.raises(ValueError, match=r"='precision \(1 of them\)'\."):
        check_step(FLOAT32, None, None, None, Second({"precision": "mixed_bfloat16"}))
    assert check_step(FLOAT32, None, None, None, Second({"precision": "float32"})) is FLOAT32


def test_what_the_machine_decides_is_compared(tmp_path):
    """A U-Net's epochs and size follow from whether there is a GPU."""

    class ComparedError(Exception):
        pass

    class Comparing(Workers):
        def require_equal(self, what):
            raise ComparedError(what)

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    runtime = Runtime("float32", None, False, ("CPU",), False, Comparing(PLACE, None))
    config = SegmentationConfig(epochs=7)
    session = Session(config, runtime, RunFolder(tmp_path), {"data": "1f"})
    loss = keras.losses.BinaryCrossentropy()
    fitting = Fitting(model, None, 3, None, "dice", loss, [], ())
    with pytest.raises(ComparedError) as stopped:
        fit(fitting, session)
    assert stopped.value.args == ({"data": "1f", "epochs": "7", "parameters": "8"},)


def test_a_port_that_is_taken_is_one_line(monkeypatch):
    def taken():
        raise tf.errors.UnknownError(None, None, "Could not start gRPC server")

    monkeypatch.setattr(workers, "_connected", None)
    monkeypatch.setattr(tf.distribute, "MultiWorkerMirroredStrategy", taken)
    monkeypatch.setenv(workers.AT_ONCE, "1")
    with pytest.raises(ValueError, match=r"port.*must be free .* Got worker=2 of 2: Could not"):
        connect(PLACE)
    assert workers.workers() is None
