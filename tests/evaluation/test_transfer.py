"""External against internal: lower, higher, or not decided."""

import pytest

from kerascxr.evaluation.transfer import HIGHER, LOWER, NOT_DECIDED, compare_with_internal


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
