"""Combined intervals against the formulas of their sources, worked out by hand."""

import numpy as np
import pytest

from kerascxr.evaluation.combined_intervals import macro_interval


@pytest.mark.parametrize(
    ("resampled", "low", "high"),
    [
        (None, None, None),
        ((0.84, 0.86), None, None),
        ((0.70, 0.86), 0.70, None),
        ((0.84, 0.95), None, 0.95),
        ((0.70, 0.95), 0.70, 0.95),
    ],
)
def test_each_end_is_the_wider_of_the_combination_and_of_resamples(resampled, low, high):
    # Uncorrelated: half the root of the sum of squares, of 0.09 and 0.12, and of 0.03 and 0.04.
    combined = 0.85 - 0.15 / 2, 0.85 + 0.05 / 2
    found = macro_interval(
        [0.8, 0.9], [(0.71, 0.83), (0.78, 0.94)], np.full((2, 3), 0.5), resampled
    )
    assert found == pytest.approx((low or combined[0], high or combined[1]))
