"""What several workers agree on, without connecting them."""

import numpy as np
import pytest
import tensorflow as tf

from kerascxr.cluster.several_workers import local_config, this_worker
from kerascxr.training import workers
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


def test_a_port_that_is_taken_is_one_line(monkeypatch):
    def taken():
        raise tf.errors.UnknownError(None, None, "Could not start gRPC server")

    monkeypatch.setattr(workers, "_connected", None)
    monkeypatch.setattr(tf.distribute, "MultiWorkerMirroredStrategy", taken)
    monkeypatch.setenv(workers.AT_ONCE, "1")
    with pytest.raises(ValueError, match=r"port.*must be free .* Got worker=2 of 2: Could not"):
        connect(PLACE)
    assert workers.workers() is None
