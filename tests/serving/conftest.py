"""What the tests of serving share."""

import json

import numpy as np
import pytest

from kerascxr.evaluation.calibration import apply_temperature


@pytest.fixture(scope="session")
def at_temperature():
    """Gives the test's probabilities, from its raw ones, as a run's predictions and exports do."""

    def apply(run, probabilities):
        found = json.loads((run / "metrics.json").read_text())["calibration"]["temperature"]
        return apply_temperature(np.asarray(probabilities), found)

    return apply
