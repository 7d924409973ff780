"""Counts, exactly those of the reference study."""

import re

import pytest

from kerascxr.models.classifier import build_classifier, fine_tune
from kerascxr.models.parameters import format_parameter_table, parameter_summary

STUDY = {  # backbone: total, trainable by depth, params MB, estimated total MB
    "efficientnetb0": (5_846_144, (1_838_596, 2_250_756, 2_967_988), 22.30, 196.55),
    "shufflenetv2_x1_0": (2_830_056, (1_576_452, 2_053_636, 2_554_988), 10.80, 59.34),
}
FORWARD_BACKWARD_MB = {"efficientnetb0": 173.67, "shufflenetv2_x1_0": 47.97}


@pytest.fixture(scope="module", params=list(STUDY))
def classifier(request):
    return build_classifier(request.param, n_classes=4)


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_the_studys_table(classifier, depth):
    fine_tune(classifier, depth)
    summary = parameter_summary(classifier)
    total, trainable, params_mb, estimated_mb = STUDY[classifier.name]
    assert summary["total"] == total
    assert summary["trainable"] == trainable[depth]
    assert summary["non_trainable"] == total - trainable[depth]
    assert round(summary["input_mb"], 2) == 0.57
    assert round(summary["params_mb"], 2) == params_mb
    assert round(summary["forward_backward_mb"], 2) == FORWARD_BACKWARD_MB[classifier.name]
    assert round(summary["estimated_total_mb"], 2) == estimated_mb


def test_everything_learns_at_depth_all(classifier):
    fine_tune(classifier, "all")
    summary = parameter_summary(classifier)
    assert summary["trainable"] == summary["total"] and summary["non_trainable"] == 0


def test_the_table_as_text():
    summary = {
        "total": 5846144,
        "trainable": 1838596,
        "non_trainable": 4007548,
        "input_mb": 0.574,
        "forward_backward_mb": 173.67,
        "params_mb": 22.301,
        "estimated_total_mb": 196.545,
    }
    table = format_parameter_table({"efficientnetb0, depth 0": summary})
    header, rule, row = table.splitlines()
    assert "|" not in table and not rule.strip("- ")
    columns = re.split(r" {2,}", header.strip())
    assert columns[:3] == ["model", "total", "trainable"]
    figures = ["5,846,144", "1,838,596", "4,007,548", "0.57", "173.67", "22.30", "196.54"]
    assert re.split(r" {2,}", row.strip()) == ["efficientnetb0, depth 0", *figures]
    assert max(map(len, table.splitlines())) <= 140
