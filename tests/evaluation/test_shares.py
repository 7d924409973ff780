"""The intervals of shares against the formulas that their sources state."""

import numpy as np
import pytest
from scipy import stats

from kerascxr.evaluation.shares import share_interval, wilson


def test_the_quantile_that_is_given_is_used():
    low, high = wilson(0.5, 30, z=1.0)
    half = (0.25 / 30 + 1 / 3600) ** 0.5 / (1 + 1 / 30)
    assert (low, high) == pytest.approx((0.5 - half, 0.5 + half))


@pytest.mark.parametrize("images", [100, 30])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_one_to_three_exceptions_have_the_poisson_limit(count, images):
    limit = stats.chi2.ppf(0.05, 2 * count) / 2 / images
    assert wilson(count / images, images)[0] == pytest.approx(limit)
    assert wilson(1 - count / images, images)[1] == pytest.approx(1 - limit)


def test_three_and_a_half_exceptions_are_still_rare():
    assert wilson(0.5, 7)[0] == pytest.approx(stats.chi2.ppf(0.05, 7) / 2 / 7)


def test_a_share_of_nothing_or_all_ends_where_wilson_says_and_never_outside():
    z = stats.norm.ppf(0.975)
    assert wilson(0.0, 3) == pytest.approx((0, z * z / (3 + z * z)))
    assert wilson(1.0, 3) == pytest.approx((3 / (3 + z * z), 1))
    assert all(wilson(1.0, n)[1] <= 1 and wilson(0.0, n)[0] >= 0 for n in range(1, 200))


@pytest.mark.parametrize("agree", [True, False])
def test_the_effective_number_is_that_of_korn_and_graubard(agree):
    groups = np.repeat(np.arange(8), 3)
    hits = np.isin(groups, [0, 2, 3, 5, 7]) if agree else np.arange(24) % 3 > 0
    n, share = 24, hits.mean()
    totals = [(hits[groups == group] - share).sum() for group in range(8)]
    clustered = 8 / 7 * np.square(totals).sum() / n**2
    design_effect = max(clustered / (share * (1 - share) / (n - 1)), 1)
    t_ratio = (stats.t.ppf(0.975, 23) / stats.t.ppf(0.975, 7)) ** 2
    assert share_interval(hits, groups) == pytest.approx(wilson(share, n / design_effect * t_ratio))
