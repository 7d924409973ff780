"""Graphs are traced once, also where each model has its own."""

import numpy as np
import pytest
import tensorflow as tf

from kerascxr.models.backbones import BACKBONES
from kerascxr.models.classifier import build_classifier, cut_at_depth, pooled_features
from kerascxr.models.graphs import traced
from tests.support.tiny_backbone import TINY


@pytest.fixture
def warnings_of_tensorflow(caplog):
    log = tf.get_logger()
    kept, log.filters = log.filters, []  # a command's, which leave such warnings out
    log.addHandler(caplog.handler)
    yield lambda: [item for item in caplog.messages if "retracing" in item]
    log.removeHandler(caplog.handler)
    log.filters = kept


def test_one_graph_serves_all_batch_sizes_and_is_traced_when_made():
    traces = []

    def double(x):
        traces.append(x.shape)
        return 2 * x

    run = traced(double, tf.TensorSpec((None, 3)))
    for n in (1, 4, 2):
        np.testing.assert_array_equal(run(np.ones((n, 3), np.float32)), np.full((n, 3), 2.0))
    assert len(traces) == 1 and traces[0].as_list() == [None, 3]


def test_a_graph_keeps_its_variables():
    def made():
        variable = tf.Variable(3.0)
        return traced(lambda x: x * variable, tf.TensorSpec((None,)))

    np.testing.assert_array_equal(made()([1.0, 2.0]), [3.0, 6.0])


def test_many_models_in_turn_give_no_warning(warnings_of_tensorflow, monkeypatch):
    monkeypatch.setitem(BACKBONES, "tiny", TINY)
    model = build_classifier("tiny", 3, image_size=(32, 32))
    inputs = np.zeros((70, *cut_at_depth(model, 1).shape[1:]), np.float32)
    for _ in range(6):
        pooled_features(model, 1, inputs)
    assert not warnings_of_tensorflow()
    for _ in range(6):
        tf.function(lambda x: x + 1)(tf.constant(1))
    assert warnings_of_tensorflow()  # so that the fixture would have shown them
