"""External against internal: lower, higher, or not decided."""

import numpy as np
import pytest

from kerascxr.evaluation.classification import evaluate
from kerascxr.evaluation.transfer import (
    HIGHER,
    LOWER,
    NOT_DECIDED,
    compare_with_internal,
    of_common_classes,
)
from kerascxr.evaluation.uncertainty import classification_intervals


@pytest.mark.parametrize(
    ("value", "ends", "verdict"),
    [
        (0.5, [0.4, 0.6], LOWER),
        (0.99, [0.97, 1.0], HIGHER),
        (0.85, [0.7, 0.95], NOT_DECIDED),
        (0.1, None, NOT_DECIDED),
    ],
)
def test_the_verdict_is_that_of_the_interval(value, ends, verdict):
    internal = {"accuracy": 0.9, "intervals": {"accuracy": [0.87, 0.93]}, "auc": None}
    external = {"accuracy": value, "intervals": {"accuracy": ends}, "auc": 0.5}
    found = compare_with_internal(internal, external, ("accuracy", "auc"))
    assert list(found) == ["accuracy"]
    assert found["accuracy"]["verdict"] == verdict
    assert found["accuracy"]["difference"] == pytest.approx(value - 0.9)
    if ends:
        low, high = found["accuracy"]["interval"]
        # Newcombe's interval of independent shares.
        assert low == pytest.approx(value - 0.9 - ((value - ends[0]) ** 2 + 0.03**2) ** 0.5)
        assert high == pytest.approx(value - 0.9 + ((ends[1] - value) ** 2 + 0.03**2) ** 0.5)


def scored(counts):
    """A test with all images right but those of the class "hard", of which a third are."""
    truth = np.repeat(np.arange(3), counts)
    predicted = np.where((truth == 2) & (np.arange(len(truth)) % 3 > 0), 0, truth)
    probabilities = np.full((len(truth), 3), 0.1) + 0.7 * np.eye(3)[predicted]
    classes, groups = ["easy", "fair", "hard"], [str(index) for index in range(len(truth))]
    scores = evaluate(truth, probabilities, classes)
    intervals = classification_intervals(truth, probabilities, classes, groups, 100)
    return (truth, probabilities, classes, groups), scores | {"intervals": intervals}


def test_a_set_without_a_class_is_compared_with_the_images_of_the_others():
    own, internal = scored([60, 60, 60])
    _, external = scored([60, 60, 0])
    measures = ("accuracy", "f1")
    whole = compare_with_internal(internal, external, measures)
    assert [of["verdict"] for of in whole.values()] == [HIGHER, HIGHER]  # of other classes
    common = of_common_classes(*own, external)
    assert (common["n"], common["absent_classes"]) == (120, ["hard"])
    for of in compare_with_internal(common, external, measures).values():
        assert (of["difference"], of["verdict"]) == (0, NOT_DECIDED)


def test_a_set_with_all_classes_or_none_in_common_is_compared_as_it_is():
    own, internal = scored([9, 9, 9])
    assert of_common_classes(*own, internal) is None
    (truth, *rest), _ = scored([9, 9, 0])
    assert of_common_classes(truth, *rest, {"absent_classes": ["easy", "fair"]}) is None
